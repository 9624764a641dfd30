"""What a network for images asks of its input."""

from collections.abc import Sequence

from workbench.errors import WorkbenchError


def require_images(input_shape: Sequence[int], smallest: int) -> None:
    """Check that a sample is an image of at least `smallest` by `smallest` pixels.

    Raises:
        WorkbenchError: It is no image, or too small.
    """
    if len(input_shape) != 3:
        raise WorkbenchError(
            f"A network for images was asked for samples of the shape {tuple(input_shape)}, which is "
            "not (height, width, channels).\n"
            "Give a dataset of images; texts are for the notebook 03_finetune_text."
        )
    height, width, _ = input_shape
    if min(height, width) < smallest:
        raise WorkbenchError(
            f"The images are {height}x{width} pixels, and this network's convolutions and pools leave "
            f"nothing of images below {smallest}x{smallest}.\n"
            f"Have them resized with image_size=[{max(height, smallest)}, {max(width, smallest)}], "
            "or larger."
        )

"""Networks: functions that build uncompiled Keras models, to be read and changed."""

from collections.abc import Callable, Sequence

import keras

from workbench.errors import WorkbenchError
from workbench.models.cnn import build_cnn
from workbench.models.resnet import build_resnet
from workbench.models.vgg import build_vgg

__all__ = ["build_cnn", "build_model", "build_resnet", "build_vgg", "find_builder"]

Builder = Callable[..., keras.Model]  # of input_shape, num_classes, augmentation and seed

_BUILDERS: dict[str, Builder] = {"cnn": build_cnn, "vgg": build_vgg, "resnet": build_resnet}


def find_builder(name: str) -> Builder:
    """Return the function that builds the image network `name`: "cnn", "vgg" or "resnet".

    Raises:
        WorkbenchError: There is no such network.
    """
    if name not in _BUILDERS:
        raise WorkbenchError(
            f"There is no network {name!r} for images.\n"
            f"Give one of {', '.join(_BUILDERS)}, or build your own with Keras in the notebook."
        )
    return _BUILDERS[name]


def build_model(
    name: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    augmentation: Sequence[str] = (),
    seed: int = 0,
) -> keras.Model:
    """Build the image network `name` for images of `input_shape` (height, width, channels).

    Args:
        name: "cnn", "vgg" or "resnet".
        input_shape: Of raw uint8 images.
        num_classes: How many probabilities come out.
        augmentation: Some of "flip", "crop" and "colour", done to training images inside of the network.
        seed: Of the augmentation.

    Raises:
        WorkbenchError: There is no such network or augmentation, or the images are too small for it.
    """
    return find_builder(name)(input_shape, num_classes, augmentation, seed)

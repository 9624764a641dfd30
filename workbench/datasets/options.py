"""The options of `load_dataset`, checked and in plain types."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from workbench.errors import WorkbenchError

ON_ERROR = ("raise", "skip")


@dataclass(frozen=True)
class Options:
    """How a dataset is prepared; the meaning of each field stands in `load_dataset`."""

    split_seed: int = 0
    image_size: tuple[int, ...] = ()
    max_samples: int = 0
    val_fraction: float | None = None
    test_fraction: float | None = None
    text_column: str = ""
    label_column: str = ""
    on_error: str = "raise"

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", _check_image_size(self.image_size))
        if self.on_error not in ON_ERROR:
            raise WorkbenchError(
                f"on_error={self.on_error!r} is not a way to treat unreadable samples.\n"
                'Give "raise" to stop at the first one or "skip" to leave them out and list them.'
            )
        if self.max_samples < 0:
            raise WorkbenchError(
                f"max_samples={self.max_samples} is not a number of samples.\n"
                "Give 0 for all of them, or how many to keep."
            )
        fractions = [self.val_fraction or 0.0, self.test_fraction or 0.0]
        if min(fractions) < 0 or sum(fractions) >= 1:
            raise WorkbenchError(
                f"val_fraction={self.val_fraction} and test_fraction={self.test_fraction} leave nothing "
                "to train on.\nGive fractions of at least 0 whose sum is less than 1."
            )

    def to_json(self) -> dict[str, Any]:
        """Return the options as keyword arguments in JSON types."""
        return asdict(self) | {"image_size": list(self.image_size)}


def _check_image_size(size: Sequence[int]) -> tuple[int, ...]:
    """Return (height, width) in pixels, or () for the images' own size."""
    try:
        pixels = tuple(int(side) for side in size)
    except (TypeError, ValueError):
        pixels = (0,)
    if pixels and (len(pixels) != 2 or min(pixels) < 1):
        raise WorkbenchError(
            f"image_size={size!r} is not a size of images.\n"
            "Give [height, width] in pixels, such as [64, 64], or [] for the size that the images have."
        )
    return pixels

"""Decode image files to uint8 arrays; run as a child process, one JSON line a block in and out."""

import hashlib
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
_ORIENTED = frozenset({"exif", "xmp", "Raw profile type exif"})  # where a file may say which side is up


def decode_block(folder: str, files: Sequence[str], image_size: Sequence[int], target: str) -> dict[str, Any]:
    """Decode some images into one `.npy` file, (m, height, width, channels) uint8.

    The size is `image_size`, or else that of the first readable image; images of another size are not written.
    Channels are 1 if all of them are grey, else 3.

    Args:
        folder: Where the files are.
        files: Their paths in it.
        image_size: (height, width) in pixels to resize to, or () for the images' own size.
        target: The file to write.

    Returns:
        JSON: `target`, `shape` of the block, `read` (which files it holds), `digests` (hex) and `sizes` ([height, width]
        before resizing) of those, and `errors` (file → message) for unreadable files.
    """
    images, read, digests, sizes, errors = [], [], [], [], {}
    for position, file in enumerate(files):
        try:
            image, size = decode_image(Path(folder, file), image_size)
        except (
            Exception
        ) as error:  # Pillow raises a dozen kinds for broken files; each is reported with its file
            errors[file] = str(error).replace(f"{folder}{os.sep}", "") or type(error).__name__
            continue
        images.append(image)
        read.append(position)
        digests.append(digest_image(image))
        sizes.append(size)
    shape = [0]
    if len({image.shape[:2] for image in images}) == 1:
        channels = max(image.shape[2] for image in images)
        block = np.empty((len(images), *images[0].shape[:2], channels), np.uint8)
        for row, image in zip(block, images, strict=True):
            row[:] = image
        np.save(target, block)
        shape = list(block.shape)
    return {
        "target": target,
        "shape": shape,
        "read": read,
        "digests": digests,
        "sizes": sizes,
        "errors": errors,
    }


def decode_image(path: Path, image_size: Sequence[int] = ()) -> tuple[np.ndarray, tuple[int, int]]:
    """Return an image as (height, width, channels) uint8 with 1 or 3 channels, and its size before resizing.

    It stands as its EXIF orientation says, transparent parts are laid on white, and 16 bits become 8.
    """
    with open(path, "rb", buffering=0) as file:
        data = file.read()
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        image.load()
        if _ORIENTED & image.info.keys():
            image = ImageOps.exif_transpose(image)
        size = (image.height, image.width)
        return resize_image(_to_grey_or_colour(image), image_size), size


def resize_image(image: Image.Image, image_size: Sequence[int]) -> np.ndarray:
    """Return a grey ("L") or colour ("RGB") image as an array, resized with antialiased bilinear interpolation."""
    if image_size and (image.height, image.width) != tuple(image_size):
        height, width = image_size
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array[..., np.newaxis] if array.ndim == 2 else array


def digest_image(image: np.ndarray) -> str:
    """Return the hex digest of a (height, width, channels) image; a grey one has the same in 1 and in 3 channels."""
    if image.shape[2] == 3 and _is_grey(image[:1]) and _is_grey(image):
        image = image[..., :1]
    return hashlib.blake2b(np.ascontiguousarray(image), digest_size=16).hexdigest()


def _is_grey(image: np.ndarray) -> bool:
    return bool((image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all())


def _to_grey_or_colour(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "RGB"):
        return image
    if image.mode.startswith("I"):  # 16 bits, whole numbers up to 65,535
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        grey = image.mode in ("LA", "La", "L")
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image.convert("L" if grey else "RGB")
    return image.convert("L" if image.mode == "1" else "RGB")


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(decode_block(**json.loads(line))), flush=True)

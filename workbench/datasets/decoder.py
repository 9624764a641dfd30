"""Decode image files to pixels; also run as a child process, with one line of JSON for each block in and out.

It imports neither Workbench nor numpy, so that the process starts quickly.
"""

import hashlib
import io
import json
import signal
import struct
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
_SMALL = 1 << 18  # pixels
_FRAMES = frozenset({0xFFC0, 0xFFC1, 0xFFC2})  # JPEG markers of baseline, extended, progressive frames
_SKIPPED = frozenset({0xFFC4, 0xFFDB, 0xFFDD, 0xFFFE, 0xFFE0, *range(0xFFE2, 0xFFF0)})  # 0xFFE1 is EXIF
_SEGMENT = struct.Struct(">HH")  # marker, length
_FRAME = struct.Struct(">BHHB")  # bits a sample, height, width, channels
_SHAPE = struct.Struct("<III")
_MODES = {1: "L", 3: "RGB"}
_ORIENTED = frozenset({"exif", "xmp", "Raw profile type exif"})  # where a file may say which side is up


def decode_block(folder: str, files: Sequence[str], image_size: Sequence[int], target: str) -> dict[str, Any]:
    """Decode images of a folder into one file: their pixels one after another, row by row, uint8.

    Args:
        folder: Where the images are.
        files: Their paths in it.
        image_size: (height, width) in pixels to resize to, or () for each image's own size.
        target: The file to write.

    Returns:
        JSON: `target`; for the images in it, `read`, their positions among `files`, `shapes`, and `digests`
        (hex, one after another); `sizes`, how many had which [height, width] before resizing; `hashes` of all
        files as they were read, null if that failed; `errors`, messages by file.
    """
    shapes, digests, sizes, read, errors, hashes, block = [], [], Counter(), [], {}, [], []
    for position, file in enumerate(files):
        hashes.append(None)
        try:
            with open(f"{folder}/{file}", "rb", buffering=0) as opened:
                data = opened.read()
            hashes[position] = hash_bytes(data)
            image, size = decode_image(data, image_size)
            pixels = image.tobytes()
        except UnidentifiedImageError:
            errors[file] = "it is not a PNG, JPEG, BMP or WebP image"
            continue
        except Exception as error:  # Pillow raises a dozen kinds for broken files; each is reported
            errors[file] = str(error) or type(error).__name__
            continue
        shape = (image.height, image.width, 1 if image.mode == "L" else 3)
        shapes.append(shape)
        digests.append(digest_pixels(pixels, shape))
        sizes[size] += 1
        read.append(position)
        block.append(pixels)
    Path(target).write_bytes(b"".join(block))
    return {
        "target": target,
        "read": read,
        "shapes": shapes,
        "digests": "".join(digests),
        "sizes": list(sizes.items()),
        "hashes": hashes,
        "errors": errors,
    }


def decode_image(data: bytes, image_size: Sequence[int] = ()) -> tuple[Image.Image, tuple[int, int]]:
    """Return the image in a file's bytes, grey ("L") or colour ("RGB"), and its size before resizing.

    It stands as its EXIF orientation says, transparent parts are laid on white, and 16 bits become 8.
    """
    image = _decode_plain_jpeg(data)
    if image:
        return resize_image(image, image_size), (image.height, image.width)
    image = Image.open(io.BytesIO(data), formats=_FORMATS)
    image.load()
    if not _ORIENTED.isdisjoint(image.info):
        image = ImageOps.exif_transpose(image)
    if image.mode not in ("L", "RGB"):
        image = _to_grey_or_colour(image)
    return resize_image(image, image_size), (image.height, image.width)


def resize_image(image: Image.Image, image_size: Sequence[int]) -> Image.Image:
    """Return an image resized to (height, width) with antialiased bilinear interpolation; () leaves it."""
    if not image_size or (image.height, image.width) == tuple(image_size):
        return image
    height, width = image_size
    return image.resize((width, height), Image.Resampling.BILINEAR)


def digest_pixels(pixels: bytes, shape: tuple[int, int, int]) -> str:
    """Return the hex digest of the pixels of a (height, width, channels) image.

    An image whose three channels are equal has the digest of the same image in grey.
    """
    if shape[2] == 3 and pixels[0] == pixels[1] == pixels[2]:
        red = pixels[::3]
        if red == pixels[1::3] == pixels[2::3]:
            pixels, shape = red, (*shape[:2], 1)
    return hashlib.blake2b(pixels, digest_size=16, person=_SHAPE.pack(*shape)).hexdigest()


def hash_bytes(data: bytes) -> str:
    """Return the hex identity of a file's content."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _decode_plain_jpeg(data: bytes) -> Image.Image | None:
    """Return the image in a small JPEG without EXIF data, None for any other file.

    For a small file `Image.open` takes longer to read the header than libjpeg to decode the image. The
    markers are those of ITU-T T.81, annex B.
    """
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    try:
        while (segment := _SEGMENT.unpack_from(data, at))[0] in _SKIPPED:
            at += 2 + segment[1]
        if segment[0] not in _FRAMES:
            return None
        precision, height, width, channels = _FRAME.unpack_from(data, at + 4)
        if precision != 8 or channels not in _MODES or height * width > _SMALL:
            return None
        mode = _MODES[channels]
        return Image.frombytes(mode, (width, height), data, "jpeg", mode, "")
    except (ValueError, struct.error):  # broken; Image.open says how
        return None


def _to_grey_or_colour(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits; "I" holds them in 32
        import numpy as np  # takes longer to import than all the rest

        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        grey = image.mode in ("LA", "La")
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image.convert("L" if grey else "RGB")
    return image.convert("L" if image.mode == "1" else "RGB")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    for line in sys.stdin:
        print(json.dumps(decode_block(**json.loads(line))), flush=True)

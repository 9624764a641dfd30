"""One image file becomes one array."""

import numpy as np
import pytest
from PIL import Image

from workbench.datasets.decoder import decode_image

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "webp", "PNG"])
def test_every_format_gives_what_pillow_reads(tmp_path, suffix, write_image):
    path = write_image(tmp_path / f"image.{suffix}", (16, 24))
    image, size = decode_image(path.read_bytes())
    np.testing.assert_array_equal(image, np.asarray(Image.open(path).convert("RGB")))
    assert size == (16, 24)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"comment": b"a comment"}]
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_small_jpegs_are_decoded_as_pillow_does(tmp_path, mode, options, write_image):
    path = write_image(tmp_path / "image.jpg", (17, 31), mode, **options)
    np.testing.assert_array_equal(decode_image(path.read_bytes())[0], np.asarray(Image.open(path)))


def test_a_jpeg_stands_as_its_exif_orientation_says(tmp_path, write_image):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    path = write_image(tmp_path / "image.jpg", (16, 24), exif=exif)
    image, size = decode_image(path.read_bytes())
    np.testing.assert_array_equal(image, np.rot90(np.asarray(Image.open(path)), -1))
    assert size == (24, 16)


def test_16_bits_become_8(tmp_path):
    pixels = RNG.integers(0, 65536, (5, 7), np.uint16)
    Image.fromarray(pixels).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(decode_image((tmp_path / "deep.png").read_bytes())[0], pixels // 256)


@pytest.mark.parametrize(("mode", "expected"), [("RGBA", [255, 255, 255]), ("LA", 255)])
def test_what_is_transparent_becomes_white(tmp_path, mode, expected):
    Image.new(mode, (3, 3), 0).save(tmp_path / "clear.png")
    image, _ = decode_image((tmp_path / "clear.png").read_bytes())
    assert (np.asarray(image) == expected).all()


def test_palette_images_become_colour_and_bilevel_ones_grey(tmp_path):
    colour = Image.fromarray(RNG.integers(0, 256, (9, 9, 3), np.uint8)).quantize(16)
    colour.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(
        decode_image((tmp_path / "palette.png").read_bytes())[0], np.asarray(colour.convert("RGB"))
    )
    Image.new("1", (4, 4), 1).save(tmp_path / "bilevel.png")
    assert (np.asarray(decode_image((tmp_path / "bilevel.png").read_bytes())[0]) == 255).all()

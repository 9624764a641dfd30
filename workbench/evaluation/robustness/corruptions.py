"""Common corruptions of images at five strengths.

Kinds and strengths are those that Hendrycks & Dietterich (2019, https://arxiv.org/abs/1903.12261) took for
CIFAR-10; the blur of larger images grows with them.
"""

import io

import numpy as np
from scipy import ndimage

from workbench.evaluation.robustness.strengths import require_corruption

_NOISE = (0.04, 0.06, 0.08, 0.09, 0.10)  # standard deviation, of the range of pixels
_BLUR = (0.4, 0.6, 0.7, 0.8, 1.0)  # standard deviation in pixels of an image of 32x32
_CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)  # what is left of it
_JPEG = (80, 65, 58, 50, 40)  # quality
_SIDE = 32  # pixels for which the blur holds


def corrupt_images(images: np.ndarray, kind: str, strength: int, seed: int = 0) -> np.ndarray:
    """Return corrupted images.

    Args:
        images: (n, height, width, channels) uint8 with 1 or 3 channels.
        kind: "noise", "blur", "contrast" or "jpeg".
        strength: 1 to 5; 0 leaves the images as they are.
        seed: Of the noise.

    Raises:
        WorkbenchError: There is no such kind or strength.
    """
    require_corruption(kind, strength, IMAGE_CORRUPTIONS)
    if strength == 0:
        return np.asarray(images)
    return IMAGE_CORRUPTIONS[kind](np.asarray(images), strength - 1, np.random.default_rng(seed))


def _add_noise(images: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    noise = random.normal(0, _NOISE[level] * 255, images.shape).astype(np.float32)
    return _pixels(images + noise)


def _blur(images: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    sigma = _BLUR[level] * max(1, min(images.shape[1:3]) / _SIDE)
    return _pixels(ndimage.gaussian_filter(images.astype(np.float32), (0, sigma, sigma, 0)))


def _lower_contrast(images: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    means = images.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    return _pixels((images - means) * _CONTRAST[level] + means)


def _compress(images: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    from PIL import Image

    found = np.empty_like(images)
    for number, image in enumerate(images):
        buffer = io.BytesIO()
        grey = image.shape[-1] == 1
        Image.fromarray(image[..., 0] if grey else image).save(buffer, "JPEG", quality=_JPEG[level])
        found[number] = np.asarray(Image.open(buffer)).reshape(image.shape)
    return found


def _pixels(values: np.ndarray) -> np.ndarray:
    return values.round().clip(0, 255).astype(np.uint8)


IMAGE_CORRUPTIONS = {"noise": _add_noise, "blur": _blur, "contrast": _lower_contrast, "jpeg": _compress}

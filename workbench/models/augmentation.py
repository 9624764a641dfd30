"""Augmentation as layers of a network: drawn for every sample while it trains, absent when it predicts."""

import random
from collections.abc import Callable, Sequence

from keras import KerasTensor, layers, ops

from workbench.errors import WorkbenchError

SHIFT = 1 / 8  # of height and width; 4 pixels of 32, as He et al. 2015 pad and crop
JITTER = 0.2  # of brightness, contrast and saturation, upwards or downwards
SCALED = (0, 1)  # the values that pixels have behind the Rescaling


def augment_images(images: KerasTensor, augmentation: Sequence[str] = (), seed: int = 0) -> KerasTensor:
    """Put layers behind scaled images that change them while a network trains; without any, return them.

    "flip" mirrors left and right. "crop" moves the image by up to an eighth of its height and width, and
    what comes in is black: the padding and cropping of He et al. 2015
    (https://arxiv.org/abs/1512.03385, section 4.2) by parts of pixels, as `keras.layers.RandomCrop` moves
    all images of a batch alike. "colour" changes brightness and contrast, and saturation where there are
    three channels, each by up to a fifth. Their draws are kept by checkpoints, and leave the network's
    initial weights as they are without them.

    Args:
        images: (batch, height, width, channels), values from 0 to 1.
        augmentation: Names of changes, in the order in which they are made.
        seed: Decides all draws.

    Raises:
        WorkbenchError: There is no such change, or it is named twice.
    """
    unknown = [name for name in augmentation if name not in _CHANGES]
    if unknown or len(set(augmentation)) < len(augmentation) or isinstance(augmentation, str):
        raise WorkbenchError(
            f"Images cannot be augmented by {augmentation!r}.\n"
            f"Give a list of some of {', '.join(_CHANGES)}, each once; an empty one for none."
        )
    draw = random.Random(seed)
    for name in augmentation:
        for layer in _CHANGES[name](images.shape[-1], draw):
            images = layer(images)
    return images


def drop_tokens(
    token_ids: KerasTensor, rate: float, replacement: int, kept: Sequence[int], seed: int = 0
) -> KerasTensor:
    """Put another token in place of some while a network trains (Bowman et al. 2016, section 3.1,
    https://arxiv.org/abs/1511.06349, "word dropout").

    Args:
        token_ids: (batch, tokens) int.
        rate: The part of the tokens that is replaced, from 0 to below 1; 0 puts no layer there.
        replacement: The token that stands for a dropped one.
        kept: Tokens that are never replaced.
        seed: Decides all draws.

    Raises:
        WorkbenchError: The rate is out of range.
    """
    if not 0 <= rate < 1:
        raise WorkbenchError(
            f"token_dropout is {rate}, but it is the part of the tokens that is hidden, not all.\n"
            "Give 0 for none, 0.1 for a tenth, anything below 1."
        )
    if rate == 0:
        return token_ids
    ones = ops.ones_like(token_ids, dtype="float32")
    stays = layers.Dropout(rate, seed=random.Random(seed).randint(1, 10**9), name="token_dropout")(ones) > 0
    for token in kept:
        stays = ops.logical_or(stays, ops.equal(token_ids, token))
    return ops.where(stays, token_ids, replacement)


def _flip(channels: int, draw: random.Random) -> list[layers.Layer]:
    return [layers.RandomFlip("horizontal", seed=_seed(draw))]


def _crop(channels: int, draw: random.Random) -> list[layers.Layer]:
    return [layers.RandomTranslation(SHIFT, SHIFT, fill_mode="constant", seed=_seed(draw))]


def _colour(channels: int, draw: random.Random) -> list[layers.Layer]:
    light = [
        layers.RandomBrightness(JITTER, value_range=SCALED, seed=_seed(draw)),
        layers.RandomContrast(JITTER, value_range=SCALED, seed=_seed(draw)),
    ]
    if channels != 3:
        return light
    least, most = ((1 + change) / (2 + change) for change in (-JITTER, JITTER))  # f multiplies by f / (1 - f)
    return [*light, layers.RandomSaturation((least, most), value_range=SCALED, seed=_seed(draw))]


def _seed(draw: random.Random) -> int:
    """Return a seed of its own for a layer: Keras would draw it from Python's generator, as for weights."""
    return draw.randint(1, 10**9)


_CHANGES: dict[str, Callable[[int, random.Random], list[layers.Layer]]] = {
    "flip": _flip,
    "crop": _crop,
    "colour": _colour,
}

"""Does the network lose its class when the marked places are taken away, and find it when they come back?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage

from workbench.errors import WorkbenchError
from workbench.evaluation.statistics import percentile_interval

STEPS = 16
_DRAWS = 2_000
_BLUR = 0.2  # standard deviation of the blur that hides, of the image's side


@dataclass(frozen=True)
class Faithfulness:
    """Deletion and insertion curves of explanations, beside those of a random order.

    Args:
        curves: Columns `share` (of the pixels or words), `deletion`, `insertion`, `random_deletion`,
            `random_insertion`: the mean probability of the class.
        areas: Under the curves, by name: a good map deletes with a small one and inserts with a large one.
        gains: Random deletion less deletion, and insertion less random insertion: value and 95 % bootstrap
            interval over the images or texts; above 0 the explanation is better than chance.
    """

    curves: pd.DataFrame
    areas: dict[str, float]
    gains: dict[str, tuple[float, float, float]]


def measure_faithfulness(
    predict: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    maps: np.ndarray,
    classes: np.ndarray | None = None,
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> Faithfulness:
    """Return the deletion and insertion curves of maps (Petsiuk et al. 2018, https://arxiv.org/abs/1806.07421).

    A deleted pixel becomes the blurred image's, because black squares are nothing that a network knows.

    Args:
        predict: Takes (n, height, width, channels), returns (n, k) probabilities.
        images: (n, height, width, channels) uint8.
        maps: (n, height, width), or with channels, which are summed; large where the class is seen.
        classes: (n,) the explained classes; the predicted ones by default.
        steps: Points on the curves.
        seed: Of the random order and of the bootstrap.
    """
    images = np.asarray(images)
    maps = maps.sum(axis=-1) if maps.ndim == 4 else maps
    random = np.random.default_rng(seed)
    if classes is None:
        classes = predict(images).argmax(axis=1)
    orders = {"": maps, "random_": random.random(maps.shape)}
    values = {}
    for prefix, order in orders.items():
        ranks = np.argsort(np.argsort(-order.reshape(len(order), -1), axis=1, kind="stable"), axis=1)
        values |= {
            f"{prefix}{name}": _follow(predict, images, ranks.reshape(maps.shape), classes, steps, delete)
            for name, delete in (("deletion", True), ("insertion", False))
        }
    return _summarize(values, steps, random)


def measure_word_faithfulness(
    predict: Callable[[Sequence[str]], np.ndarray],
    texts: Sequence[str],
    contributions: Sequence[np.ndarray],
    classes: np.ndarray | None = None,
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> Faithfulness:
    """Return the deletion and insertion curves of what words are said to contribute.

    The words that speak most for the class are left out first, or come back first, in the order of the text:
    comprehensiveness and sufficiency of DeYoung et al. 2020 (https://arxiv.org/abs/1911.03429, section 4),
    over all shares of words. Words whose contribution is NaN, because the tokenizer cut them off, come last.

    Args:
        predict: Takes texts, returns (n, k) probabilities.
        texts: n texts.
        contributions: Of each text (words,), split at blanks; large where a word speaks for the class.
        classes: (n,) the explained classes; the predicted ones by default.
        steps: Points on the curves.
        seed: Of the random order and of the bootstrap.

    Raises:
        WorkbenchError: The contributions do not belong to the words of the texts.
    """
    words = [np.array(text.split(), dtype=object) for text in texts]
    for number, (single, given) in enumerate(zip(words, contributions, strict=True)):
        if len(single) != len(given):
            raise WorkbenchError(
                f"Text {number} has {len(single)} words but {len(given)} contributions.\n"
                "Give one for each word between blanks, such as explain_words returns."
            )
    random = np.random.default_rng(seed)
    if classes is None:
        classes = np.asarray(predict(list(texts))).argmax(axis=1)
    orders = {
        "": [np.where(np.isnan(given), -np.inf, given) for given in contributions],
        "random_": [random.random(len(single)) for single in words],
    }
    values = {}
    for prefix, order in orders.items():
        ranks = [np.argsort(np.argsort(-each, kind="stable")) for each in order]
        values |= {
            f"{prefix}{name}": _follow_words(predict, words, ranks, classes, steps, delete)
            for name, delete in (("deletion", True), ("insertion", False))
        }
    return _summarize(values, steps, random)


def _summarize(values: Mapping[str, np.ndarray], steps: int, random: np.random.Generator) -> Faithfulness:
    """Return curves, areas and gains from the (n, steps + 1) probabilities of every curve."""
    shares = np.linspace(0, 1, steps + 1)
    curves = pd.DataFrame({"share": shares} | {name: value.mean(axis=0) for name, value in values.items()})
    single = {name: np.trapezoid(value, shares, axis=1) for name, value in values.items()}  # (n,) each
    return Faithfulness(
        curves=curves,
        areas={name: float(value.mean()) for name, value in single.items()},
        gains={
            "deletion": _gain(single["random_deletion"] - single["deletion"], random),
            "insertion": _gain(single["insertion"] - single["random_insertion"], random),
        },
    )


def _follow(
    predict: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    ranks: np.ndarray,
    classes: np.ndarray,
    steps: int,
    delete: bool,
) -> np.ndarray:
    """Return (n, steps + 1) probabilities of the classes while pixels are taken away, or put back."""
    side = min(images.shape[1:3]) * _BLUR
    blurred = ndimage.gaussian_filter(images.astype(np.float32), (0, side, side, 0))
    pixels = ranks[0].size
    points = []
    for step in range(steps + 1):
        reached = (ranks < round(pixels * step / steps))[..., None]
        shown = np.where(reached == delete, blurred, images)
        points.append(np.asarray(predict(shown.astype(images.dtype)))[np.arange(len(images)), classes])
    return np.stack(points, axis=1)


def _follow_words(
    predict: Callable[[Sequence[str]], np.ndarray],
    words: Sequence[np.ndarray],
    ranks: Sequence[np.ndarray],
    classes: np.ndarray,
    steps: int,
    delete: bool,
) -> np.ndarray:
    """Return (n, steps + 1) probabilities of the classes while words are taken away, or put back."""
    points = []
    for step in range(steps + 1):
        reached = [rank < round(len(rank) * step / steps) for rank in ranks]
        shown = [" ".join(text[there != delete]) for text, there in zip(words, reached, strict=True)]
        points.append(np.asarray(predict(shown))[np.arange(len(words)), classes])
    return np.stack(points, axis=1)


def _gain(differences: np.ndarray, random: np.random.Generator) -> tuple[float, float, float]:
    draws = random.integers(0, len(differences), (_DRAWS, len(differences)))
    return float(differences.mean()), *percentile_interval(differences[draws].mean(axis=1))

"""Accuracy against the strength of a corruption."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.errors import WorkbenchError
from workbench.evaluation.robustness.corruptions import IMAGE_CORRUPTIONS, corrupt_images
from workbench.evaluation.robustness.strengths import STRENGTHS
from workbench.evaluation.robustness.typos import TEXT_CORRUPTIONS, corrupt_texts
from workbench.evaluation.statistics import cross_mean, wilson_interval

if TYPE_CHECKING:
    from workbench.datasets import Dataset

Predict = Callable[[np.ndarray], np.ndarray]

_RESAMPLES = 1_000
_BY_TASK = {
    "image-classification": (corrupt_images, tuple(IMAGE_CORRUPTIONS)),
    "text-classification": (corrupt_texts, tuple(TEXT_CORRUPTIONS)),
}


def measure_robustness(
    predict: Predict | Sequence[Predict],
    dataset: "Dataset",
    kinds: Sequence[str] = (),
    most: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the accuracy of a model on corrupted test samples.

    Args:
        predict: Takes (n, …) inputs as the dataset holds them, returns (n, k) probabilities. Give one for
            each seed of the model, and the intervals speak of other seeds and other samples.
        dataset: Of images or texts.
        kinds: Which corruptions; all of the task by default.
        most: How many test samples are taken, evenly spaced.
        seed: Of the corruptions.

    Returns:
        Columns `corruption`, `strength` (0 to 5), `accuracy` (mean over the seeds), `low`, `high`, `samples`
        and `seeds`. The interval is Wilson's for one seed; for several it joins the variances of seeds and
        samples (`statistics.cross_mean`).

    Raises:
        WorkbenchError: There are no corruptions for the task, no sample, or no model.
    """
    predicts = list(predict) if isinstance(predict, Sequence) else [predict]
    if not predicts or not len(dataset.test):
        raise WorkbenchError(
            f"There are {len(predicts)} models and {len(dataset.test)} test samples, so nothing can be "
            "measured.\nGive at least one of each."
        )
    if dataset.task not in _BY_TASK:
        raise WorkbenchError(
            f"There are no corruptions for the task {dataset.task!r}.\nThere are for images and texts."
        )
    corrupt, known = _BY_TASK[dataset.task]
    test = dataset.test
    chosen = np.unique(np.linspace(0, len(test) - 1, min(most, len(test))).astype(int))
    inputs, labels = test.x[chosen], test.y[chosen]
    weights = _draw_resamples(len(chosen), seed)

    def measure(shown: np.ndarray) -> tuple[float, float, float, int, int]:
        hits = [np.asarray(each(shown)).argmax(axis=1) == labels for each in predicts]
        return _measure(np.stack(hits), weights)

    clean = measure(inputs)
    rows: list[tuple[Any, ...]] = []
    for kind in kinds or known:
        rows.append((kind, 0, *clean))
        for strength in STRENGTHS:
            rows.append((kind, strength, *measure(corrupt(inputs, kind, strength, seed))))
    columns = ["corruption", "strength", "accuracy", "low", "high", "samples", "seeds"]
    return pd.DataFrame(rows, columns=columns)


def _draw_resamples(samples: int, seed: int) -> np.ndarray:
    """Return how often each sample is in each bootstrap resample, as a share: (resamples, samples)."""
    random = np.random.default_rng(seed)
    return random.multinomial(samples, np.full(samples, 1 / samples), _RESAMPLES) / samples


def _measure(hits: np.ndarray, weights: np.ndarray) -> tuple[float, float, float, int, int]:
    """Return accuracy, low, high, samples and seeds from which answers are right, (seeds, samples) bool."""
    seeds, samples = hits.shape
    found = cross_mean(hits.mean(axis=1), weights @ hits.T, samples) if seeds > 1 else None
    if found is None or found.error == 0:
        low, high = wilson_interval(hits.mean() * samples, samples)
    else:
        low, high = found.interval()
    return float(hits.mean()), max(low, 0.0), min(high, 1.0), samples, seeds

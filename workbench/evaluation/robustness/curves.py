"""Accuracy against the strength of a corruption."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.errors import WorkbenchError
from workbench.evaluation.robustness.corruptions import IMAGE_CORRUPTIONS, corrupt_images
from workbench.evaluation.robustness.strengths import STRENGTHS
from workbench.evaluation.robustness.typos import TEXT_CORRUPTIONS, corrupt_texts
from workbench.evaluation.statistics import wilson_interval

if TYPE_CHECKING:
    from workbench.datasets import Dataset

_BY_TASK = {
    "image-classification": (corrupt_images, tuple(IMAGE_CORRUPTIONS)),
    "text-classification": (corrupt_texts, tuple(TEXT_CORRUPTIONS)),
}


def measure_robustness(
    predict: Callable[[np.ndarray], np.ndarray],
    dataset: "Dataset",
    kinds: Sequence[str] = (),
    most: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the accuracy of a model on corrupted test samples.

    Args:
        predict: Takes (n, …) inputs as the dataset holds them, returns (n, k) probabilities.
        dataset: Of images or texts.
        kinds: Which corruptions; all of the task by default.
        most: How many test samples are taken, evenly spaced.
        seed: Of the corruptions.

    Returns:
        Columns `corruption`, `strength` (0 to 5), `accuracy`, `low`, `high` (Wilson's interval) and
        `samples`.

    Raises:
        WorkbenchError: There are no corruptions for the task.
    """
    if dataset.task not in _BY_TASK:
        raise WorkbenchError(
            f"There are no corruptions for the task {dataset.task!r}.\nThere are for images and texts."
        )
    corrupt, known = _BY_TASK[dataset.task]
    test = dataset.test
    chosen = np.unique(np.linspace(0, len(test) - 1, min(most, len(test))).astype(int))
    inputs, labels = test.x[chosen], test.y[chosen]
    clean = _measure(predict(inputs), labels)
    rows: list[tuple[Any, ...]] = []
    for kind in kinds or known:
        rows.append((kind, 0, *clean))
        for strength in STRENGTHS:
            found = _measure(predict(corrupt(inputs, kind, strength, seed)), labels)
            rows.append((kind, strength, *found))
    return pd.DataFrame(rows, columns=["corruption", "strength", "accuracy", "low", "high", "samples"])


def _measure(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float, float, int]:
    hits = int((probabilities.argmax(axis=1) == labels).sum())
    return hits / len(labels), *wilson_interval(hits, len(labels)), len(labels)

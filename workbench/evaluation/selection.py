"""Which samples to look at: a fair spread over the classes, and the worst mistakes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from workbench.evaluation.predictions import Predictions


def spread_over_classes(labels: np.ndarray, count: int) -> np.ndarray:
    """Return up to `count` indices: one sample of every class, then a second one, and so on.

    Where `count` is below the number of classes, the classes are taken at equal distances.
    """
    order = np.argsort(labels, kind="stable")
    rank = np.empty(len(labels), np.int64)  # how many samples of its class come before each one
    rank[order] = np.arange(len(labels)) - np.searchsorted(labels[order], labels[order])
    chosen = np.lexsort((labels, rank))
    classes = len(np.unique(labels))
    if count < classes:
        return chosen[np.linspace(0, classes - 1, count).astype(int)]
    return chosen[:count]


def find_worst_mistakes(predictions: "Predictions", count: int) -> "pd.DataFrame":
    """Return the wrongly classified samples with the highest loss, worst first.

    Args:
        predictions: Probabilities (n, k) and labels (n,) of a test set.
        count: How many at most.

    Returns:
        Columns `sample` (index into the test set), `id`, `true` and `predicted` (class names),
        `probability` (of the predicted class), `probability_true` and `loss` (of this sample, nats).
    """
    import pandas as pd  # figures need this module and are light without pandas

    labels, probabilities = predictions.labels, predictions.probabilities
    guesses = probabilities.argmax(axis=1)
    samples = np.arange(len(labels))
    of_true = probabilities[samples, labels].astype(np.float64)
    wrong = np.flatnonzero(guesses != labels)
    worst = wrong[np.argsort(of_true[wrong], kind="stable")][:count]
    return pd.DataFrame(
        {
            "sample": worst,
            "id": predictions.ids[worst],
            "true": _names(predictions.class_names, labels[worst]),
            "predicted": _names(predictions.class_names, guesses[worst]),
            "probability": probabilities[worst, guesses[worst]].astype(np.float64).round(4),
            "probability_true": of_true[worst].round(4),
            "loss": -np.log(of_true[worst].clip(np.finfo(np.float32).eps)).round(3),
        }
    )


def _names(class_names: Sequence[str], labels: np.ndarray) -> list[str]:
    return [class_names[label] for label in labels]

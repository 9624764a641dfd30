"""Labels that are probably wrong, by confident learning, and classes that are taken for one another."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from workbench.evaluation.predictions import Predictions


def find_label_errors(predictions: "Predictions") -> pd.DataFrame:
    """Return samples whose label is probably wrong, the most suspicious first.

    Confident learning (Northcutt et al. 2021, https://arxiv.org/abs/1911.00068): a sample counts as one of
    a class where its probability is at least as high as it is on average among the samples labelled so. A
    label is doubted where the likeliest such class is another one, and ranked by how far it falls behind
    (section 3.3).

    Args:
        predictions: Of samples that the model was not trained with.

    Returns:
        Columns `sample` (index), `id`, `label`, `suggested`, `probability` (of the label),
        `probability_suggested` and `margin` (their difference).
    """
    labels, values = predictions.labels, predictions.probabilities.astype(np.float64)
    sums = np.zeros(values.shape[1])
    np.add.at(sums, labels, values[np.arange(len(labels)), labels])
    counts = np.bincount(labels, minlength=values.shape[1])
    thresholds = np.divide(sums, counts, out=np.full(len(sums), np.inf), where=counts > 0)
    confident = np.where(values >= thresholds, values, -1.0)
    suggested = confident.argmax(axis=1)
    doubted = np.flatnonzero((confident.max(axis=1, initial=-1) > 0) & (suggested != labels))
    own, other = values[doubted, labels[doubted]], values[doubted, suggested[doubted]]
    order = np.argsort(own - other, kind="stable")
    chosen = doubted[order]
    return pd.DataFrame(
        {
            "sample": chosen,
            "id": predictions.ids[chosen],
            "label": _names(predictions.class_names, labels[chosen]),
            "suggested": _names(predictions.class_names, suggested[chosen]),
            "probability": own[order].round(4),
            "probability_suggested": other[order].round(4),
            "margin": (own - other)[order].round(4),
        }
    )


def rank_confusions(counts: np.ndarray, class_names: Sequence[str], most: int = 10) -> pd.DataFrame:
    """Return the pairs of classes that are taken for one another, the most frequent first.

    Args:
        counts: (k, k) numbers of samples by true class (rows) and predicted class (columns).
        class_names: k names.
        most: How many pairs at most.

    Returns:
        Columns `true`, `predicted`, `samples`, and `share` of the samples of the true class.
    """
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    true, predicted = np.unravel_index(order[wrong.ravel()[order] > 0], counts.shape)
    samples = wrong[true, predicted]
    return pd.DataFrame(
        {
            "true": _names(class_names, true),
            "predicted": _names(class_names, predicted),
            "samples": samples,
            "share": (samples / counts.sum(axis=1)[true]).round(4),
        }
    )


def _names(class_names: Sequence[str], numbers: np.ndarray) -> list[str]:
    return [class_names[number] for number in numbers]

"""Measures of one class out of many as functions of sums over samples.

Accuracy, F1 and their kin need the hits, the predictions and the samples of each class; losses need a mean.
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from workbench.errors import WorkbenchError
from workbench.evaluation.predictions import Predictions
from workbench.evaluation.statistics.sums import Rows, Sums, average, divide

TOP = 5  # guesses that top-k accuracy allows


def count_sums(measure: str, predictions: Sequence[Predictions]) -> Sums:
    """Return a measure of predicted classes, where samples with the same outcome in all runs share a cell."""
    labels = predictions[0].labels
    classes = len(predictions[0].class_names)
    guesses = np.stack([each.probabilities.argmax(axis=1) for each in predictions], axis=1)  # (n, m)
    outcomes = np.column_stack([labels, guesses])
    cells = np.zeros(len(labels), np.int64)
    for column in outcomes.T:
        cells = np.unique(cells * classes + column, return_inverse=True)[1]
    _, first = np.unique(cells, return_index=True)
    rows = _count_rows(labels[first], guesses[first], classes)
    present = np.unique(labels)

    def finish(sums: np.ndarray) -> np.ndarray:
        blocks = sums.astype(np.float64).reshape(len(sums), -1, classes)
        support, rest = blocks[:, :1], blocks[:, 1:]
        hits, guessed = rest[:, 0::2], rest[:, 1::2]  # (r, m, classes)
        return COUNTED[measure](hits, guessed, support, present)

    return Sums(cells, rows, finish)


def class_sums(measure: str, predictions: Sequence[Predictions]) -> Sums:
    """Return one of `CLASS_MEASURES` of several runs on the same samples."""
    if measure in COUNTED:
        return count_sums(measure, predictions)
    return average([AVERAGED[measure](each) for each in predictions])


def _count_rows(labels: np.ndarray, guesses: np.ndarray, classes: int) -> Rows:
    """Return (u, (1 + 2 m) classes) float32: the class, and for each run the hit and the predicted class."""
    cells, runs = guesses.shape
    hit = guesses == labels[:, None]
    offsets = classes * (1 + 2 * np.arange(runs))
    columns = np.concatenate([labels[:, None], guesses + offsets, guesses + offsets + classes], axis=1)
    values = np.concatenate([np.ones((cells, 1)), hit, np.ones_like(hit)], axis=1).astype(np.float32)
    starts = np.arange(cells + 1) * columns.shape[1]
    shape = (cells, classes * (1 + 2 * runs))
    matrix = sparse.csr_array((values.ravel(), columns.ravel(), starts), shape=shape)
    return matrix.toarray() if shape[1] <= _DENSE_COLUMNS else matrix


def _accuracy(hits: np.ndarray, guessed: np.ndarray, support: np.ndarray, present: np.ndarray) -> np.ndarray:
    return hits.sum(axis=-1) / support.sum(axis=-1)


def _balanced_accuracy(
    hits: np.ndarray, guessed: np.ndarray, support: np.ndarray, present: np.ndarray
) -> np.ndarray:
    occurring = np.maximum((support > 0).sum(axis=-1), 1)
    return divide(hits, support).sum(axis=-1) / occurring


def _f1(hits: np.ndarray, guessed: np.ndarray, support: np.ndarray) -> np.ndarray:
    return divide(2 * hits, guessed + support)


def _macro_f1(hits: np.ndarray, guessed: np.ndarray, support: np.ndarray, present: np.ndarray) -> np.ndarray:
    return _f1(hits, guessed, support)[..., present].mean(axis=-1)


def _weighted_f1(
    hits: np.ndarray, guessed: np.ndarray, support: np.ndarray, present: np.ndarray
) -> np.ndarray:
    return (_f1(hits, guessed, support) * support).sum(axis=-1) / support.sum(axis=-1)


def _kappa(hits: np.ndarray, guessed: np.ndarray, support: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Cohen's kappa (Cohen 1960, https://doi.org/10.1177/001316446002000104)."""
    total = support.sum(axis=-1)
    expected = (guessed * support).sum(axis=-1) / total
    return divide(hits.sum(axis=-1) - expected, total - expected)


def _matthews(hits: np.ndarray, guessed: np.ndarray, support: np.ndarray, present: np.ndarray) -> np.ndarray:
    """The correlation of k classes (Gorodkin 2004, https://doi.org/10.1016/j.compbiolchem.2004.09.006)."""
    total = support.sum(axis=-1)
    above = hits.sum(axis=-1) * total - (guessed * support).sum(axis=-1)
    spread = [total**2 - (counts**2).sum(axis=-1) for counts in (guessed, support)]
    return divide(above, np.sqrt(spread[0] * spread[1]))


def _log_losses(predictions: Predictions) -> np.ndarray:
    """Return the log loss of each sample, with the smallest probability that the measures know."""
    values = predictions.probabilities.astype(np.float64)
    values /= values.sum(axis=1, keepdims=True)
    true = values[np.arange(len(values)), predictions.labels]
    return -np.log(true.clip(np.finfo(np.float32).eps, 1))


def _brier_scores(predictions: Predictions) -> np.ndarray:
    """Return the squared distance of each sample's probabilities from its class, from 0 to 2."""
    values = predictions.probabilities.astype(np.float64)
    true = values[np.arange(len(values)), predictions.labels]
    return (values**2).sum(axis=1) - 2 * true + 1


def _top_hits(predictions: Predictions) -> np.ndarray:
    """Return whether the class of each sample is among the likeliest ones."""
    values = predictions.probabilities
    if values.shape[1] <= TOP:
        raise WorkbenchError(
            f"Of {values.shape[1]} classes the top {TOP} hold every one, so this accuracy says nothing.\n"
            "Give another measure, such as accuracy."
        )
    best = np.argpartition(values, -TOP, axis=1)[:, -TOP:]
    return (best == predictions.labels[:, None]).any(axis=1)


COUNTED = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "weighted_f1": _weighted_f1,
    "kappa": _kappa,
    "matthews": _matthews,
}
AVERAGED = {"log_loss": _log_losses, "brier": _brier_scores, f"top_{TOP}": _top_hits}
CLASS_MEASURES = (*COUNTED, *AVERAGED)
_DENSE_COLUMNS = 1_000  # sums from which a sparse product is faster than a dense one

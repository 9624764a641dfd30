"""Measures of several labels, numbers and rankings as functions of sums.

Numbers and labels add up over samples. The items of a query depend on one another, so a ranking adds up over
queries, which are drawn and swapped as wholes.
"""

from collections.abc import Sequence

import numpy as np

from workbench.evaluation.outputs import THRESHOLD, Outputs
from workbench.evaluation.rankings import measure_queries
from workbench.evaluation.statistics.sums import Sums, average, divide

LABEL_MEASURES = ("macro_f1", "micro_f1", "exact_match", "hamming_loss", "brier")
NUMBER_MEASURES = ("mae", "rmse", "r2")
_FLAT = 1e-12  # of the spread of all targets; what rounding leaves where there is none


def label_sums(measure: str, outputs: Sequence[Outputs]) -> Sums:
    """Return one of `LABEL_MEASURES` of several runs on the same samples."""
    truth = outputs[0].targets > 0
    if measure == "brier":
        return average([((each.outputs - truth) ** 2).mean(axis=1) for each in outputs])
    guesses = [each.outputs >= THRESHOLD for each in outputs]
    if measure == "exact_match":
        return average([(guess == truth).all(axis=1) for guess in guesses])
    if measure == "hamming_loss":
        return average([(guess != truth).mean(axis=1) for guess in guesses])
    blocks = [truth, *(block for guess in guesses for block in (guess & truth, guess))]
    labels = truth.shape[1]

    def finish(sums: np.ndarray) -> np.ndarray:
        counts = sums.astype(np.float64).reshape(len(sums), -1, labels)
        support, hits, guessed = counts[:, :1], counts[:, 1::2], counts[:, 2::2]  # (r, m, labels)
        if measure == "micro_f1":
            return divide(2 * hits.sum(axis=-1), guessed.sum(axis=-1) + support.sum(axis=-1))
        return divide(2 * hits, guessed + support).mean(axis=-1)

    return Sums(np.arange(len(truth)), np.hstack(blocks).astype(np.float32), finish)


def number_sums(measure: str, outputs: Sequence[Outputs]) -> Sums:
    """Return one of `NUMBER_MEASURES` of several runs on the same samples, a mean over the quantities.

    The share of explained variance is NaN on resamples in which a quantity does not vary.
    """
    truth = outputs[0].targets.astype(np.float64)
    errors = [each.outputs - truth for each in outputs]
    if measure == "mae":
        return average([np.abs(error).mean(axis=1) for error in errors])
    centred = truth - truth.mean(axis=0)  # else the squares would lose the digits in which targets differ
    blocks = [np.ones((len(truth), truth.shape[1])), centred, centred**2, *(error**2 for error in errors)]
    flat = _FLAT * (centred**2).sum(axis=0)

    def finish(sums: np.ndarray) -> np.ndarray:
        parts = sums.reshape(len(sums), -1, truth.shape[1])
        count, total, squares, squared = parts[:, :1], parts[:, 1:2], parts[:, 2:3], parts[:, 3:]
        if measure == "rmse":
            return np.sqrt(np.maximum(squared / count, 0)).mean(axis=-1)
        spread = squares - total**2 / count
        with np.errstate(divide="ignore", invalid="ignore"):
            explained = 1 - squared / np.where(spread > flat, spread, np.nan)
        return explained.mean(axis=-1)

    return Sums(np.arange(len(truth)), np.hstack(blocks), finish)


def ranking_sums(measure: str, outputs: Sequence[Outputs]) -> Sums:
    """Return one of `RANKING_MEASURES` of several runs, a mean over the queries with a relevant item."""
    return average([measure_queries(each, measure) for each in outputs])

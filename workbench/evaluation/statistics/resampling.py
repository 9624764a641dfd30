"""Paired resampling of test samples: every run sees the same resamples of the same test set."""

from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from workbench.evaluation.predictions import Predictions
from workbench.evaluation.statistics.sums import RESAMPLED_MEASURES, Rows, Sums, build_sums

__all__ = ["RESAMPLED_MEASURES", "RESAMPLES", "compute_measure", "permute_pairs", "resample_measure"]

RESAMPLES = 10_000
_CHUNK = 4_000_000  # weights that are held at a time


def compute_measure(measure: str, predictions: Sequence[Predictions]) -> np.ndarray:
    """Return the (m,) values of a measure of m runs on the same test set."""
    sums = build_sums(measure, predictions)
    counts = np.bincount(sums.cells, minlength=sums.rows.shape[0])
    return sums.finish(_add_up(counts[None], sums.rows))[0]


def resample_measure(
    measure: str, predictions: Sequence[Predictions], resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Return a measure on bootstrap resamples of the test set (Efron & Tibshirani 1993, chapter 6).

    The resamples are the same for all runs, hence differences between columns are paired.

    Args:
        measure: One of RESAMPLED_MEASURES.
        predictions: Of m runs, all of the same n samples.
        resamples: How many.
        seed: The result is the same to the byte for the same seed.

    Returns:
        (resamples, m) values.

    Raises:
        WorkbenchError: There is no such measure, no sample, or the samples differ.
    """
    sums = build_sums(measure, predictions)
    random = np.random.default_rng(seed)
    samples, cells = len(sums.cells), sums.rows.shape[0]
    rows = max(1, _CHUNK // cells)
    values = []
    for start in range(0, resamples, rows):
        weights = np.empty((min(rows, resamples - start), cells), sums.rows.dtype)
        for row in weights:
            row[:] = np.bincount(sums.cells[random.integers(0, samples, samples)], minlength=cells)
        values.append(sums.finish(_add_up(weights, sums.rows)))
    return np.concatenate(values)


def permute_pairs(
    measure: str, one: Predictions, other: Predictions, permutations: int = RESAMPLES, seed: int = 0
) -> float:
    """Return the p-value of a paired permutation test: on each sample the two models may swap their names.

    Two-sided; the observed order counts as one of the permutations, so the p-value is never 0
    (Phipson & Smyth 2010, https://doi.org/10.2202/1544-6115.1585).

    Args:
        measure: One of RESAMPLED_MEASURES.
        one: Predictions of n samples.
        other: Predictions of the same samples.
        permutations: How many are drawn.
        seed: Of the draws.

    Raises:
        WorkbenchError: There is no such measure, no sample, or the samples differ.
    """
    plain, swapped = (build_sums(measure, pair) for pair in ((one, other), (other, one)))
    random = np.random.default_rng(seed)
    base, change = _swap(plain, swapped)
    observed = _difference(plain, base)
    extreme = 1
    rows = max(1, _CHUNK // len(plain.cells))
    for start in range(0, permutations, rows):
        shape = (min(rows, permutations - start), len(plain.cells))
        swaps = random.integers(0, 2, shape, dtype=np.int8).astype(change.dtype)
        found = _difference(plain, base + _add_up(swaps, change))
        extreme += int((np.abs(found) >= abs(observed[0]) - 1e-12).sum())
    return extreme / (permutations + 1)


def _swap(plain: Sums, swapped: Sums) -> tuple[np.ndarray, Rows]:
    """Return the (1, c) sums without any swap, and the (n, c) change that swapping each sample makes."""
    added = plain.rows[plain.cells]
    base = np.asarray(added.sum(axis=0)).reshape(1, -1)
    return base, swapped.rows[swapped.cells] - added


def _difference(sums: Sums, values: np.ndarray) -> np.ndarray:
    found = sums.finish(values)
    return found[:, 0] - found[:, 1]


def _add_up(weights: np.ndarray, rows: Rows) -> np.ndarray:
    """Return the (r, c) sums; counts are exact in any order, fractions are added by one thread alone."""
    weights = weights.astype(rows.dtype, copy=False)
    if rows.dtype == np.float32:
        return np.asarray(weights @ rows)
    with threadpool_limits(1):
        return np.asarray(weights @ rows)

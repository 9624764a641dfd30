"""Paired resampling of test samples: every run sees the same resamples of the same test set."""

from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from workbench.errors import WorkbenchError
from workbench.evaluation.statistics.measured import Saved, build_sums
from workbench.evaluation.statistics.sums import Rows, Sums

RESAMPLES = 10_000
_CHUNK = 4_000_000  # weights that are held at a time
_ROUNDING = 1e-12  # of the measure; within it two sums in another order are the same


def compute_measure(measure: str, predictions: Sequence[Saved]) -> np.ndarray:
    """Return the (m,) values of a measure of m runs on the same test set; NaN where it is not defined."""
    sums = build_sums(measure, predictions)
    counts = np.bincount(sums.cells, minlength=sums.rows.shape[0])
    if sums.rows.dtype == np.float32:
        return sums.finish(_add_up(counts[None], sums.rows))[0]
    added = (counts[:, None] * sums.rows).sum(axis=0)  # row by row, so that equal runs have equal values
    return sums.finish(added[None])[0]


def resample_measure(
    measure: str, predictions: Sequence[Saved], resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Return a measure on bootstrap resamples of the test set (Efron & Tibshirani 1993, chapter 6).

    The resamples are the same for all runs, hence differences between columns are paired. Of a ranking, whole
    queries are drawn.

    Args:
        measure: One of `MEASURES_OF_TASK`.
        predictions: Of m runs, all of the same n samples.
        resamples: How many.
        seed: The result is the same to the byte for the same seed.

    Returns:
        (resamples, m) values.

    Raises:
        WorkbenchError: There is no such measure, no sample, the samples differ, or one resample alone is
            asked for, or none.
    """
    if resamples < 2:
        raise WorkbenchError(f"{resamples} resamples show no spread.\nGive a thousand or more.")
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
    measure: str, one: Saved, other: Saved, permutations: int = RESAMPLES, seed: int = 0
) -> float:
    """Return the p-value of a paired permutation test: on each sample the two models may swap their names.

    Of a ranking, the samples are queries.

    Two-sided; the observed order counts as one of the permutations, so the p-value is never 0
    (Phipson & Smyth 2010, https://doi.org/10.2202/1544-6115.1585). NaN where the measure is not defined.

    Args:
        measure: One of `MEASURES_OF_TASK`.
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
    observed = float(_difference(plain, base)[0])
    if np.isnan(observed):
        return np.nan
    least = abs(observed) - _ROUNDING * np.abs(plain.finish(base)).max()
    extreme = 1
    rows = max(1, _CHUNK // len(plain.cells))
    for start in range(0, permutations, rows):
        shape = (min(rows, permutations - start), len(plain.cells))
        swaps = random.integers(0, 2, shape, dtype=np.int8).astype(change.dtype)
        found = _difference(plain, base + _add_up(swaps, change))
        extreme += int((np.abs(found) >= least).sum())
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

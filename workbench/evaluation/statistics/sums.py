"""Measures written as functions of sums over samples, so that resampling a measure is one matrix product.

A measure of n samples is here a pair: what each sample adds, (n, c), and how c sums become the measure of
every run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

Rows = np.ndarray | sparse.csr_array


@dataclass(frozen=True)
class Sums:
    """A measure of m runs on the same n samples.

    Args:
        cells: (n,) which row of `rows` each sample adds.
        rows: (u, c) what a sample of each cell adds to the c sums.
        finish: Turns (r, c) sums over samples into the (r, m) values of the measure.
    """

    cells: np.ndarray
    rows: Rows
    finish: Callable[[np.ndarray], np.ndarray]


def average(values: Sequence[np.ndarray]) -> Sums:
    """Return a measure that is a mean over samples, from its (n,) values in each run."""
    columns = np.stack(values, axis=1).astype(np.float64)
    ones = np.ones((len(columns), 1))

    def finish(sums: np.ndarray) -> np.ndarray:
        return sums[:, 1:] / sums[:, :1]

    return Sums(np.arange(len(columns)), np.hstack([ones, columns]), finish)


def divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return the quotient, 0 where there is nothing to divide by, as scikit-learn's zero_division=0."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.zeros(above.shape), where=below != 0)

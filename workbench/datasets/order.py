"""Which samples stand in which batch of which epoch: a function of the seed and the epoch alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """The batches of one epoch.

    Args:
        rows: (n,) int64, the samples in the order in which they come.
        ends: (batches + 1,) int64; batch i has `rows[ends[i]:ends[i + 1]]`.
        lengths: (batches,) int64, how many positions of the padded inputs the batch keeps; 0 for all.
    """

    rows: np.ndarray
    ends: np.ndarray
    lengths: np.ndarray


def plan_epoch(count: int, batch_size: int, draw: np.random.Generator | None) -> EpochPlan:
    """Return batches of `count` samples in an order drawn anew, or as they are without a generator."""
    rows = np.arange(count) if draw is None else draw.permutation(count)
    ends = _ends(count, batch_size)
    return EpochPlan(rows, ends, np.zeros(len(ends) - 1, np.int64))


def plan_epoch_by_length(
    lengths: np.ndarray, buckets: Sequence[int], batch_size: int, draw: np.random.Generator | None
) -> EpochPlan:
    """Return batches that are each padded to one of a few lengths, of samples of like length if drawn.

    The samples of a bucket that fill no batch go into the next longer one, so there are no more batches
    than without buckets. Without a generator the samples stay as they are, so that predictions do.

    Args:
        lengths: (n,) int, positions that each sample needs.
        buckets: Ascending lengths, the last one at least as long as the longest sample.
        batch_size: Samples a batch.
        draw: Decides the order of the samples in a bucket, and of the batches.
    """
    of_bucket = np.searchsorted(buckets, lengths)
    if draw is None:
        plan = plan_epoch(len(lengths), batch_size, None)
        longest = np.maximum.reduceat(of_bucket, plan.ends[:-1])
        return EpochPlan(plan.rows, plan.ends, np.array(buckets, np.int64)[longest])
    batches: list[np.ndarray] = []
    padded: list[int] = []
    left = np.empty(0, np.int64)
    for number, length in enumerate(buckets):
        own = np.flatnonzero(of_bucket == number)
        rows = np.concatenate([left, draw.permutation(own)])
        last = number == len(buckets) - 1
        full = len(rows) if last else len(rows) // batch_size * batch_size
        chosen = [rows[start : start + batch_size] for start in range(0, full, batch_size)]
        batches += chosen
        padded += [length] * len(chosen)
        left = rows[full:]
    order = draw.permutation(len(batches))
    rows = np.concatenate([batches[number] for number in order])
    ends = np.cumsum([0, *(len(batches[number]) for number in order)])
    return EpochPlan(rows, ends, np.array(padded, np.int64)[order])


def choose_buckets(lengths: np.ndarray, longest: int, count: int = 6) -> tuple[int, ...]:
    """Return the `count` lengths, or fewer, that need the least padding; they are multiples of 8.

    Args:
        lengths: (n,) int, positions that each sample needs.
        longest: The length to which the samples are padded.
        count: How many different lengths there may be: XLA compiles the network once for each.
    """
    needed, samples = np.unique(np.minimum(longest, -(-lengths // 8) * 8), return_counts=True)
    counted = np.concatenate([[0], np.cumsum(samples)])
    # positions[i, j] are those of one bucket for the needed lengths i to j - 1; an empty one costs nothing.
    positions = (counted - counted[:, None]) * np.concatenate([[0], needed]).astype(float)
    positions[np.tril_indices(len(counted), -1)] = np.inf
    least, begins = positions[0], []  # of buckets for the needed lengths up to j - 1
    for _ in range(count - 1):
        sums = least[:, None] + positions
        begins.append(sums.argmin(axis=0))
        least = sums.min(axis=0)
    ends = [len(needed)]
    for begin in reversed(begins):
        ends.append(begin[ends[-1]])
    return tuple(int(needed[end - 1]) for end in sorted(set(ends)) if end)


def _ends(count: int, batch_size: int) -> np.ndarray:
    return np.minimum(np.arange(0, count + batch_size, batch_size), count).astype(np.int64)

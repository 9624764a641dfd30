"""Who trains and who tests: stratified splits that follow from the seed and the samples' ids alone.

No random generator is involved. Every sample has a rank, a hash of the seed and its id; the samples of a class are
ordered by rank, and the first of them are the test set, the next ones the validation set. So a split is the
same on every machine and with every version of numpy, and hardly moves when samples are added.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.errors import WorkbenchError

DEFAULT_FRACTION = 0.1
LEFT_OUT = ""


@dataclass(frozen=True)
class Assignment:
    """Where each sample goes.

    Args:
        parts: (n,) str: "train", "val", "test", or "" for a sample that is left out.
        copies: Samples that are an exact copy of an earlier one.
        left_out: Copies of given test or validation samples that were taken out of what is trained on.
        conflicts: Contents that occur with more than one label.
    """

    parts: np.ndarray
    copies: int
    left_out: int
    conflicts: int


def choose_subset(
    ids: np.ndarray, labels: np.ndarray, parts: np.ndarray, max_samples: int, split_seed: int
) -> np.ndarray:
    """Return the rows of a subset with the proportions of the classes (and given splits), ascending.

    Args:
        ids: (n,) str.
        labels: (n,) int.
        parts: (n,) str, the given split of each sample or "".
        max_samples: How many to keep; 0 keeps all.
        split_seed: Decides which.
    """
    if max_samples == 0 or max_samples >= len(ids):
        return np.arange(len(ids))
    ranks = rank(ids, split_seed)
    strata = [np.flatnonzero((parts == part) & (labels == label))
              for part in np.unique(parts) for label in np.unique(labels[parts == part])]  # fmt: skip
    least = np.array([min(len(rows), 3) for rows in strata])
    if least.sum() > max_samples:
        raise WorkbenchError(
            f"max_samples={max_samples} is too few: {len(strata)} classes (in each given split) need up to 3 each.\n"
            f"Give at least {least.sum()}, or 0 for all {len(ids)} samples."
        )
    sizes = _apportion(np.array([len(rows) for rows in strata]), least, max_samples)
    chosen = [rows[np.argsort(ranks[rows])[:size]] for rows, size in zip(strata, sizes, strict=True)]
    return np.sort(np.concatenate(chosen))


def split_samples(
    ids: np.ndarray,
    labels: np.ndarray,
    parts: np.ndarray,
    digests: np.ndarray,
    class_names: Sequence[str],
    *,
    split_seed: int = 0,
    val_fraction: float | None = None,
    test_fraction: float | None = None,
) -> Assignment:
    """Assign every sample to train, val or test, equal contents to one of them.

    Given val and test sets stay as they are, and copies of their samples elsewhere are left out. What is not given is
    carved from the rest.

    Args:
        ids: (n,) str, unique.
        labels: (n,) int.
        parts: (n,) str, the given split of each sample, "" where none is.
        digests: (n,) S16, equal where the contents are equal.
        class_names: Names of the labels, for messages.
        split_seed: Decides who goes where.
        val_fraction: Of what is not given; 0.1 by default.
        test_fraction: Likewise.

    Raises:
        WorkbenchError: A class has fewer distinct samples than there are splits to fill, or a fraction is asked of
            a split that is given.
    """
    fractions = _fractions(parts, {"test": test_fraction, "val": val_fraction})
    _, first, group, sizes = np.unique(digests, return_index=True, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    given = np.zeros(len(sizes), int)  # the strictest given part of any copy: 2 test, 1 val, 0 free
    np.maximum.at(given, group, (parts == "val") + 2 * (parts == "test"))
    own = (parts == "val") + 2 * (parts == "test")
    result = np.where(own == given[group], np.array(["train", "val", "test"])[given[group]], LEFT_OUT)
    result = result.astype("<U5")

    free = np.flatnonzero(given[group] == 0)
    placed = _carve(ids[free], labels[free], group[free], class_names, fractions, split_seed)
    result[free] = placed
    if not (result == "train").any():
        raise WorkbenchError(
            "No sample is left to train on: every one belongs to the given val or test set.\n"
            "Put training images under train/."
        )
    several = np.flatnonzero(sizes > 1)
    mixed = labels != labels[first[group]]
    return Assignment(
        parts=result,
        copies=int((sizes[several] - 1).sum()),
        left_out=int((result == LEFT_OUT).sum()),
        conflicts=len(np.unique(group[mixed])),
    )


def rank(ids: np.ndarray, split_seed: int) -> np.ndarray:
    """Return the (n,) S16 pseudo-random ranks of samples, which follow from seed and id alone."""
    start = hashlib.blake2b(f"{split_seed}\n".encode(), digest_size=16)
    ranks = []
    for name in ids.tolist():
        digest = start.copy()
        digest.update(name.encode())
        ranks.append(digest.digest())
    return np.array(ranks, "S16")


def _carve(
    ids: np.ndarray,
    labels: np.ndarray,
    group: np.ndarray,
    class_names: Sequence[str],
    fractions: dict[str, float],
    split_seed: int,
) -> np.ndarray:
    """Return (n,) str: the part of each sample, whole groups together, class by class."""
    order = np.argsort(rank(ids, split_seed))
    _, leader_at, member_of = np.unique(group[order], return_index=True, return_inverse=True)
    leaders = order[np.sort(leader_at)]  # the first sample of each group, by rank
    part_of_group = dict.fromkeys(group[leaders].tolist(), "train")
    for label in np.unique(labels[leaders]):
        members = leaders[labels[leaders] == label]
        start = 0
        for part, size in _part_sizes(len(members), fractions, class_names[label]).items():
            for leader in members[start : start + size]:
                part_of_group[int(group[leader])] = part
            start += size
    return np.array([part_of_group[one] for one in group.tolist()], "<U5")


def _part_sizes(count: int, fractions: dict[str, float], class_name: str) -> dict[str, int]:
    """Return how many of `count` distinct samples of a class go to each carved part; one stays for training."""
    wanted = {part: fraction for part, fraction in fractions.items() if fraction > 0}
    if count <= len(wanted):
        raise WorkbenchError(
            f"Class {class_name!r} has {count} distinct sample{'s' * (count != 1)}, fewer than the "
            f"{len(wanted) + 1} splits to fill ({', '.join(['train', *wanted])}).\n"
            "Add samples, leave the class out, or set val_fraction or test_fraction to 0."
        )
    sizes: dict[str, int] = {}
    for position, (part, fraction) in enumerate(wanted.items(), start=1):
        left = count - sum(sizes.values()) - (len(wanted) - position) - 1
        sizes[part] = min(max(1, int(fraction * count + 0.5)), left)
    return sizes


def _fractions(parts: np.ndarray, asked: dict[str, float | None]) -> dict[str, float]:
    """Return the fraction of each part that has to be carved."""
    fractions = {}
    for part, fraction in asked.items():
        if not (parts == part).any():
            fractions[part] = DEFAULT_FRACTION if fraction is None else fraction
        elif fraction is not None:
            raise WorkbenchError(
                f"{part}_fraction={fraction} was given, but the data has its own {part} set, which is kept as it is.\n"
                f"Leave {part}_fraction out."
            )
    return fractions


def _apportion(counts: np.ndarray, least: np.ndarray, total: int) -> np.ndarray:
    """Return sizes that sum to `total` in the proportions of `counts`, each at least `least` (largest remainders)."""
    exact = counts / counts.sum() * total
    sizes = np.maximum(np.floor(exact).astype(int), least)
    while sizes.sum() > total:
        sizes[np.argmax(np.where(sizes > least, sizes - exact, -np.inf))] -= 1
    while sizes.sum() < total:
        sizes[np.argmax(np.where(sizes < counts, exact - sizes, -np.inf))] += 1
    return sizes

"""Who trains and who tests: stratified splits that follow from the seed and the samples' ids alone.

No random generator is involved. Every sample has a rank, a hash of the seed and its id; the samples of a
class are ordered by rank, and the first of them are the test set, the next ones the validation set. So a
split is the same on every machine and with every version of numpy, and hardly moves when samples are added.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.errors import WorkbenchError

DEFAULT_FRACTION = 0.1
LEFT_OUT = ""
_GIVEN = np.array(["train", "val", "test"], "<U5")  # the stricter, the later: a test set is never touched
_ROUNDING = 1e-9
_LEAST = 3  # samples of a class that a subset keeps, so that every split can have one


@dataclass(frozen=True)
class Assignment:
    """Where each sample goes.

    Args:
        parts: (n,) str: "train", "val", "test", or "" for a sample that is left out.
        copies: Samples that are an exact copy of another one.
        left_out: Copies of given val or test samples that were taken out of the other splits.
        conflicts: Contents that occur with more than one label.
    """

    parts: np.ndarray
    copies: int
    left_out: int
    conflicts: int


def choose_subset(
    ids: np.ndarray, labels: np.ndarray, parts: np.ndarray, max_samples: int, split_seed: int
) -> np.ndarray:
    """Return the rows of a subset with the same proportions of classes and given splits, ascending.

    Args:
        ids: (n,) str.
        labels: (n,) int.
        parts: (n,) str, the given split of each sample or "".
        max_samples: How many to keep; 0 keeps all.
        split_seed: Decides which.

    Raises:
        WorkbenchError: They are too few for every class to be in every split.
    """
    if max_samples == 0 or max_samples >= len(ids):
        return np.arange(len(ids))
    _, stratum, counts = np.unique(
        np.stack([np.unique(parts, return_inverse=True)[1], labels]),
        axis=1,
        return_inverse=True,
        return_counts=True,
    )
    least = np.minimum(counts, _LEAST)
    if least.sum() > max_samples:
        raise WorkbenchError(
            f"max_samples={max_samples} is too few for {len(counts)} classes (counted in each given split), "
            f"which need {_LEAST} samples each.\n"
            f"Give at least {least.sum()}, or 0 for all {len(ids)} samples."
        )
    order = np.argsort(rank(ids, split_seed))
    sizes = _apportion(counts, least, max_samples)
    chosen = [order[stratum[order] == number][:size] for number, size in enumerate(sizes)]
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

    Given val and test sets stay as they are, and copies of their samples elsewhere are left out. What is not
    given is carved from the rest.

    Args:
        ids: (n,) str, unique.
        labels: (n,) int.
        parts: (n,) str, the given split of each sample, "" where none is.
        digests: (n,) S16, equal where the contents are equal.
        class_names: Names of the labels, for messages.
        split_seed: Decides who goes where.
        val_fraction: Of what is in no given val or test set; 0.1 by default.
        test_fraction: Likewise.

    Raises:
        WorkbenchError: A class has fewer distinct samples than there are splits to fill, or a fraction is
            asked for of a split that is given.
    """
    fractions = _carved_fractions(parts, {"test": test_fraction, "val": val_fraction})
    _, first, group, sizes = np.unique(digests, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(rank(ids, split_seed))
    place = np.argsort(order)  # of each sample in the order of ranks
    leader = order[np.unique(group[order], return_index=True)[1]]  # the first sample of each group of equals
    strictness = (parts == "val") + 2 * (parts == "test")
    group_strictness = np.zeros(len(sizes), int)
    np.maximum.at(group_strictness, group, strictness)
    group_part = _GIVEN[group_strictness]
    for label, class_name in enumerate(class_names):
        free = np.flatnonzero((labels[leader] == label) & (group_strictness == 0))
        free = free[np.argsort(place[leader[free]])]
        group_part[free] = _carve(sizes[free].tolist(), fractions, class_name)
    return Assignment(
        parts=np.where(strictness == group_strictness[group], group_part[group], LEFT_OUT),
        copies=len(ids) - len(sizes),
        left_out=int((strictness != group_strictness[group]).sum()),
        conflicts=len(np.unique(group[labels != labels[first[group]]])),
    )


def rank(ids: np.ndarray, split_seed: int) -> np.ndarray:
    """Return the pseudo-random ranks of samples, (n,) uint64, which follow from seed and id alone."""
    seeded = hashlib.blake2b(f"{split_seed}\n".encode(), digest_size=16)
    ranks = []
    for name in ids.tolist():
        digest = seeded.copy()
        digest.update(name.encode())
        ranks.append(digest.digest())
    return np.frombuffer(b"".join(ranks), ">u8")[::2].astype(np.uint64)  # their first half is enough


def _carved_fractions(parts: np.ndarray, asked: dict[str, float | None]) -> dict[str, float]:
    """Return the fraction of each split that is not given and shall not be empty."""
    fractions = {}
    for part, fraction in asked.items():
        if not (parts == part).any():
            fractions[part] = DEFAULT_FRACTION if fraction is None else fraction
        elif fraction is not None:
            raise WorkbenchError(
                f"{part}_fraction={fraction} was given, but the data has its own {part} set, which is kept "
                f"as it is.\nLeave {part}_fraction out."
            )
    return {part: fraction for part, fraction in fractions.items() if fraction > 0}


def _carve(sizes: Sequence[int], fractions: dict[str, float], class_name: str) -> list[str]:
    """Return the split of each group of equal samples of a class.

    A group goes to the first split with room for all of it, else to train, so that one with many copies does
    not distort a small test set; every split gets at least one group.

    Args:
        sizes: Samples in each group, by rank.
        fractions: Of the samples of the class, for each split to carve.
        class_name: For messages.
    """
    if len(sizes) <= len(fractions):
        raise WorkbenchError(
            f"Class {class_name!r} has {len(sizes)} distinct sample{'s' * (len(sizes) != 1)} outside given "
            f"val and test sets, and {', '.join(['train', *fractions])} need one each.\n"
            "Add samples, leave the class out, or set val_fraction or test_fraction to 0."
        )
    parts = ["train"] * len(sizes)
    for part, fraction in fractions.items():
        room = int(fraction * sum(sizes) + 0.5)
        for number, size in enumerate(sizes):
            if parts[number] == "train" and size <= room:
                parts[number] = part
                room -= size
    for part in ["train", *fractions]:
        if part not in parts:
            largest = max(parts, key=parts.count)
            donors = [number for number, other in enumerate(parts) if other == largest]
            parts[min(donors, key=lambda number: sizes[number])] = part
    return parts


def _apportion(counts: np.ndarray, least: np.ndarray, total: int) -> np.ndarray:
    """Return sizes that sum to `total` in the proportions of `counts`, each at least `least`."""
    fixed = np.zeros(len(counts), bool)  # those that get their least, because their proportion is less
    exact = counts * (total / counts.sum())
    while (too_small := exact < least - _ROUNDING).any():
        fixed |= too_small
        scale = (total - least[fixed].sum()) / counts[~fixed].sum()
        exact = np.where(fixed, least, counts * scale)
    sizes = np.floor(exact + _ROUNDING).astype(int)
    sizes[np.argsort(sizes - exact, kind="stable")[: total - sizes.sum()]] += 1  # the largest remainders
    return sizes

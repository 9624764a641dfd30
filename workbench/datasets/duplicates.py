"""Samples with exactly the same content."""

import hashlib
from dataclasses import dataclass

import numpy as np

from workbench.datasets.dataset import Dataset


@dataclass(frozen=True)
class Duplicates:
    """All samples of one content that occurs more than once."""

    places: tuple[tuple[str, int], ...]  # the split and the row of each sample
    labels: tuple[int, ...]  # the class of each sample

    @property
    def crosses_splits(self) -> bool:
        """Whether a model is tested or validated on what it also saw elsewhere."""
        return len({part for part, _ in self.places}) > 1

    @property
    def conflicts(self) -> bool:
        """Whether the same content has different labels."""
        return len(set(self.labels)) > 1


def find_duplicates(dataset: Dataset) -> list[Duplicates]:
    """Return every content that occurs more than once: across splits or with several labels first.

    Args:
        dataset: Images, equal in every pixel, or texts, equal in every character, in any of its splits.
    """
    found: dict[bytes, list[tuple[str, int]]] = {}
    for part, split in dataset.splits().items():
        for row, sample in enumerate(split.x):
            found.setdefault(_digest(sample), []).append((part, row))
    groups = [
        Duplicates(tuple(places), tuple(int(dataset.splits()[part].y[row]) for part, row in places))
        for places in found.values()
        if len(places) > 1
    ]
    return sorted(groups, key=lambda group: (-group.crosses_splits - group.conflicts, -len(group.places)))


def _digest(sample: np.ndarray | str) -> bytes:
    data = sample.encode(errors="surrogatepass") if isinstance(sample, str) else sample.tobytes()
    return hashlib.blake2b(data, digest_size=16).digest()

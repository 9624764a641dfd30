"""What a source gives before it is split: samples in a fixed order, decoded when asked for."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Content:
    """Decoded inputs of some samples.

    Args:
        blocks: Their arrays in order, a few samples each; the last axis of images may be 1 in grey blocks.
        shape: Shape of all of them together, (m, …).
        digests: (m,) S16; equal where the contents are equal.
        rows: (m,) which of the samples these are; an unreadable one may be missing.
        facts: What the data card says about them.
    """

    blocks: Iterable[np.ndarray]
    shape: tuple[int, ...]
    digests: np.ndarray
    rows: np.ndarray
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Samples:
    """All samples of a source.

    Args:
        task: "image-classification" or "text-classification".
        ids: (n,) str, unique.
        labels: (n,) int64, indices into `class_names`.
        parts: (n,) str, the split that the source gives: "train", "val" or "test"; "" where it gives none.
        class_names: The classes.
        decode: Returns the content of the given rows, (m,) ascending; may use the given empty folder.
        facts: What the data card says about them.
    """

    task: str
    ids: np.ndarray
    labels: np.ndarray
    parts: np.ndarray
    class_names: tuple[str, ...]
    decode: Callable[[np.ndarray, Path], Content]
    facts: dict[str, Any] = field(default_factory=dict)

"""Samples that are looked at while a network trains: a Keras callback sees no data of its own."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.datasets import Dataset, Split
from workbench.errors import WorkbenchError

BATCH = 32  # samples that go through the network at a time

Arrays = np.ndarray | dict[str, np.ndarray] | list[np.ndarray]


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs and targets whose first axis counts the samples.

    Args:
        x: What the network takes: an array, named arrays, or a list of arrays.
        y: What the loss takes, likewise.
        ids: (n,) str; what each sample is called.
    """

    x: Arrays
    y: Arrays
    ids: np.ndarray

    def __post_init__(self) -> None:
        lengths = {len(array) for array in (*leaves(self.x), *leaves(self.y), self.ids)}
        if len(lengths) != 1 or 0 in lengths:
            raise WorkbenchError(
                f"The arrays of a probe hold {', '.join(map(str, sorted(lengths)))} samples.\n"
                "Give as many targets as inputs, and at least one of each."
            )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray | slice) -> "Samples":
        """Return the samples of these rows; nothing else is read."""
        return Samples(_pick(self.x, rows), _pick(self.y, rows), self.ids[rows])

    def spread(self, limit: int) -> "Samples":
        """Return at most `limit` samples, evenly spaced, in an order that spreads every batch of them."""
        rows = np.unique(np.linspace(0, len(self) - 1, min(limit, len(self))).astype(int))
        batches = -(-len(rows) // BATCH)
        return self.take(np.concatenate([rows[start::batches] for start in range(batches)]))

    def batches(self) -> Iterator["Samples"]:
        """Yield the samples in batches of at most 32."""
        for start in range(0, len(self), BATCH):
            yield self.take(slice(start, start + BATCH))


@dataclass(frozen=True, eq=False)
class Probe:
    """What is known of the data: the training samples, held-out samples, or both.

    Args:
        train: Samples that the network is trained with.
        held_out: Samples of which that is not known, such as a validation set.
    """

    train: Samples | None = None
    held_out: Samples | None = None

    @classmethod
    def of(cls, value: Any) -> "Probe | None":
        """Return a probe of what a user hands over; None for None.

        Args:
            value: A `Split` or (x, y), as `fit` would take it, of any samples; or both kinds of samples
                as a `Dataset` or as {"train": …, "val": …} of splits or (x, y).

        Example:
            Probe.of(dataset.val)
            Probe.of({"train": (tokens["train"], labels), "val": (tokens["val"], val_labels)})

        Raises:
            WorkbenchError: It is anything else, or the arrays do not belong together.
        """
        if value is None or isinstance(value, Probe):
            return value
        if isinstance(value, Dataset):
            return cls(_samples(value.train), _samples(value.val))
        if isinstance(value, Mapping) and value and set(value) <= {"train", "val"}:
            parts = {name: _samples(part) for name, part in value.items()}
            return cls(parts.get("train"), parts.get("val"))
        return cls(held_out=_samples(value))

    @property
    def samples(self) -> Samples:
        """The training samples where they are known, else the others."""
        chosen = self.train or self.held_out
        if chosen is None:
            raise WorkbenchError("A probe holds no samples.\nGive train, held_out or both.")
        return chosen

    def parts(self) -> dict[str, Samples]:
        """Return the samples that are known, by "train" and "held_out"."""
        known = {"train": self.train, "held_out": self.held_out}
        return {name: samples for name, samples in known.items() if samples is not None}


def leaves(arrays: Arrays) -> list[np.ndarray]:
    """Return the single arrays of what a network takes or a loss compares."""
    if isinstance(arrays, dict):
        return list(arrays.values())
    return arrays if isinstance(arrays, list) else [arrays]


def _samples(value: Any) -> Samples:
    if isinstance(value, Split):
        x, y = (_only_or_all(part) for part in (value.inputs, value.targets))
        return Samples(x, y, value.ids)
    if isinstance(value, tuple) and len(value) == 2:
        x, y = map(_arrays, value)
        return Samples(x, y, np.arange(len(leaves(x)[0])).astype(str))
    raise WorkbenchError(
        f"A probe was given as {type(value).__name__}, which does not tell inputs from targets.\n"
        "Give a split such as dataset.val, a whole dataset, or a tuple (x, y) of arrays as fit takes them."
    )


def _only_or_all(arrays: Mapping[str, np.ndarray]) -> Arrays:
    return next(iter(arrays.values())) if len(arrays) == 1 else dict(arrays)


def _arrays(value: Any) -> Arrays:
    if isinstance(value, Mapping):
        return {name: _array(part) for name, part in value.items()}
    if isinstance(value, list | tuple) and value and all(hasattr(part, "shape") for part in value):
        return [_array(part) for part in value]
    return _array(value)


def _array(value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.ndim == 0:
        raise WorkbenchError(
            f"A probe was given a {type(value).__name__} where an array of samples belongs.\n"
            "Give arrays; of a tf.data.Dataset, take one batch: next(iter(batches.as_numpy_iterator()))."
        )
    return array


def _pick(arrays: Arrays, rows: np.ndarray | slice) -> Arrays:
    if isinstance(arrays, dict):
        return {name: array[rows] for name, array in arrays.items()}
    return [array[rows] for array in arrays] if isinstance(arrays, list) else arrays[rows]

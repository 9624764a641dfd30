"""Batches of a split as `fit` takes them: fast, in an order that can be told beforehand and gone on with."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import psutil
import tensorflow as tf

from workbench.datasets.identity import digest_samples
from workbench.datasets.order import EpochPlan, choose_buckets, plan_epoch, plan_epoch_by_length
from workbench.errors import WorkbenchError

_MEMORY = 0.25  # of the free memory that arrays may take before they are read from disk batch by batch


class Batches(tf.data.Dataset):
    """Batches of named arrays as a `tf.data.Dataset` of (inputs, targets).

    Integers stay as stored, so that a copy in memory is small and the network normalizes them. The order
    of an epoch follows from `seed` and its number alone. Each time the batches are gone through is the next
    epoch, unless `go_to` says otherwise; `wb.callbacks(run, batches=…)` does that.

    Args:
        inputs: Arrays by name; their first axis counts the samples.
        targets: Likewise.
        batch_size: Samples a batch; the last one of an epoch may be smaller.
        shuffle: Whether the samples come in another order in every epoch.
        seed: Decides these orders.
        mask: Name of an input (n, length) that is above zero where a sample has something. Samples of
            like length are put together, and the inputs of that shape cut to a few lengths.
        ids: (n,) str, of the samples; without them nobody can tell which samples these are.
    """

    def __init__(
        self,
        inputs: Mapping[str, np.ndarray],
        targets: Mapping[str, np.ndarray],
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        mask: str = "",
        ids: np.ndarray | None = None,
    ) -> None:
        self.inputs, self.targets = dict(inputs), dict(targets)
        self.samples = len(next(iter(self.inputs.values())))
        _check(self.samples, batch_size)
        self.batch_size, self.shuffle, self.seed, self.mask = batch_size, shuffle, seed, mask
        self._ids = ids
        self._lengths, self.buckets = _measure(self.inputs, mask)
        self._epoch = self._batch = 0
        self._dataset = self._build()
        # Keras says so of every tf.data.Dataset unless `fit` is told shuffle=False, which would mislead here.
        warnings.filterwarnings("ignore", "`shuffle=True` was passed, but will be ignored")
        super().__init__(self._dataset._variant_tensor)

    def go_to(self, epoch: int, batch: int = 0) -> None:
        """Make the next pass that of `epoch`, without its first `batch` batches."""
        self._epoch, self._batch = epoch, batch

    def plan(self, epoch: int) -> EpochPlan:
        """Return which samples stand in which batch of an epoch."""
        draw = np.random.default_rng([self.seed, epoch]) if self.shuffle else None
        if self.mask:
            return plan_epoch_by_length(self._lengths, self.buckets, self.batch_size, draw)
        return plan_epoch(self.samples, self.batch_size, draw)

    def read(self, epoch: int, number: int) -> tuple[Any, Any, np.ndarray]:
        """Return inputs, targets and rows of one batch of an epoch, counted from 0, uncut."""
        plan = self.plan(epoch)
        rows = plan.rows[plan.ends[number] : plan.ends[number + 1]]
        inputs, targets = (
            {name: array[rows] for name, array in arrays.items()} for arrays in (self.inputs, self.targets)
        )
        return _only_or_all(inputs), _only_or_all(targets), rows

    def identity(self) -> str:
        """Return which samples these are (`digest_samples`); empty without ids, or with several targets."""
        if self._ids is None or len(self.targets) != 1:
            return ""
        return digest_samples(self._ids, next(iter(self.targets.values())))

    def settings(self) -> dict[str, Any]:
        """Return what the order of the samples follows from, besides the epoch."""
        return {
            "samples": self.samples,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "buckets": list(self.buckets),
        }

    def cardinality(self) -> tf.Tensor:
        """Return the number of batches in a whole epoch."""
        return tf.constant(-(-self.samples // self.batch_size), tf.int64)

    @property
    def element_spec(self) -> Any:
        return self._dataset.element_spec

    def _inputs(self) -> list[tf.data.Dataset]:
        return [self._dataset]

    def _next_plan(self) -> tuple[np.ndarray, ...]:
        """Return the plan of the pass that begins, and where in it to begin."""
        plan, first = self.plan(self._epoch), self._batch
        self._epoch, self._batch = self._epoch + 1, 0
        return plan.rows, plan.ends, plan.lengths, np.int64(first)

    def _build(self) -> tf.data.Dataset:
        arrays = (_only_or_all(self.inputs), _only_or_all(self.targets))
        read = _reader(arrays)
        length = self.inputs[self.mask].shape[1] if self.mask else None

        def begin(_: tf.Tensor) -> tf.data.Dataset:
            # Asked for when the first batch is taken; Keras makes iterators that it never uses.
            rows, ends, lengths, first = tf.numpy_function(self._next_plan, [], 4 * [tf.int64])
            ends, lengths = tf.ensure_shape(ends, [None]), tf.ensure_shape(lengths, [None])
            rows = tf.ensure_shape(rows, [None])
            numbers = tf.data.Dataset.range(first, tf.size(lengths, tf.int64))
            return numbers.map(lambda i: (rows[ends[i] : ends[i + 1]], lengths[i]))

        def take(rows: tf.Tensor, kept: tf.Tensor) -> Any:
            inputs, targets = read(rows)
            if length:
                inputs = tf.nest.map_structure(
                    lambda each: each[:, :kept] if each.shape[1:] == [length] else each, inputs
                )
            return inputs, targets

        plans = tf.data.Dataset.from_tensors(0).flat_map(begin)
        batches = plans.map(take, num_parallel_calls=2, deterministic=True).prefetch(4)
        # There is nothing to tune, and a pass would wait at its end until the tuning thread looks again: that
        # doubles its pause each time, so that an epoch could take twice its time.
        options = tf.data.Options()
        options.autotune.enabled = False
        return batches.with_options(options)


def _reader(arrays: Any) -> Any:
    """Return a function from rows to the batch of them: from memory, or from disk where that is too small."""
    leaves = tf.nest.flatten(arrays)
    texts = any(leaf.dtype == object for leaf in leaves)
    if texts or sum(leaf.nbytes for leaf in leaves) <= _MEMORY * psutil.virtual_memory().available:
        tensors = tf.nest.map_structure(tf.convert_to_tensor, arrays)
        return lambda rows: tf.nest.map_structure(lambda each: tf.gather(each, rows), tensors)
    types = [tf.as_dtype(leaf.dtype) for leaf in leaves]

    def read(rows: tf.Tensor) -> Any:
        batch = tf.numpy_function(lambda chosen: [leaf[chosen] for leaf in leaves], [rows], types)
        shaped = [
            tf.ensure_shape(each, [None, *leaf.shape[1:]]) for each, leaf in zip(batch, leaves, strict=True)
        ]
        return tf.nest.pack_sequence_as(arrays, shaped)

    return read


def _measure(inputs: Mapping[str, np.ndarray], mask: str) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return the length of every sample and the lengths that batches are cut to."""
    if not mask:
        return np.empty(0, np.int64), ()
    if mask not in inputs or inputs[mask].ndim != 2:
        raise WorkbenchError(
            f"Batches were to be grouped by the length that the input {mask!r} tells, but the inputs are "
            f"{', '.join(f'{name} {array.shape}' for name, array in inputs.items())}.\n"
            "Name an input of the shape (samples, positions), such as padding_mask."
        )
    used = inputs[mask] > 0
    lengths = used.shape[1] - np.argmax(used[:, ::-1], axis=1)  # the last position that holds something
    return lengths, choose_buckets(lengths, used.shape[1])


def _only_or_all(arrays: Mapping[str, np.ndarray]) -> Any:
    return next(iter(arrays.values())) if len(arrays) == 1 else dict(arrays)


def _check(samples: int, batch_size: int) -> None:
    if samples == 0:
        raise WorkbenchError(
            "Batches were asked for of no samples.\nGive a split with samples in it, or smaller fractions to "
            "the other splits."
        )
    if not (isinstance(batch_size, int) and batch_size > 0):
        raise WorkbenchError(
            f"batch_size is {batch_size!r}, and a batch holds a whole number of samples.\n"
            "Give 1 or more; 32 is usual."
        )

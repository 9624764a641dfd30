"""Gradients, weights and updates of a network's layers, in depth order."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import keras
import numpy as np

from workbench.errors import WorkbenchError
from workbench.events import EventLog
from workbench.training.forward import (
    can_look_inside,
    compute_loss,
    compute_outputs,
    has_loss,
    name_layer,
    undisturbed,
)
from workbench.training.position import Start
from workbench.training.probe import BATCH, Probe, Samples
from workbench.training.snapshot import copy_values

MOST_GROUPS = 12
_FEWEST_GROUPS = 6  # where names merge layers into fewer, neighbours are merged instead


@dataclass(frozen=True)
class LayerGroup:
    """The trainable weights of neighbouring layers.

    Args:
        name: Their common path in the model, or the first and the last of them.
        gradient_norm: Euclidean norm of the loss's gradient.
        weight_norm: Euclidean norm of the weights.
    """

    name: str
    gradient_norm: float
    weight_norm: float


@dataclass(frozen=True)
class Gradients:
    """Groups of layers with their weights, and the loss that the gradients are of."""

    groups: tuple[LayerGroup, ...]
    variables: tuple[tuple[Any, ...], ...]  # of each group
    loss: float


def compute_gradients(model: keras.Model, samples: Samples) -> Gradients:
    """Return the norms of gradients and weights, from the input to the output, in at most 12 groups.

    The loss is the compiled one, in training mode (dropout, statistics of the batch); nothing of the
    model changes. Weights that the loss does not depend on are left out.

    Args:
        model: Built and compiled.
        samples: A batch.

    Raises:
        WorkbenchError: The backend is not TensorFlow, or the model has no loss to take gradients of.
    """
    _require_gradients(model)
    import tensorflow as tf

    owned: dict[str, list[Any]] = {}  # the weights of each layer by its path, in depth order
    claimed: set[int] = set()

    def claim(layer: keras.Layer, _: Any, __: Any) -> None:
        new = [weight for weight in layer.trainable_variables if id(weight) not in claimed]
        claimed.update(map(id, new))
        for weight in new:
            owned.setdefault(name_layer(model, weight), []).append(weight)

    with undisturbed(model), tf.GradientTape() as tape:
        outputs = compute_outputs(model, samples, claim, training=True)
        claim(model, None, None)  # weights of the model itself
        loss = compute_loss(model, samples, outputs)
    weights = [weight for layer in owned.values() for weight in layer]
    gradients = dict(zip(map(id, weights), tape.gradient(loss, [w.value for w in weights]), strict=True))
    used = {path: [w for w in layer if gradients[id(w)] is not None] for path, layer in owned.items()}
    named = _merge({path: layer for path, layer in used.items() if layer})
    groups = tuple(
        LayerGroup(name, _norm(gradients[id(w)] for w in layer), _norm(layer)) for name, layer in named
    )
    return Gradients(groups, tuple(tuple(layer) for _, layer in named), float(loss))


class LayerMeter(keras.callbacks.Callback):
    """Measure layers when asked to, and write a `layers` event to the log.

    At the end of the running execution the gradients of a probe batch are taken; over the execution
    after it, the length of the update a batch is set against the length of the weights. About 1e-3 is
    usual (Karpathy, https://cs231n.github.io/neural-networks-3/#ratio).

    Args:
        log: Where to write.
        probe: What `Probe.of` takes, else nothing can be measured.
        start: Where the training goes on, if it does.
    """

    def __init__(self, log: EventLog, probe: Any = None, start: Start | None = None) -> None:
        super().__init__()
        self.start = start or Start()
        self.log = log
        self.probe = Probe.of(probe)
        self._requested = False
        self._measured: _Measured | None = None
        self._epoch = 0

    def request(self) -> None:
        """Ask for a measurement; this may come from another thread.

        Raises:
            WorkbenchError: There is no probe, or the backend or the model does not allow it.
        """
        if self.probe is None:
            raise WorkbenchError(
                "Layers were to be measured, but a callback sees no data, and no probe was handed over.\n"
                "Give one when training begins: wb.callbacks(run, probe=dataset.val), or probe=(x, y)."
            )
        _require_gradients(self.model)
        self._requested = True

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._epoch = epoch
        if self._measured:
            self._measured.batches_before = self.start.skipped(epoch)  # the first execution of it is to come

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        if not self._measured and not self._requested:
            return
        step = batch + 1 + self.start.skipped(self._epoch)
        if self._measured:
            self._write(self._measured.update_ratios(step))
        if self._requested:
            self._requested = False
            self._measure(step)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        if self._measured:
            self._write([None] * len(self._measured.gradients.groups))
        self._requested = False

    def _measure(self, step: int) -> None:
        gradients = compute_gradients(self.model, self.probe.samples.spread(BATCH))
        before = [copy_values(layer) for layer in gradients.variables]
        self._measured = _Measured(gradients, before, self._epoch, step, step)

    def _write(self, ratios: list[float | None]) -> None:
        measured, self._measured = self._measured, None
        groups = [
            {**vars(group), "update_ratio": ratio}
            for group, ratio in zip(measured.gradients.groups, ratios, strict=True)
        ]
        self.log.write("layers", epoch=measured.epoch, step=measured.step, groups=groups)


@dataclass
class _Measured:
    """Gradients that wait for the next update."""

    gradients: Gradients
    before: list[list[np.ndarray]]  # the weights of each group
    epoch: int
    step: int
    batches_before: int  # of the epoch that the next execution belongs to

    def update_ratios(self, batches: int) -> list[float | None]:
        """Return ‖Δw‖/‖w‖ a batch of each group, given the batches of the epoch so far."""
        ratios = []
        for layer, old in zip(self.gradients.variables, self.before, strict=True):
            length = _norm(old)
            moved = _norm(new - weight for new, weight in zip(copy_values(layer), old, strict=True))
            ratios.append(moved / length / (batches - self.batches_before) if length else None)
        return ratios


def _require_gradients(model: keras.Model) -> None:
    if not can_look_inside():
        raise WorkbenchError(
            f"Gradients of single layers cannot be measured on the {keras.backend.backend()} backend of "
            "Keras.\nUse KERAS_BACKEND=tensorflow to look at them."
        )
    if not has_loss(model):
        raise WorkbenchError(
            f"The model {model.name} has no loss of its own that gradients could be taken of.\n"
            "Compile it with a loss, or give it a compute_loss method."
        )


def _merge(layers: dict[str, list[Any]]) -> list[tuple[str, list[Any]]]:
    """Merge layers into at most 12 groups: by their common path, else neighbours in equal numbers."""
    named = list(layers.items())
    for depth in range(max(path.count("/") for path in layers) + 1, 0, -1) if layers else ():
        merged = _merge_by_path(layers, depth)
        if len(merged) <= MOST_GROUPS:
            return merged if len(merged) >= min(_FEWEST_GROUPS, len(named)) else _merge_neighbours(named)
        named = merged
    return _merge_neighbours(named)


def _merge_by_path(layers: dict[str, list[Any]], depth: int) -> list[tuple[str, list[Any]]]:
    """Merge neighbours whose paths begin with the same `depth` names."""
    parts = groupby(layers.items(), key=lambda item: "/".join(item[0].split("/")[:depth]))
    return [(name, [weight for _, layer in group for weight in layer]) for name, group in parts]


def _merge_neighbours(named: list[tuple[str, list[Any]]]) -> list[tuple[str, list[Any]]]:
    count = min(MOST_GROUPS, len(named))
    ends = [round(len(named) * number / count) for number in range(count + 1)] if count else []
    parts = [named[start:end] for start, end in pairwise(ends)]
    return [
        (
            part[0][0] if len(part) == 1 else f"{part[0][0]} … {part[-1][0]}",
            [w for _, layer in part for w in layer],
        )
        for part in parts
    ]


def _norm(tensors: Iterable[Any]) -> float:
    """Return the Euclidean norm of all numbers of several tensors."""
    return math.sqrt(sum(_squares(tensor) for tensor in tensors))


def _squares(tensor: Any) -> float:
    """Return the sum of squares; of an embedding's gradient, of the rows that were looked up alone."""
    import tensorflow as tf

    if isinstance(tensor, np.ndarray):
        return float(np.square(tensor, dtype=np.float64).sum())
    if isinstance(tensor, tf.IndexedSlices):
        rows, row_of = tf.unique(tensor.indices)
        tensor = tf.math.unsorted_segment_sum(tensor.values, row_of, tf.size(rows))
    return float(tf.reduce_sum(tf.square(tf.cast(tensor, tf.float32))))

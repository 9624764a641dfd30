"""Diagnosis while `fit` runs."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from workbench.events import EventLog, read_events
from workbench.findings import Finding
from workbench.training.diagnosis.history import FIRST_BATCHES, History, read_history
from workbench.training.diagnosis.network import (
    ENOUGH,
    find_dead_units,
    find_exploding_gradients,
    find_saturation,
    find_unscaled_inputs,
    find_vanishing_gradients,
    observe,
)
from workbench.training.diagnosis.nonfinite import Snapshot, find_nonfinite
from workbench.training.diagnosis.reading import Findings, judge_curves, name_nonfinite
from workbench.training.diagnosis.samples import find_imbalance, find_leaked_samples, find_wrong_labels
from workbench.training.diagnosis.task import chance_loss, is_regularized, read_task
from workbench.training.diagnosis.thresholds import Thresholds
from workbench.training.forward import can_look_inside, has_loss, require_inputs
from workbench.training.layers import compute_gradients
from workbench.training.learning_rate import read_learning_rate
from workbench.training.position import Start
from workbench.training.probe import BATCH, Probe, Samples
from workbench.training.steering import Steering

if TYPE_CHECKING:
    from workbench.datasets.batches import Batches

Look = Callable[[int, float], Iterator[Finding | None]]  # (epoch, seconds that may be spent)


class Diagnosis(keras.callbacks.Callback):
    """Say in plain words when a training goes wrong, as `finding` events in its log.

    Curves are judged after every epoch. Samples, activations and gradients are judged by a probe, as often
    as a small part of the training time allows, and not without one; activations and gradients on the
    TensorFlow backend only. Training itself is not changed. A loss that is NaN or infinite is noticed at
    once, and the batches since the last look at it, or else the probe, are replayed with the last good
    weights to find where it comes from.

    Args:
        log: Where findings are written. When a training resumes, earlier epochs are read from it.
        probe: What `Probe.of` takes.
        thresholds: When the rules speak, and what they may cost.
        batches: What `fit` is given, if `Split.batches` made it; it is replayed when the loss breaks.
        steering: The callback that may pause the training; a pause is no training time.
        start: Where the training goes on, if it does.

    Raises:
        WorkbenchError: The probe is none, or not what the network takes, when training begins.
    """

    def __init__(
        self,
        log: EventLog,
        probe: Any = None,
        thresholds: Thresholds | None = None,
        steering: Steering | None = None,
        start: Start | None = None,
        batches: "Batches | None" = None,
    ) -> None:
        super().__init__()
        self.batches = batches
        self.log = log
        self.start = start or Start()
        self.steering = steering
        self.probe = Probe.of(probe)
        self.thresholds = thresholds or Thresholds()
        self._findings = Findings()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found in the last `fit`, or the present one, so far."""
        return tuple(self._findings.found)

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        for samples in self.probe.parts().values() if self.probe else ():
            require_inputs(self.model, samples)
        self._findings = Findings()
        self._history: History | None = None
        self._good: Snapshot | None = None
        self._broken = False  # a loss was NaN or infinite; nothing else needs to be said then
        self._last_batch = -1
        self._batches = 0  # in all epochs
        self._started = time.perf_counter()
        self._spent = 0.0  # seconds on the probe

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._epoch = epoch
        self._first_batch = self.start.skipped(epoch)
        self._last_batch = self._first_batch - 1
        if self._history is None:  # only now are the weights those that a resumed training goes on with
            self._begin(epoch)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        batch += self._first_batch
        loss = (logs or {}).get("loss", 0.0)
        if loss - loss != 0.0 and not self._broken:  # NaN or infinite, in the cheapest way to tell
            first = self._last_batch + 2
            where = f"in batch {batch + 1}" if first > batch else f"in batches {first} to {batch + 1}"
            what = f"{name_nonfinite({'loss': loss})} {where} of epoch {self._epoch + 1}"
            self._locate(what, window=range(first - 1, batch + 1))
        elif self._batches == 0 and self._epoch == 0 and batch < FIRST_BATCHES:
            self._history = replace(self._history, first_loss=float(loss))
        self._batches += batch - self._last_batch
        self._last_batch = batch

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        rate = None if self.model.optimizer is None else read_learning_rate(self.model)
        self._history = self._history.add(epoch, logs or {}, rate)
        nonfinite = name_nonfinite(logs or {})
        if nonfinite and not self._broken:
            self._locate(
                f"{nonfinite} in epoch {epoch + 1}", in_validation=nonfinite.startswith("Validation")
            )
        if self._broken:
            return
        for finding in judge_curves(self._history, self.thresholds):
            self._report(finding)
        self._look(epoch)
        self._keep_weights()

    def _begin(self, epoch: int) -> None:
        """Learn what can be known before the first batch."""
        self._history = read_history(read_events(self.log.path), epoch) if epoch else History()
        self._task = read_task(self.model)
        labels = self._labels(self.probe.samples) if self.probe else None
        self._history = replace(
            self._history,
            chance=chance_loss(self.model, self._task, labels),
            planned=self.params.get("epochs"),
            regularized=is_regularized(self.model),
        )
        self._looks: list[Look] = [self._look_at_samples] if self.probe else []
        if self.probe and can_look_inside():
            self._looks.append(self._look_at_activations)
            if has_loss(self.model):
                self._looks.append(self._look_at_gradients)
        self._costs: dict[str, float] = {}  # seconds that each look and a snapshot took the last time
        self._keep_weights()

    def _look(self, epoch: int) -> None:
        """Look at the probe in as many ways as there is time for, and go on with the next one later."""
        for look in list(self._looks):
            allowed = self._allowed()
            batch = self._elapsed() / max(1, self._batches)
            if allowed < self._costs.get(look.__name__, max(0.05, batch)):
                return  # wait for this one, so that a cheaper one does not always come first
            began = time.perf_counter()
            for finding in look(epoch, allowed):
                self._report(finding)
            self._note_cost(look.__name__, began)
            self._looks.remove(look)
            if look != self._look_at_samples:  # they stay the same
                self._looks.append(look)

    def _elapsed(self) -> float:
        """Return the seconds since `fit` began, without pauses."""
        paused = self.steering.paused_seconds if self.steering else 0.0
        return time.perf_counter() - self._started - paused

    def _allowed(self) -> float:
        """Return the seconds that may be spent now."""
        return self.thresholds.cost * self._elapsed() - self._spent

    def _note_cost(self, what: str, began: float) -> None:
        took = time.perf_counter() - began
        self._spent += took
        self._costs[what] = took

    def _look_at_samples(self, epoch: int, seconds: float) -> Iterator[Finding | None]:
        labels = self._labels(self.probe.samples)
        if labels is not None:
            yield find_imbalance(labels, self.thresholds, epoch)
        yield find_leaked_samples(self.probe, self.thresholds, epoch)

    def _look_at_activations(self, epoch: int, seconds: float) -> Iterator[Finding | None]:
        parts = self.probe.parts()
        for part, samples in parts.items():
            chosen = samples.spread(max(ENOUGH, self.thresholds.samples // len(parts)))
            seen = observe(self.model, chosen, seconds / len(parts))
            if not seen.finite:
                return
            yield find_unscaled_inputs(seen, self.thresholds, epoch)
            yield find_dead_units(seen, self.thresholds, epoch)
            yield from self._judge_outputs(
                chosen.take(slice(seen.count)), seen.outputs, part == "train", epoch
            )

    def _judge_outputs(
        self, samples: Samples, outputs: list[np.ndarray], trained: bool, epoch: int
    ) -> Iterator[Finding | None]:
        labels = self._labels(samples)
        if labels is None or not outputs:
            return
        probabilities = self._task.probabilities(np.concatenate(outputs))
        if probabilities is None or labels.max() >= probabilities.shape[1]:
            return
        yield find_saturation(probabilities, labels, self.thresholds, epoch)
        yield find_wrong_labels(samples, labels, probabilities, trained, self.thresholds, epoch)

    def _look_at_gradients(self, epoch: int, seconds: float) -> Iterator[Finding | None]:
        gradients = compute_gradients(self.model, self.probe.samples.spread(BATCH))
        yield find_vanishing_gradients(gradients, self.thresholds, epoch)
        yield find_exploding_gradients(gradients, self._history.baseline, self.thresholds, epoch)

    def _locate(self, what: str, in_validation: bool = False, window: range | None = None) -> None:
        """Search for the origin of NaN or infinity; time is no matter, since training is lost."""
        self._broken = True
        replayed: list[Samples] = []
        first = None
        if window and self.batches is not None:
            first = window[0]
            replayed = [self._read_batch(number) for number in window]
        elif self.probe:
            samples = (self.probe.held_out if in_validation else None) or self.probe.samples
            replayed = list(samples.batches())
        finding = find_nonfinite(what, self._epoch, self.model, replayed, self._good, self.thresholds, first)
        self._report(finding)

    def _read_batch(self, number: int) -> Samples:
        inputs, targets, rows = self.batches.read(self._epoch, number)
        return Samples(inputs, targets, rows.astype(str))

    def _keep_weights(self) -> None:
        size = sum(math.prod(w.shape) * 4 for w in self.model.weights)  # bytes, of float32
        known = self.probe or self.batches is not None
        if not known or not can_look_inside() or size > self.thresholds.snapshot_bytes:
            return
        began = time.perf_counter()
        if self._allowed() >= self._costs.get("snapshot", -math.inf):  # older weights serve, too
            self._good = Snapshot(self.model)
            self._note_cost("snapshot", began)

    def _labels(self, samples: Samples) -> np.ndarray | None:
        return self._task.labels(samples.y) if self._task else None

    def _report(self, finding: Finding | None) -> None:
        if self._findings.add(finding):
            self.log.write("finding", **finding.as_event())

"""From Keras to a run's event log."""

import math
import threading
import time
from collections.abc import Mapping
from typing import Any

import keras
import psutil

from workbench.errors import WorkbenchError
from workbench.events import EventLog
from workbench.front_end import notebook_shell
from workbench.training.costs import CostMeter
from workbench.training.learning_rate import read_learning_rate
from workbench.training.position import Position
from workbench.training.steering import Steering

SECONDS_BETWEEN_MEMORY = 5.0  # looks at what the process holds


class EventLogger(keras.callbacks.Callback):
    """Write what happens in `fit` to a run's event log, in the schema of `workbench.events`.

    The metrics of a step are means over the batches since the last step event, although Keras gives
    running means over the epoch; a metric that is no mean (AUC, for one) keeps its running value.

    Args:
        log: Where to write.
        position: Where the training is; another callback of the same `fit`, before this one.
        batch_size: Samples a batch, if known.
        early_stopping: The callback that may end the training early, if there is one.
        steering: The callback by which a person may end it.
        costs: The callback that adds up what the training costs.
        seconds: Least time between two step events, so that a fast training is not slowed down.
    """

    def __init__(
        self,
        log: EventLog,
        position: Position,
        batch_size: int | None = None,
        early_stopping: keras.callbacks.EarlyStopping | None = None,
        steering: Steering | None = None,
        costs: CostMeter | None = None,
        seconds: float = 0.5,
    ) -> None:
        super().__init__()
        self.log = log
        self.position = position
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.steering = steering
        self.costs = costs
        self.seconds = seconds

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        epochs = self.params["epochs"]
        if epochs < 1:
            raise WorkbenchError(
                f"fit was asked for {epochs} epochs, and a model learns nothing without one.\n"
                "Give epochs of 1 or more."
            )
        self._process = psutil.Process()
        self._started = self._clock()
        self._announced = False
        self._completed = 0
        self._means: dict[str, bool] = {}  # whether a metric is a plain mean
        self._memory, self._memory_due = 0, 0.0
        self._expect_end_of_cell()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if not self._announced:  # only now is it known where a resumed training goes on
            self._announced = True
            self._announce(epoch)
        self._epoch = epoch
        self._began = self._clock()
        self._due = time.monotonic() + self.seconds
        self._seen = skipped = self.position.skipped  # batches up to the last step event
        known = self.position.start.logs if skipped else {}
        self._sums = {name: value * skipped for name, value in known.items()}  # over those batches

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        if time.monotonic() < self._due:
            return
        seen = self.position.batches
        if seen >= (self.params["steps"] or math.inf):
            return  # the last batch may be smaller, which would skew the sums; the epoch is next
        self.log.write(
            "step",
            epoch=self._epoch,
            step=seen,
            metrics=self._window_means(seen, logs or {}),
            learning_rate=read_learning_rate(self.model),
            memory=self._read_memory(),
        )
        self._due = time.monotonic() + self.seconds

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        event = {
            "epoch": epoch,
            "metrics": dict(logs or {}),
            "seconds": self._clock() - self._began,
            "learning_rate": read_learning_rate(self.model),
            "batches": self.position.batches,
        }
        if self.early_stopping and self.early_stopping.monitor_op:  # found at its own end of the epoch
            event["mode"] = "max" if self.early_stopping.monitor_op(1, 0) else "min"
        if self.position.cut_short:
            event["step"] = self.position.batches
        else:
            self._completed = epoch + 1
        self.log.write("epoch", **event)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        if not self._announced:  # there was nothing left to train
            self._completed = self.position.start.trained
            self._announce(self.position.start.epoch)
        restored = self.steering.restored if self.steering else None
        stopped = self._completed < self.params["epochs"] or restored is not None
        event = {"epochs": self._completed, "stopped": stopped, "reason": self._reason() if stopped else ""}
        if restored is not None:
            event["restored"] = restored
        if self.costs:
            event["costs"] = self.costs.costs
        self.log.write("fit_end", seconds=self._clock() - self._started, **event)
        self._forget_cell()

    def _expect_end_of_cell(self) -> None:
        """Look when a notebook's cell ends, since Keras tells callbacks nothing of an exception in `fit`."""
        self._thread = threading.get_ident()
        self._shell = notebook_shell()
        if self._shell:
            self._shell.events.register("post_run_cell", self._end_cell)

    def _end_cell(self, result: Any) -> None:
        if threading.get_ident() != self._thread:  # a `fit` in a thread of its own outlives the cell
            return
        self._forget_cell()
        if not self.log.ended:
            self.log.write("broken", error=type(result.error_in_exec or KeyboardInterrupt()).__name__)

    def _forget_cell(self) -> None:
        if self._shell:
            self._shell.events.unregister("post_run_cell", self._end_cell)

    def _announce(self, epoch: int) -> None:
        stopping = self.early_stopping
        self.log.write(
            "fit",
            epochs=self.params["epochs"],
            batches=self.params["steps"],
            initial_epoch=epoch,
            initial_batch=self.position.start.skipped(epoch),
            source=self.position.start.source,
            batch_size=self.batch_size,
            monitor=stopping.monitor if stopping else None,
            patience=stopping.patience if stopping else None,
        )

    def _reason(self) -> str:
        """Say why the training ended before its last epoch."""
        if self.steering and self.steering.stop:
            return "by hand"
        stopping = self.steering.early_stopping if self.steering else [self.early_stopping]
        return "early stopping" if any(each and each.stopped_epoch for each in stopping) else ""

    def _clock(self) -> float:
        """Return seconds that stand still while training is paused."""
        return time.monotonic() - (self.steering.paused_seconds if self.steering else 0.0)

    def _read_memory(self) -> int:
        """Return the bytes that the process held a few seconds ago; asking takes longer than all the rest."""
        if time.monotonic() >= self._memory_due:
            self._memory = self._process.memory_info().rss
            self._memory_due = time.monotonic() + SECONDS_BETWEEN_MEMORY
        return self._memory

    def _window_means(self, seen: int, running: Mapping[str, float]) -> dict[str, float]:
        """Return each metric over the batches after the last step event, and begin a new window."""
        if not running.keys() <= self._means.keys():
            metrics = _leaf_metrics(self.model)
            self._means = {name: _is_mean(name, metrics) for name in running}
        means = dict(running)
        for name, value in running.items():
            if self._means[name]:
                total = value * seen
                means[name] = (total - self._sums.get(name, 0.0)) / (seen - self._seen)
                self._sums[name] = total
        self._seen = seen
        return means


def _leaf_metrics(model: keras.Model) -> list[keras.metrics.Metric]:
    """Return the metrics of a compiled model, those that Keras bundles into one singly."""
    return [leaf for metric in model.metrics for leaf in getattr(metric, "metrics", [metric])]


def _is_mean(name: str, metrics: list[keras.metrics.Metric]) -> bool:
    """Tell whether the log value `name` is a plain mean of what was seen.

    Keras names the value after its metric, with the output's name in front if there are several.
    Subclasses of Mean that change its result (RootMeanSquaredError) are none.
    """
    for metric in sorted(metrics, key=lambda metric: len(metric.name), reverse=True):
        if name == metric.name or name.endswith(f"_{metric.name}"):
            return getattr(type(metric), "result", None) is keras.metrics.Mean.result
    return False

"""From Keras to a run's event log."""

import math
import time
from collections.abc import Mapping

import keras

from workbench.errors import WorkbenchError
from workbench.events import EventLog


class EventLogger(keras.callbacks.Callback):
    """Write what happens in `fit` to an event log, in the schema of `workbench.events`.

    The metrics of a step are means over the batches since the last step event, although Keras gives
    running means over the epoch; a metric that is no mean (AUC, for one) keeps its running value.

    Args:
        log: Where to write.
        seconds: Least time between two step events, so that a fast training is not slowed down.
    """

    def __init__(self, log: EventLog, seconds: float = 0.5) -> None:
        super().__init__()
        self.log = log
        self.seconds = seconds

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        epochs = self.params["epochs"]
        if epochs < 1:
            raise WorkbenchError(
                f"fit was asked for {epochs} epochs, and a model learns nothing without one.\n"
                "Give epochs of 1 or more."
            )
        self._announced = False
        self._completed = 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if not self._announced:  # only now is it known where a resumed training goes on
            self._announced = True
            self.log.write(
                "fit",
                epochs=self.params["epochs"],
                batches=self.params["steps"],
                initial_epoch=epoch,
            )
        self._epoch = epoch
        self._began = time.monotonic()
        self._due = self._began + self.seconds
        self._seen = 0  # batches up to the last step event
        self._sums: dict[str, float] = {}  # of the metrics over those batches

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        if time.monotonic() < self._due:
            return
        seen = batch + 1
        if seen >= (self.params["steps"] or math.inf):
            return  # the last batch may be smaller, which would skew the sums; the epoch is next
        self.log.write("step", epoch=self._epoch, step=seen, metrics=self._window_means(seen, logs or {}))
        self._due = time.monotonic() + self.seconds

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        seconds = time.monotonic() - self._began
        self.log.write("epoch", epoch=epoch, metrics=dict(logs or {}), seconds=seconds)
        self._completed = epoch + 1

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        stopped = self._announced and self._completed < self.params["epochs"]
        completed = self._completed if self._announced else self.params["epochs"]
        self.log.write("fit_end", epochs=completed, stopped=stopped)

    def _window_means(self, seen: int, running: Mapping[str, float]) -> dict[str, float]:
        """Return each metric over the batches after the last step event, and begin a new window."""
        metrics = _leaf_metrics(self.model)
        means = dict(running)
        for name, value in running.items():
            if _is_mean(name, metrics):
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

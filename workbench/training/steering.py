"""What a person asks of a training under way, done at the next execution boundary."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from workbench.controls import (
    CHECKPOINT,
    CONTROL_FILE,
    LEARNING_RATE,
    MEASURE_LAYERS,
    NOW,
    PATIENCE,
    PAUSE,
    STOP,
    ControlReader,
)
from workbench.errors import WorkbenchError
from workbench.events import read_events
from workbench.runs import Run
from workbench.training.checkpoint import Checkpoint
from workbench.training.interrupts import Interrupts
from workbench.training.layers import LayerMeter
from workbench.training.learning_rate import change_learning_rate, read_learning_rate, restore_schedule

SECONDS_BETWEEN_LOOKS = 0.2  # at control.json


class Steering(keras.callbacks.Callback):
    """Obey the requests in a run's `control.json`, and log each one that was obeyed.

    Args:
        run: The run that is written.
        early_stopping: The callbacks whose patience can be changed.
        checkpoint: Saves on request, and gives the best weights back after "stop now".
        layers: Measures on request.
    """

    def __init__(
        self,
        run: Run,
        early_stopping: Sequence[keras.callbacks.EarlyStopping],
        checkpoint: Checkpoint,
        layers: LayerMeter,
    ) -> None:
        super().__init__()
        self.early_stopping = early_stopping
        self.checkpoint = checkpoint
        self.layers = layers
        self._log = run.log
        obeyed = [event["request"] for event in read_events(run.log.path) if event["type"] == "control"]
        self._reader = ControlReader(run.path / CONTROL_FILE, run.attempt, obeyed)
        self._begin()

    def _begin(self) -> None:
        self.stop = ""  # NOW or AFTER_EPOCH once somebody asked for it
        self.restored: int | None = None  # the epoch whose weights the model was given back
        self.paused_seconds = 0.0
        self._paused = False
        self._later: list[dict[str, Any]] = []
        self._epoch = self._step = 0
        self._due = 0.0

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._begin()
        Interrupts.watch()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._epoch, self._step = epoch, 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        if time.monotonic() >= self._due:
            self._step = batch + 1 + self.checkpoint.start.skipped(self._epoch)
            self._look()

    def on_test_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        if time.monotonic() >= self._due:  # validation is finished all the same: half of it says nothing
            self._look()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._look()
        for request in self._later:
            self._obey(request)
        self._later.clear()
        if self.stop:
            self.model.stop_training = True

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        Interrupts.release()
        restore_schedule(self.model)
        if self.stop == NOW:
            self.restored = self.checkpoint.restore_best()
        for request in self._reader.new_requests():
            self._write(request, old=None, refused="The training had ended.")

    def _look(self) -> None:
        """Do what has been asked since the last look, and wait here while the training is paused."""
        Interrupts.raise_dropped()
        self._take_requests()
        began = time.monotonic()
        while self._paused and not self.stop:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            self._take_requests()
        self.paused_seconds += time.monotonic() - began
        self._due = time.monotonic() + SECONDS_BETWEEN_LOOKS

    def _take_requests(self) -> None:
        for request in self._reader.new_requests():
            # On JAX the optimizer's state is inside of the compiled loop until the epoch ends.
            if request["action"] == LEARNING_RATE and keras.backend.backend() == "jax":
                self._later.append(request)
            else:
                self._obey(request)

    def _obey(self, request: Mapping[str, Any]) -> None:
        """Do what was asked and log it; what cannot be done is logged with the reason."""
        try:
            old = _ACTIONS[request["action"]](self, request["value"])
            outcome = {"old": old}
            self.checkpoint.steered |= request["action"] in (STOP, LEARNING_RATE, PATIENCE)
        except WorkbenchError as error:
            outcome = {"old": None, "refused": str(error)}
        self._write(request, **outcome)

    def _write(self, request: Mapping[str, Any], **outcome: Any) -> None:
        self._log.write(
            "control",
            request=request["id"],
            action=request["action"],
            value=request["value"],
            by=request["by"],
            epoch=self._epoch,
            step=self._step,
            **outcome,
        )

    def _stop(self, when: str) -> None:
        self.stop = when
        if when == NOW:
            self.model.stop_training = True

    def _pause(self, paused: bool) -> None:
        self._paused = paused

    def _change_learning_rate(self, value: float) -> float:
        old = read_learning_rate(self.model)
        change_learning_rate(self.model, value)
        return old

    def _change_patience(self, epochs: int) -> int:
        if not self.early_stopping:
            raise WorkbenchError(
                "This training has no early stopping whose patience could change.\n"
                "Hand it over: wb.callbacks(run, [keras.callbacks.EarlyStopping(patience=3)])."
            )
        old = self.early_stopping[0].patience
        for callback in self.early_stopping:
            callback.patience = epochs
        return old

    def _save_checkpoint(self, _: None) -> None:
        file = self.checkpoint.save_copy(self._epoch, self._step)
        self._log.write("checkpoint", epoch=self._epoch, step=self._step, file=file)

    def _measure_layers(self, _: None) -> None:
        self.layers.request()


_ACTIONS = {
    STOP: Steering._stop,
    PAUSE: Steering._pause,
    LEARNING_RATE: Steering._change_learning_rate,
    PATIENCE: Steering._change_patience,
    CHECKPOINT: Steering._save_checkpoint,
    MEASURE_LAYERS: Steering._measure_layers,
}

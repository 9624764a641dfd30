"""Where in an epoch a training stands."""

import math
from collections.abc import Mapping

import keras


class PositionedCallback(keras.callbacks.Callback):
    """Knows how many batches the present epoch has seen, and whether somebody stopped it before its end."""

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.batches = 0
        self._stopping = False

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.batches = batch + 1
        self._stopping = self.model.stop_training

    @property
    def cut_short(self) -> bool:
        """Whether training was stopped in the midst of this epoch; asked for at its end."""
        return self._stopping and self.batches < (self.params["steps"] or math.inf)

"""Where in an epoch a training stands."""

from collections.abc import Mapping

import keras


class PositionedCallback(keras.callbacks.Callback):
    """Knows how many batches the present epoch has seen, and whether it was stopped before its end."""

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self.batches = 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._expected = self.params["steps"] or self.batches  # as the epoch before, where nobody knows
        self.batches = 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.batches = batch + 1

    @property
    def cut_short(self) -> bool:
        """Whether training was stopped in the midst of this epoch; asked for at its end.

        Of a first epoch of unknown length that is all that can be told by its batches, so there every stop
        counts: early stopping never stops after one epoch.
        """
        return self.batches < self._expected if self._expected else self.model.stop_training

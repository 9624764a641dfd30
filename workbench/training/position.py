"""Where in a training, and in an epoch, a `fit` stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import keras


@dataclass
class Start:
    """Where a training goes on; the callbacks of one `fit` share it, and `Checkpoint` sets it.

    Args:
        epoch: The first epoch that is trained, or gone on with.
        batch: Batches of that epoch that an earlier attempt trained; Keras counts from 0 all the same.
        logs: Keras's running means over these batches.
        trained: Epochs that an earlier attempt trained; fewer than `epoch` where it was stopped early.
        source: The run folder of the checkpoint, relative to the project root; empty for a fresh start.
    """

    epoch: int = 0
    batch: int = 0
    logs: Mapping[str, float] = field(default_factory=dict)
    trained: int = 0
    source: str = ""

    def skipped(self, epoch: int) -> int:
        """Return how many batches of an epoch were trained by an earlier attempt."""
        return self.batch if epoch == self.epoch else 0


class Position(keras.callbacks.Callback):
    """Knows how many batches the present epoch has seen, and whether it was stopped before its end.

    It is one callback of a `fit`, and comes before those that ask it: each of them counting for itself
    would take as long again at every batch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.start = Start()

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self.batches = 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._expected = self.params["steps"] or self.batches  # as the epoch before, where nobody knows
        self.batches = self.skipped = self.start.skipped(epoch)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.batches = batch + 1 + self.skipped

    @property
    def cut_short(self) -> bool:
        """Whether training was stopped in the midst of this epoch; asked for at its end.

        Of a first epoch of unknown length that is all that can be told by its batches, so there every stop
        counts: early stopping never stops after one epoch.
        """
        return self.batches < self._expected if self._expected else self.model.stop_training

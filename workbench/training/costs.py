"""What a training costs: time, memory and arithmetic."""

import math
import resource
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from workbench.runs import Run
from workbench.training.flops import METHOD, PASSES_OF_TRAINING, count_flops
from workbench.training.position import Position

if TYPE_CHECKING:
    from workbench.datasets.batches import Batches


class CostMeter(keras.callbacks.Callback):
    """Add up what a training costs, over all attempts: `Checkpoint` asks for a look and keeps the sums.

    Args:
        run: Where they are recorded when the training ends, as `costs` by the number of the training.
        position: How many batches were trained; another callback of the same `fit`, before this one.
        batch_size: Samples a batch, if known.
        batches: What the model is trained with, if `Dataset.train.batches` made it.
    """

    def __init__(
        self,
        run: Run,
        position: Position,
        batch_size: int | None = None,
        batches: "Batches | None" = None,
    ) -> None:
        super().__init__()
        self.run = run
        self.position = position
        self.batch_size = batch_size
        self.data = batches

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self.seconds = self.processor_seconds = 0.0
        self.samples = 0
        self._counted = 0  # of the samples of the present epoch
        self._clock = _Clock()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._counted = self._seen()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.look()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        self.look()
        self.costs = self._describe()
        self.run.record(costs={str(self.run.log.fit): self.costs})

    def _describe(self) -> dict[str, Any]:
        """Return the costs; `peak_memory` is in bytes and of the whole process, `flops` of all samples."""
        weights = self.model.trainable_weights
        costs = {
            "seconds": self.seconds,
            "processor_seconds": self.processor_seconds,
            "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "samples": self.samples if self.batch_size else None,
            "parameters": self.model.count_params(),
            "trainable_parameters": sum(math.prod(weight.shape) for weight in weights),
        }
        flops = count_flops(self.model, self.data) if self.data is not None else None
        if flops:
            costs["flops"] = PASSES_OF_TRAINING * flops * self.samples
            costs["flops_method"] = METHOD
        return costs

    def _seen(self) -> int:
        """Return the samples of the present epoch so far; its last batch may be smaller."""
        seen = self.position.batches * (self.batch_size or 0)
        return min(seen, self.data.samples) if self.data is not None else seen

    def look(self) -> None:
        """Bring the sums up to now; at every batch that would take longer than all that is logged."""
        seen = self._seen()
        self.samples += seen - self._counted
        self._counted = seen
        seconds, processor_seconds = self._clock.lap()
        self.seconds += seconds
        self.processor_seconds += processor_seconds


class _Clock:
    """Wall and processor time of this process since the last look."""

    def __init__(self) -> None:
        self._last = self._read()

    def lap(self) -> tuple[float, float]:
        last, self._last = self._last, self._read()
        return self._last[0] - last[0], self._last[1] - last[1]

    @staticmethod
    def _read() -> tuple[float, float]:
        return time.monotonic(), time.process_time()

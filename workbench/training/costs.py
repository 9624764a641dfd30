"""What a training costs: time, memory, arithmetic and, if asked for, energy."""

import math
import resource
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from workbench.runs import Run
from workbench.training.energy import EnergyMeter
from workbench.training.flops import METHOD, PASSES_OF_TRAINING, count_flops
from workbench.training.position import Position

if TYPE_CHECKING:
    from workbench.datasets.batches import Batches

WHOLE = 0.99  # of a training's time, in which its energy was counted; below that, its costs say so


class CostMeter(keras.callbacks.Callback):
    """Add up what a training costs, over all attempts: `Checkpoint` asks for a look and keeps the sums.

    Args:
        run: Where they are recorded when the training ends, as `costs` by the number of the training.
        position: How many batches were trained; another callback of the same `fit`, before this one.
        batch_size: Samples a batch, if known.
        batches: What the model is trained with, if `Dataset.train.batches` made it.
        country: Whose electricity it is, if energy is to be counted, too; as `EnergyMeter` takes it.
    """

    def __init__(
        self,
        run: Run,
        position: Position,
        batch_size: int | None = None,
        batches: "Batches | None" = None,
        country: str | None = None,
    ) -> None:
        super().__init__()
        self.run = run
        self.position = position
        self.batch_size = batch_size
        self.data = batches
        self.country = country

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self.seconds = self.processor_seconds = 0.0
        self.samples = 0
        self.energy = self.carbon = self.energy_seconds = 0.0  # kWh, kg, and how long they were counted
        self.energy_method = ""
        self._counted = 0  # of the samples of the present epoch
        self._meter = None  # that of a `fit` that was interrupted ends
        self._meter = _Laps(EnergyMeter(self.country)) if self.country is not None else None
        self._clock = _Clock()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._counted = self._seen()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.look()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        self.look()
        if self._meter:
            self._meter.stop()
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
        return costs | self._describe_energy()

    def _describe_energy(self) -> dict[str, Any]:
        """Return energy in kWh and CO₂ in kg, where an attempt counted them."""
        if not self.energy_method:
            return {}
        share = self.energy_seconds / self.seconds if self.seconds else 1.0
        part = f"; of {share:.0%} of the time, the rest was not counted" if share < WHOLE else ""
        return {
            "energy_kwh": self.energy,
            "co2_kg": self.carbon,
            "energy_method": f"{self.energy_method}{part}",
        }

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
        if self._meter:
            energy, carbon, self.energy_method = self._meter.lap()
            self.energy += energy
            self.carbon += carbon
            self.energy_seconds += seconds


class _Laps:
    """Energy and CO₂ since the last look."""

    def __init__(self, meter: EnergyMeter) -> None:
        self._meter = meter
        self._last = meter.read()

    def lap(self) -> tuple[float, float, str]:
        last, self._last = self._last, self._meter.read()
        return self._last[0] - last[0], self._last[1] - last[1], self._last[2]

    def stop(self) -> None:
        self._meter.stop()


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

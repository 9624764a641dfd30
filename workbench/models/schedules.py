"""Learning-rate schedules with warm-up."""

import math
from typing import Any

import keras
from keras import ops

from workbench.errors import WorkbenchError

DECAYS = ("linear", "cosine", "constant")


@keras.saving.register_keras_serializable("workbench")
class WarmUpDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Rise linearly to the peak, then follow a decay that would reach zero one step after the last.

    No step is spent on a learning rate of zero, neither the first nor the last.

    Args:
        decay: "linear" (Devlin et al. 2019, https://arxiv.org/abs/1810.04805), "cosine" (Loshchilov and
            Hutter 2017, https://arxiv.org/abs/1608.03983) or "constant".
        peak: The highest learning rate, reached after `warmup_steps`.
        steps: Batches in the whole training.
        warmup_steps: Batches before the peak, fewer than `steps`.
    """

    def __init__(self, decay: str, peak: float, steps: int, warmup_steps: int) -> None:
        self.decay = decay
        self.peak = peak
        self.steps = steps
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of the batch number `step`, counted from 0."""
        step = ops.cast(step, "float32")
        rise = (step + 1) / (self.warmup_steps + 1)
        done = (step - self.warmup_steps) / (self.steps - self.warmup_steps)  # of the decay, 0 to 1
        fall = {
            "linear": 1 - done,
            "cosine": (1 + ops.cos(math.pi * ops.clip(done, 0, 1))) / 2,
            "constant": ops.ones_like(done),
        }[self.decay]
        return self.peak * ops.clip(ops.minimum(rise, fall), 0, 1)

    def get_config(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        return {
            "decay": self.decay,
            "peak": self.peak,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
        }


def build_schedule(name: str, learning_rate: float, steps: int, warmup: float) -> WarmUpDecay:
    """Return the learning rate of every batch of a training.

    Args:
        name: "linear", "cosine" or "constant", what comes after the warm-up.
        learning_rate: The peak.
        steps: Batches in the whole training, at least 1.
        warmup: The part of them before the peak, from 0 to below 1.

    Raises:
        WorkbenchError: There is no such schedule, or a number that cannot work.
    """
    if name not in DECAYS:
        raise WorkbenchError(
            f"There is no learning-rate schedule {name!r}.\n"
            f"Give one of {', '.join(DECAYS)}, or an object of keras.optimizers.schedules to the optimizer."
        )
    if not 0 <= warmup < 1:
        raise WorkbenchError(
            f"warmup is {warmup}, but it is the part of training before the learning rate reaches its peak, "
            "and some training must be left after it.\n"
            "Give 0 for none, 0.1 for the first tenth, anything below 1."
        )
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise WorkbenchError(
            f"learning_rate is {learning_rate}, and nothing can be learned with that.\n"
            "Give a number above zero: about 1e-4 to fine-tune everything, 1e-3 for LoRA or a frozen encoder."
        )
    return WarmUpDecay(name, learning_rate, steps, int(warmup * steps))

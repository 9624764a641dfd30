"""Read and change the learning rate of a model while `fit` runs, whether it is a number or a schedule."""

import keras
from keras.optimizers.schedules import LearningRateSchedule

from workbench.errors import WorkbenchError
from workbench.training.snapshot import copy_value


def read_learning_rate(model: keras.Model) -> float:
    """Return the learning rate of the next step of a compiled model's optimizer."""
    rate = _plain_optimizer(model)._learning_rate
    if isinstance(rate, keras.Variable):
        return float(copy_value(rate))
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def change_learning_rate(model: keras.Model, value: float) -> None:
    """Give a compiled model's optimizer another learning rate.

    A schedule is scaled so that its present value becomes `value`, and keeps its shape; `restore_schedule`
    takes the scale off again.

    Args:
        model: The model, also while it is being trained.
        value: The learning rate, above zero.

    Raises:
        WorkbenchError: A schedule stands at zero.
    """
    optimizer = _plain_optimizer(model)
    if not isinstance(optimizer._learning_rate, LearningRateSchedule):
        optimizer.learning_rate = value
        return
    _scaled(model).scale_to(value, optimizer.iterations)


def read_factor(model: keras.Model) -> float:
    """Return by how much the schedule of a model was scaled; 1 where it was not."""
    schedule = _plain_optimizer(model)._learning_rate
    return schedule.factor if isinstance(schedule, _ScaledSchedule) else 1.0


def scale_schedule(model: keras.Model, factor: float) -> None:
    """Scale the schedule of a model as `change_learning_rate` had done it when `read_factor` was asked."""
    if factor != 1.0:
        _scaled(model, factor)


def restore_schedule(model: keras.Model) -> None:
    """Give a model its own schedule back, so that it can be saved and loaded anywhere."""
    optimizer = _plain_optimizer(model)
    if isinstance(optimizer._learning_rate, _ScaledSchedule):
        optimizer.learning_rate = optimizer._learning_rate.schedule
        model.train_function = None


def _scaled(model: keras.Model, factor: float = 1.0) -> "_ScaledSchedule":
    """Return the scaled schedule of a model, which is given one if it has none."""
    optimizer = _plain_optimizer(model)
    if not isinstance(optimizer._learning_rate, _ScaledSchedule):
        optimizer.learning_rate = _ScaledSchedule(optimizer._learning_rate, factor)
        model.make_train_function(force=True)  # the old one was traced with the old schedule
    return optimizer._learning_rate


def _plain_optimizer(model: keras.Model) -> keras.optimizers.Optimizer:
    """Return the optimizer that holds the learning rate, without the wrapper of mixed precision."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


@keras.saving.register_keras_serializable("workbench")
class _ScaledSchedule(LearningRateSchedule):
    """A schedule times a factor that can change during training."""

    def __init__(self, schedule: LearningRateSchedule, factor: float = 1.0) -> None:
        self.schedule = schedule
        self._factor = keras.Variable(factor, trainable=False, name="learning_rate_factor")

    @property
    def factor(self) -> float:
        """What the schedule is multiplied by."""
        return float(keras.ops.convert_to_numpy(self._factor))

    def scale_to(self, value: float, step: keras.Variable) -> None:
        """Choose the factor so that the rate at `step` is `value`."""
        planned = float(keras.ops.convert_to_numpy(self.schedule(step)))
        if not planned > 0:
            raise WorkbenchError(
                f"The learning rate follows a schedule that is {planned} here, and no factor changes that.\n"
                "Ask again at another step."
            )
        self._factor.assign(value / planned)

    def __call__(self, step: keras.Variable) -> object:
        return self.schedule(step) * self._factor

    def get_config(self) -> dict:
        return {"schedule": keras.saving.serialize_keras_object(self.schedule), "factor": self.factor}

    @classmethod
    def from_config(cls, config: dict) -> "_ScaledSchedule":
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["factor"])

"""What happens around `fit`: log, steering, checkpoint and diagnosis of a run, as Keras callbacks."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import keras

from workbench.errors import WorkbenchError
from workbench.runs import Run
from workbench.training.checkpoint import Checkpoint
from workbench.training.costs import CostMeter
from workbench.training.diagnosis import Diagnosis, Probe, Thresholds
from workbench.training.energy import requested_country
from workbench.training.event_logger import EventLogger
from workbench.training.layers import LayerMeter
from workbench.training.machine_speed import Speed, tune_for_this_machine
from workbench.training.memory import MemoryGuard
from workbench.training.position import Position
from workbench.training.steering import Steering
from workbench.training.validation import ValidationSamples
from workbench.training.ways import add_measured, estimate_ways

if TYPE_CHECKING:
    from workbench.datasets.batches import Batches

__all__ = [
    "Checkpoint",
    "Diagnosis",
    "EventLogger",
    "LayerMeter",
    "Probe",
    "Speed",
    "Steering",
    "Thresholds",
    "add_measured",
    "callbacks",
    "estimate_ways",
    "require_positive",
    "tune_for_this_machine",
]


def callbacks(
    run: Run,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    *,
    batches: "Batches | None" = None,
    probe: Any = None,
    thresholds: Thresholds | None = None,
    tensorboard: bool = False,
    energy: bool | str | None = None,
) -> list[keras.callbacks.Callback]:
    """Return the callbacks that make a training part of a run: they log, obey, keep and diagnose it.

    Yours come first: what is logged, and restored after a crash, holds what they did to the model and its
    optimizer at the end of the epoch, and what they have counted.

    Args:
        run: Where the events go, and the checkpoint while training lasts. Its parameter `batch_size`, if it
            has one, turns batches a second into samples a second.
        callbacks: Further Keras callbacks of the same training, such as `EarlyStopping`.
        batches: What `fit` is given, if `Dataset.train.batches` made it: a training that was killed then
            goes on at the very batch. Without it, it goes on after the last epoch that was saved, and the
            order in which Keras shuffles arrays begins anew.
        probe: Samples for the rules of diagnosis that look at data, activations or gradients: a `Split`, a
            `Dataset`, or a pair of inputs and targets as `fit` takes them. Without it these rules are silent.
        thresholds: When the rules of diagnosis speak.
        tensorboard: Whether TensorBoard's event files are written too, to the run's folder `tensorboard/`.
        energy: Whether codecarbon counts energy and CO₂, which the run's `costs` then have, too: False, True,
            or the country whose electricity it is, as three letters of ISO 3166-1 ("DEU"). None for what the
            variable `WORKBENCH_ENERGY` says: nothing, 1 or a country.

    Raises:
        WorkbenchError: The probe is none, callbacks of a run are handed over again, TensorBoard or codecarbon
            is asked for and not installed, or the country is not known.

    Example:
        train = data.train.batches(32, seed=seed)
        model.fit(train, epochs=10, callbacks=wb.callbacks(run, [EarlyStopping()], batches=train, probe=data))
    """
    own = list(callbacks)
    if any(isinstance(callback, Steering) for callback in own):
        raise WorkbenchError(
            "The callbacks of wb.callbacks() were handed over to it again.\n"
            "Give your own ones only, as in wb.callbacks(run, [EarlyStopping()])."
        )
    stopping = [callback for callback in own if isinstance(callback, keras.callbacks.EarlyStopping)]
    first = stopping[0] if stopping else None
    samples = None if probe is None else Probe.of(probe)
    position = Position()
    size = batches.batch_size if batches is not None else _batch_size(run)
    costs = CostMeter(run, position, size, batches, requested_country(energy))
    checkpoint = Checkpoint(run, position, tuple(own), batches, first, costs)
    layers = LayerMeter(run.log, samples, position.start)
    steering = Steering(run, stopping, checkpoint, layers)
    if tensorboard:
        own.append(_tensorboard(run))
    return [
        *own,
        position,
        steering,
        costs,
        EventLogger(run.log, position, size, first, steering, costs),
        checkpoint,
        layers,
        ValidationSamples(run),
        MemoryGuard(position, batches),
        Diagnosis(run.log, samples, thresholds, steering, position.start, batches),
    ]


def require_positive(**settings: float) -> None:
    """Check the settings of a training before anything is loaded or written.

    Example:
        require_positive(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)

    Raises:
        WorkbenchError: One of them is zero, negative or NaN.
    """
    for name, value in settings.items():
        if not value > 0:
            raise WorkbenchError(
                f"{name} is {value}, and nothing can be trained with that.\nGive a {name} above zero."
            )


def _batch_size(run: Run) -> int | None:
    size = run.parameters.get("batch_size")
    return size if isinstance(size, int) and size > 0 else None


def _tensorboard(run: Run) -> keras.callbacks.TensorBoard:
    try:
        import tensorboard  # noqa: F401  (Keras only says so in the middle of a training)
    except ImportError as error:
        raise WorkbenchError(
            "tensorboard=True needs the package tensorboard, which is not installed.\n"
            "Install it: pip install 'workbench[tensorboard]'."
        ) from error
    return keras.callbacks.TensorBoard(run.path / "tensorboard")

"""What happens around `fit`: the event log and the checkpoint of a run, as Keras callbacks."""

from collections.abc import Iterable

import keras

from workbench.errors import WorkbenchError
from workbench.runs import Run
from workbench.training.checkpoint import Checkpoint
from workbench.training.event_logger import EventLogger

__all__ = ["Checkpoint", "EventLogger", "callbacks", "require_positive"]


def callbacks(run: Run, callbacks: Iterable[keras.callbacks.Callback] = ()) -> list[keras.callbacks.Callback]:
    """Return the callbacks that make a training part of a run.

    Yours come first, then the log, then the checkpoint: what is restored after a crash has been
    logged, and holds what your callbacks did to the model and its optimizer at the end of the epoch.

    Args:
        run: Where the events go, and the checkpoint while training lasts.
        callbacks: Further Keras callbacks of the same training, such as `EarlyStopping`.

    Example:
        model.fit(x, y, epochs=10, callbacks=wb.callbacks(run, [EarlyStopping(patience=3)]))
    """
    return [*callbacks, EventLogger(run.log), Checkpoint(run.path / "checkpoint")]


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

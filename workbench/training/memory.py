"""A batch that does not fit into memory: which one, of how many samples, and how many would fit."""

import resource
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import psutil

from workbench.errors import WorkbenchError
from workbench.training.forward import restored, to_tensors
from workbench.training.position import Position

if TYPE_CHECKING:
    from workbench.datasets.batches import Batches

GROWTH = 4  # a batch of twice as many samples is expected to take at most this many times the memory


class MemoryGuard(keras.callbacks.Callback):
    """Say of a training step that ran out of memory which batch it was, and what would have fitted.

    Args:
        position: How many batches were trained; another callback of the same `fit`, before this one.
        batches: What the model is trained with, if `Dataset.train.batches` made it.
    """

    def __init__(self, position: Position, batches: "Batches | None" = None) -> None:
        super().__init__()
        self.position = position
        self.data = batches

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._epoch = epoch
        self._step = self.model.train_function  # what `fit` calls; steering may make it anew
        self.model.train_function = self._train

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._release()

    def _train(self, *arguments: Any) -> Any:
        try:
            return self._step(*arguments)
        except BaseException as error:
            self._release()
            if is_exhaustion(error):
                number = self.position.batches
                raise describe_exhaustion(self.model, self.data, self._epoch, number) from error
            raise

    def _release(self) -> None:
        if self.model.train_function == self._train:
            self.model.train_function = self._step


def is_exhaustion(error: BaseException) -> bool:
    """Tell whether an error of a backend says that memory did not suffice."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ in ("ResourceExhaustedError", "OutOfMemoryError")
        or "RESOURCE_EXHAUSTED" in str(error)  # of XLA
    )


def describe_exhaustion(
    model: keras.Model, batches: "Batches | None", epoch: int = 0, number: int = 0
) -> WorkbenchError:
    """Return the error for a batch of an epoch that did not fit, after trying how many samples do.

    Args:
        model: Compiled; its weights are as before afterwards.
        batches: What it was trained with, if the workbench made them.
        epoch: Counted from 0, as `number` is, the first batch of the call that failed.
    """
    which = f"Batch {number + 1} of epoch {epoch + 1}"
    if batches is None:
        return WorkbenchError(
            f"{which} does not fit into memory with this network.\nGive a smaller batch_size."
        )
    arrays, _, rows = batches.read(epoch, number)
    shapes = ", ".join(f"{each.shape[1:]} of {each.dtype}" for each in keras.tree.flatten(arrays))
    fitting = find_largest_fitting(model, batches, len(rows))
    fits = (
        f"{fitting} samples fitted in a probe of it: give batch_size={fitting}, or a smaller network."
        if fitting
        else "Not even one of its samples fits: give smaller samples or a smaller network."
    )
    return WorkbenchError(
        f"{which} with its {len(rows)} samples, each {shapes}, does not fit into memory.\n{fits}"
    )


def find_largest_fitting(model: keras.Model, batches: "Batches", below: int) -> int:
    """Return the largest power of two below `below` of samples that a training step bears; 0 if none.

    A probe that would take more than the free memory is not made, because the system may end the process.
    """
    if keras.backend.backend() != "tensorflow":
        return 0
    inputs, targets, _ = batches.read(0, 0)
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    fitting, size = 0, 1
    with restored(variables):
        while size < below:
            before = _peak_memory()
            try:
                _train_once(model, _first(inputs, size), _first(targets, size))
            except Exception as error:
                if not is_exhaustion(error):
                    raise
                break
            fitting, size = size, 2 * size
            if GROWTH * (_peak_memory() - before) > psutil.virtual_memory().available:
                break
    return fitting


def _train_once(model: keras.Model, inputs: Any, targets: Any) -> None:
    import tensorflow as tf

    step = tf.function(model.train_step, jit_compile=bool(model.jit_compile))
    step((to_tensors(inputs), to_tensors(targets)))


def _first(arrays: Any, size: int) -> Any:
    return keras.tree.map_structure(lambda array: array[:size], arrays)


def _peak_memory() -> int:
    """Return the most bytes that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

"""What a killed training needs to go on, and the best weights of one that goes on too long."""

import contextlib
import math
import operator
import shutil
from collections.abc import Mapping
from pathlib import Path

import keras
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from workbench.errors import WorkbenchError
from workbench.events import EventLog
from workbench.training.position import PositionedCallback

_FILE = "epoch-{:06d}.safetensors"


class Checkpoint(PositionedCallback):
    """Save weights and optimizer after every epoch; the next `fit` goes on after the last one saved.

    Weights and epoch are one file that appears all at once. (`keras.callbacks.BackupAndRestore` writes
    them one after the other and in place: killed between the two it repeats an epoch on top of itself,
    killed within one it leaves a file that cannot be read.) It is written as safetensors, which takes a
    tenth of the time of Keras's HDF5. The file of the best epoch stays beside that of the last one.
    Random draws, such as the order of the samples, start anew. Each training of a run has a folder of
    its own, which is removed when that training has come to its end.

    Args:
        run_folder: The folder of the run; the files lie in `checkpoint/fit-…/` while training lasts.
        log: The run's event log, which numbers its trainings.
        early_stopping: What it monitors says which epoch is best; without it the one with the smallest
            `val_loss`, or `loss` where nothing is validated.

    Raises:
        WorkbenchError: What was saved does not fit the model, when training begins.
    """

    def __init__(
        self, run_folder: Path, log: EventLog, early_stopping: keras.callbacks.EarlyStopping | None = None
    ) -> None:
        super().__init__()
        self.run_folder = run_folder
        self.log = log
        self.early_stopping = early_stopping

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        super().on_train_begin()
        self.folder = self.run_folder / "checkpoint" / f"fit-{self.log.fit:02d}"
        self._best: Path | None = None
        self._best_value, self._watched = 0.0, ""
        saved = sorted(self.folder.glob(_FILE.replace("{:06d}", "*")))
        # The one way to tell a running `fit` where to begin; Keras leaves an older value in place.
        self.model._initial_epoch = self._restore(saved[-1]) if saved else None
        for path in saved:
            self._remember_best(path)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        best = self._is_best(logs or {})
        if self.cut_short:  # no place to go on from
            self._best = None if best else self._best
            return
        note = {"watched": self._watched, "value": str(self._best_value)} if best else {}
        saved = self._save(epoch + 1, note)
        self._best = saved if best else self._best
        for path in self.folder.glob("*.safetensors"):
            if path not in (saved, self._best):
                path.unlink()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # another training's checkpoint lies there, or none ever did
            self.folder.parent.rmdir()

    def restore_best(self) -> int | None:
        """Give the model the weights of the best epoch and return that epoch.

        Nothing happens, and None is returned, before the end of the first epoch, and where an epoch that
        was cut short has come to the best weights so far: the model holds them.
        """
        return self._restore(self._best) - 1 if self._best else None

    def save_copy(self, epoch: int, step: int) -> str:
        """Save the present weights for `model.load_weights` and return the path in the run folder.

        Raises:
            WorkbenchError: They could not be written; training can go on.
        """
        name = f"artifacts/checkpoints/epoch-{epoch + 1:06d}-step-{step:06d}.weights.h5"
        path = self.run_folder / name
        unfinished = path.with_name("unfinished.weights.h5")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.model.save_weights(unfinished, overwrite=True)
            unfinished.replace(path)
        except OSError as error:
            raise WorkbenchError(
                f"The checkpoint could not be saved: {error}.\nMake room or mend the folder, and ask again."
            ) from error
        return name

    def _save(self, epochs: int, note: dict[str, str]) -> Path:
        """Save weights, optimizer and a note so that the file is whole as soon as it has its name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / "unfinished.safetensors"
        values = [keras.ops.convert_to_numpy(variable) for variable in self._variables()]
        # NumPy has no bfloat16 or float8 of its own, and safetensors knows none here; float32 holds them all.
        plain = [value if value.dtype.isbuiltin == 1 else value.astype("float32") for value in values]
        save_file({f"{number:05d}": value for number, value in enumerate(plain)}, unfinished, note)
        return unfinished.replace(self.folder / _FILE.format(epochs))

    def _remember_best(self, path: Path) -> None:
        """Take a file of an earlier attempt for the best if it was that when it was saved."""
        with safe_open(path, "numpy") as file:
            note = file.metadata() or {}
        if "value" in note:
            self._best, self._watched, self._best_value = path, note["watched"], float(note["value"])

    def _is_best(self, logs: Mapping[str, float]) -> bool:
        """Compare an epoch with the best one so far, and keep its value if it is better."""
        if self.early_stopping:
            self._watched = self.early_stopping.monitor
        elif self._watched != "val_loss":
            watched = "val_loss" if "val_loss" in logs else "loss"
            if watched != self._watched:
                self._watched, self._best = watched, None  # a loss of training says nothing beside it
        value = logs.get(self._watched)
        if value is None or math.isnan(value):
            return False
        # Early stopping has been through its own end of the epoch, where it finds its direction.
        better = self.early_stopping.monitor_op if self.early_stopping else operator.lt
        if self._best and not better(value, self._best_value):
            return False
        self._best_value = float(value)
        return True

    def _restore(self, saved: Path) -> int:
        """Load a checkpoint into the model and return the number of epochs that it has been through."""
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        variables = self._variables()
        try:
            with safe_open(saved, "numpy") as file:
                values = [file.get_tensor(name) for name in sorted(file.keys())]
        except SafetensorError as error:
            raise self._unfit(saved, f"it cannot be read: {error}") from error
        shapes = [[tuple(each.shape) for each in side] for side in (values, variables)]
        if shapes[0] != shapes[1]:
            raise self._unfit(saved, _first_difference(*shapes))
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return int(saved.stem.removeprefix("epoch-"))

    def _variables(self) -> list[keras.Variable]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def _unfit(self, saved: Path, why: str) -> WorkbenchError:
        return WorkbenchError(
            f"The run was interrupted, and its checkpoint {saved} does not fit the model: {why}.\n"
            f"Train the same network as before, or delete {self.folder} to start anew."
        )


def _first_difference(saved: list[tuple[int, ...]], wanted: list[tuple[int, ...]]) -> str:
    for number, (one, other) in enumerate(zip(saved, wanted, strict=False)):
        if one != other:
            return f"variable {number + 1} has the shape {one} there and {other} here"
    return f"it holds {len(saved)} variables, and the model with its optimizer has {len(wanted)}"

"""What a killed training needs to go on."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import keras

from workbench.errors import WorkbenchError


class Checkpoint(keras.callbacks.Callback):
    """Save weights and optimizer after every epoch; the next `fit` goes on after the last one saved.

    Weights and epoch are one file that appears all at once. (`keras.callbacks.BackupAndRestore` writes
    them one after the other and in place: killed between the two it repeats an epoch on top of itself,
    killed within one it leaves a file that cannot be read.) Random draws, such as the order of the
    samples, start anew. The folder is removed when training has come to its end.

    Args:
        folder: Where the file lies while training lasts; nothing else may be in it.

    Raises:
        WorkbenchError: What was saved does not fit the model, when training begins.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        saved = max(self.folder.glob("epoch-*.weights.h5"), default=None)
        # The one way to tell a running `fit` where to begin; Keras leaves an older value in place.
        self.model._initial_epoch = self._restore(saved) if saved else None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.folder.mkdir(exist_ok=True)
        unfinished = self.folder / "unfinished.weights.h5"
        self.model.save_weights(unfinished, overwrite=True)
        saved = unfinished.replace(self.folder / f"epoch-{epoch + 1:06d}.weights.h5")
        for path in self.folder.iterdir():
            if path != saved:
                path.unlink()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _restore(self, saved: Path) -> int:
        """Load a checkpoint into the model and return the number of epochs that it has been through."""
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        try:
            self.model.load_weights(saved)
        except ValueError as error:
            raise WorkbenchError(
                f"The run was interrupted and its checkpoint {saved} is of another network than the "
                f"one to be trained:\n{error}\n"
                f"Train the same network as before, or delete {self.folder} to start anew."
            ) from error
        return int(saved.name.removeprefix("epoch-").partition(".")[0])

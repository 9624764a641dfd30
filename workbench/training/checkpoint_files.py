"""The checkpoints of a training on disk: the last two, those with their best weights, and a shelf."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from workbench.datasets.cache import cache_root, temporary_path
from workbench.training.snapshot import DamagedSnapshot, Snapshot, read_snapshot, write_snapshot

SHELF_BYTES = 4 * 2**30  # that all shelved checkpoints may take together; the oldest go first

BEST_FOLDER = "best"  # of a shelf's folder: what holds the weights of best epochs
_EVERY = "epoch-*.safetensors"


class CheckpointFiles:
    """A folder with the checkpoints of one training.

    Args:
        folder: Where they lie; made with the first one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: dict[str, str] = {}  # the last two, oldest first, each with that of its best weights

    def path(self, epoch: int, batch: int) -> Path:
        """Return where the checkpoint after so many whole epochs, and batches of the next one, belongs."""
        return self.folder / f"epoch-{epoch:06d}-batch-{batch:08d}.safetensors"

    def write(self, path: Path, snapshot: Snapshot, best: str) -> None:
        """Write a checkpoint, and remove all but it, the one before, and what holds their best weights.

        Args:
            path: Where it belongs.
            snapshot: What to write.
            best: The name of the checkpoint with the best weights, perhaps its own; empty if there are none.
        """
        write_snapshot(path, snapshot)
        self.remember(path, best)
        needed = {*self._kept, *self._kept.values()}
        for file in self.folder.glob(_EVERY):
            if file.name not in needed:
                file.unlink()

    def remember(self, path: Path, best: str) -> None:
        """Count a file among the last two."""
        self._kept.pop(path.name, None)
        self._kept[path.name] = best
        while len(self._kept) > 2:
            del self._kept[next(iter(self._kept))]

    def newest_first(self) -> Iterator[tuple[Path, Snapshot | DamagedSnapshot]]:
        """Yield every checkpoint with what it holds, or with what is wrong with it."""
        for path in sorted(self.folder.glob(_EVERY), reverse=True):
            try:
                yield path, read_snapshot(path)
            except DamagedSnapshot as error:
                yield path, error


def shelve(path: Path, best: str, identity: str) -> None:
    """Keep a checkpoint beyond its run, for a training that goes on from there with more epochs.

    Args:
        path: The checkpoint; it becomes a second name of the same file where the file system allows it.
        best: The name of the one with the best weights, perhaps its own; empty if there are none.
        identity: What a training must be to go on from it.
    """
    shelf = _shelf()
    targets = {shelf / identity / path.name: path}
    if best:  # where no training looks for a place to go on from
        targets[shelf / identity / BEST_FOLDER / best] = path.with_name(best)
    for target, file in targets.items():
        temporary = temporary_path(target.parent)
        try:
            os.link(file, temporary)
        except OSError:
            shutil.copy2(file, temporary)
        temporary.replace(target)
    _make_room(shelf)


def find_shelved(identity: str, epochs: int) -> Path | None:
    """Return the longest training on the shelf that is shorter than `epochs`, if there is one."""
    fitting = [path for path in (_shelf() / identity).glob(_EVERY) if epochs_of(path) < epochs]
    return max(fitting, default=None)


def epochs_of(path: Path) -> int:
    """Return how many whole epochs a checkpoint has been through."""
    return int(path.name.split("-")[1])


def _shelf() -> Path:
    return cache_root(None) / "checkpoints"


def _make_room(shelf: Path) -> None:
    """Remove the oldest checkpoints until the others fit."""
    sizes: Mapping[Path, int] = {
        folder: sum(file.stat().st_size for file in folder.glob("**/*.safetensors"))
        for folder in shelf.iterdir()
    }
    total = sum(sizes.values())
    for folder in sorted(sizes, key=lambda each: each.stat().st_mtime):
        if total <= SHELF_BYTES:
            return
        shutil.rmtree(folder, ignore_errors=True)
        total -= sizes[folder]

"""A dataset ready for use, and the folder that holds one on disk.

A prepared folder contains `dataset.json` and one file for each array: `<split>.<name>.npy`, or `.arrow` for
texts. The files are opened memory-mapped and are read-only.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.datasets.cache import build_folder, discard_folder
from workbench.datasets.storage import damaged, file_name, link_array, open_array, write_array
from workbench.errors import WorkbenchError
from workbench.runs import show_path, write_json

if TYPE_CHECKING:
    from workbench.datasets.batches import Batches

MANIFEST = "dataset.json"
LAYOUT = 1  # version of prepared folders and of how they are made; another one is prepared again
PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """Samples as named, read-only arrays whose first axis counts the samples.

    Args:
        inputs: Images `{"image": (n, height, width, channels) uint8}` or texts `{"text": (n,) str}`.
        targets: `{"label": (n,) int64}`, indices into the dataset's `class_names`.
        ids: (n,) str; where each sample comes from (a file's path in its folder, a row of its table).
    """

    inputs: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray]
    ids: np.ndarray

    def __post_init__(self) -> None:
        for name in ("inputs", "targets"):
            frozen = {key: _read_only(array) for key, array in getattr(self, name).items()}
            object.__setattr__(self, name, MappingProxyType(frozen))
        object.__setattr__(self, "ids", _read_only(self.ids))
        lengths = {key: len(array) for key, array in self.arrays().items()}
        if len(set(lengths.values())) > 1:
            raise WorkbenchError(
                f"The arrays of a split have different lengths: {lengths}.\n"
                "Every input, target and id belongs to one sample; give arrays of equal length."
            )

    @property
    def x(self) -> np.ndarray:
        """The only input."""
        return _only(self.inputs, "inputs")

    @property
    def y(self) -> np.ndarray:
        """The only target."""
        return _only(self.targets, "targets")

    def __len__(self) -> int:
        return len(self.ids)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every array by name: the inputs, the targets and `ids`."""
        return {**self.inputs, **self.targets, "ids": self.ids}

    def batches(self, batch_size: int, *, shuffle: bool = True, seed: int = 0, mask: str = "") -> "Batches":
        """Return the samples as `fit`, `evaluate` and `predict` take them fastest.

        Args:
            batch_size: Samples a batch.
            shuffle: Whether every epoch has an order of its own; False to evaluate or predict.
            seed: Decides these orders, so that a training can be repeated.
            mask: Name of an input (n, length) that tells padding from content; samples of like length are
                then put together and cut to a few lengths.

        Raises:
            WorkbenchError: There are no samples, or a setting cannot work.

        Example:
            train = dataset.train.batches(32, seed=seed)
            model.fit(train, epochs=10, callbacks=wb.callbacks(run, batches=train))
        """
        from workbench.datasets.batches import Batches  # imports TensorFlow

        return Batches(
            self.inputs, self.targets, batch_size, shuffle=shuffle, seed=seed, mask=mask, ids=self.ids
        )


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training, validation and test samples with all that is needed to name, cite and load them again."""

    name: str
    task: str  # "image-classification" or "text-classification"
    train: Split
    val: Split
    test: Split
    class_names: tuple[str, ...]
    fingerprint: str  # hex; content of all arrays, hence of the split too
    recipe: dict[str, Any]  # keyword arguments of load_dataset that give this dataset again
    card: dict[str, Any]  # what the data card shows: source, licence, counts, duplicates, …
    path: Path | None = None  # the prepared folder behind the arrays

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample of the only input: (height, width, channels), or () for a text."""
        return self.train.x.shape[1:]

    def splits(self) -> dict[str, Split]:
        """Return the splits by name: train, val and test."""
        return {part: getattr(self, part) for part in PARTS}

    def reference(self) -> dict[str, Any]:
        """Return what a run records of its data: `run.record(dataset=dataset.reference())`."""
        return {
            "name": self.name,
            "task": self.task,
            "fingerprint": self.fingerprint,
            "class_names": list(self.class_names),
            "recipe": self.recipe,
            "sizes": {part: len(split) for part, split in self.splits().items()},
        }

    def save(self, folder: str | Path) -> Path:
        """Write the dataset as a prepared folder that stands alone, and return its path.

        Array files become hard links to the cache where the file system allows it, else copies. An earlier
        dataset in the folder is replaced.

        Raises:
            WorkbenchError: The folder holds something else.
        """
        target = Path(folder)
        if target.exists():
            _require_prepared(target)
            discard_folder(target)
        return build_folder(target.parent, lambda temporary: self._write(temporary, target.name))

    def _write(self, folder: Path, name: str) -> str:
        if self.path and (self.path / MANIFEST).is_file():
            files = read_manifest(self.path)["files"]
            for file in files:
                link_array(self.path / file, folder / file)
        else:
            files = write_arrays(folder, self.splits())
        write_manifest(folder, self, files)
        return name


def open_dataset(folder: Path) -> Dataset:
    """Open a prepared folder; the arrays are memory-mapped.

    Raises:
        DamagedError: A file is missing, cut short or altered.
    """
    manifest = read_manifest(folder)
    try:
        arrays = {file: open_array(folder / file, facts) for file, facts in manifest["files"].items()}
        splits = {
            part: Split(
                inputs={name: arrays[file] for name, file in files["inputs"].items()},
                targets={name: arrays[file] for name, file in files["targets"].items()},
                ids=arrays[files["ids"]],
            )
            for part, files in manifest["splits"].items()
        }
        facts = {name: manifest[name] for name in ("name", "task", "fingerprint", "recipe", "card")}
        return Dataset(**facts, **splits, class_names=tuple(manifest["class_names"]), path=folder)
    except (AttributeError, KeyError, TypeError) as error:
        raise damaged(folder / MANIFEST, f"is not a description of a dataset ({error!r})") from error


def write_arrays(folder: Path, splits: Mapping[str, Split]) -> dict[str, dict[str, Any]]:
    """Write every array of every split, and return the facts of each file by its name."""
    return {
        (file := file_name(part, name, array)): write_array(folder / file, array)
        for part, split in splits.items()
        for name, array in split.arrays().items()
    }


def write_manifest(folder: Path, dataset: Dataset, files: dict[str, dict[str, Any]]) -> None:
    """Write `dataset.json`, last and whole: with it the folder is complete."""
    splits = {}
    for part, split in dataset.splits().items():
        named = {name: file_name(part, name, array) for name, array in split.arrays().items()}
        splits[part] = {
            "inputs": {name: named[name] for name in split.inputs},
            "targets": {name: named[name] for name in split.targets},
            "ids": named["ids"],
        }
    facts = {
        field.name: getattr(dataset, field.name)
        for field in dataclasses.fields(dataset)
        if field.name not in (*PARTS, "path")
    }
    write_json(folder / MANIFEST, {"layout": LAYOUT, **facts, "splits": splits, "files": files})


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return `dataset.json` of a prepared folder."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        layout = manifest["layout"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(folder / MANIFEST, f"cannot be read ({error!r})") from error
    if layout != LAYOUT:
        raise damaged(folder / MANIFEST, f"has layout {layout}, and this version reads {LAYOUT}")
    return manifest


def fingerprint(task: str, class_names: tuple[str, ...], files: dict[str, dict[str, Any]]) -> str:
    """Return the hex identity of a dataset's content: task, class names and every array of every split."""
    digests = {file: facts["digest"] for file, facts in sorted(files.items())}
    text = json.dumps([task, list(class_names), digests])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _require_prepared(folder: Path) -> None:
    """Refuse a folder with anything in it that is not of a dataset, finished or not."""
    starts = (MANIFEST, f".{MANIFEST}", *(f"{part}." for part in PARTS))
    strange = [path.name for path in folder.iterdir() if not path.name.startswith(starts)]
    if strange:
        raise WorkbenchError(
            f"{show_path(folder)} holds something that is no dataset: {strange[0]!r}.\n"
            "Nothing was written. Give a folder that does not exist yet."
        )


def _read_only(array: np.ndarray) -> np.ndarray:
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def _only(arrays: Mapping[str, np.ndarray], kind: str) -> np.ndarray:
    if len(arrays) != 1:
        raise WorkbenchError(
            f"This split has {len(arrays)} {kind} ({', '.join(arrays) or 'none'}), so none is the only one.\n"
            f'Name the one that you mean: split.{kind}["…"].'
        )
    return next(iter(arrays.values()))

"""One file that holds what a training is at some moment: whole and unaltered, or not used."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from workbench.errors import WorkbenchError
from workbench.events import spell, unspell


class DamagedSnapshot(WorkbenchError):
    """A file is not what was written; the one before it may be."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Tensors by name, and facts as JSON has them; NaN and infinities are allowed."""

    tensors: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


def copy_value(variable: keras.Variable) -> np.ndarray:
    """Return a copy of a variable that training does not change any more."""
    if keras.backend.backend() == "tensorflow":  # half the time: in Keras's call NumPy prepares a warning
        return variable.value.numpy()
    return keras.ops.convert_to_numpy(variable.value)


def copy_values(variables: Iterable[keras.Variable]) -> list[np.ndarray]:
    """Return copies of variables that training does not change any more.

    NumPy has no bfloat16 or float8 of its own, and safetensors knows none here; float32 holds them all.
    """
    values = [copy_value(variable) for variable in variables]
    return [value if value.dtype.isbuiltin == 1 else value.astype("float32") for value in values]


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a file that has its name only when all of it is on disk, with a checksum.

    It is written as safetensors, which takes a tenth of the time of Keras's HDF5.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name("unfinished")
    facts = json.dumps(spell(snapshot.facts), allow_nan=False)
    tensors = {name: np.asarray(value, order="C") for name, value in snapshot.tensors.items()}
    save_file(tensors, unfinished, {"facts": facts, "sha256": _digest(tensors, facts)})
    with open(unfinished, "rb+") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)


def read_snapshot(path: Path) -> Snapshot:
    """Read what `write_snapshot` wrote.

    Raises:
        DamagedSnapshot: The file is gone, cut short or altered.
    """
    try:
        with safe_open(path, "numpy") as file:
            notes = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise DamagedSnapshot(
            f"The checkpoint {path} cannot be read: {error}.\nThe one before serves."
        ) from error
    if notes.get("sha256") != _digest(tensors, notes.get("facts", "")):
        raise DamagedSnapshot(
            f"The checkpoint {path} does not hold what was written.\nThe one before serves."
        )
    return Snapshot(tensors, unspell(json.loads(notes["facts"])))


def digest_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the hex identity of arrays with their names, types and shapes."""
    return _digest(arrays, "")


def _digest(tensors: Mapping[str, np.ndarray], facts: str) -> str:
    digest = hashlib.sha256(facts.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype.str} {value.shape}".encode())
        if value.dtype == object:
            digest.update("\0".join(map(str, value.ravel())).encode())
        else:
            digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()

"""Arrays on disk: written once with a checksum, opened memory-mapped, noticed when altered.

Numbers and short strings are `.npy` files, texts are Arrow files with one column; neither needs pickle.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from workbench.errors import WorkbenchError
from workbench.runs import show_path


class DamagedError(WorkbenchError):
    """A prepared file is missing, cut short or altered; the cache answers by building it again."""


def file_name(part: str, name: str, array: np.ndarray) -> str:
    """Return the name of the file that holds the array `name` of the split `part`."""
    return f"{part}.{name}.{'arrow' if array.dtype == object else 'npy'}"


def write_array(path: Path, array: np.ndarray) -> dict[str, Any]:
    """Write an array of numbers, strings or texts (object) and return the facts that `open_array` checks."""
    if array.dtype == object:
        _write_texts(path, array)
        return _seal(path, digest_texts(array))
    with ArrayWriter(path, array.shape, array.dtype) as writer:
        writer.append(array)
    return writer.facts


def open_array(path: Path, facts: dict[str, Any]) -> np.ndarray:
    """Open an array that `write_array` wrote, memory-mapped; texts become a (n,) array of str.

    An unchanged size and time of change are trusted; otherwise (a copied folder) the content is compared.

    Raises:
        DamagedError: The file is not what was written.
    """
    try:
        status = path.stat()
        if status.st_size != facts["bytes"]:
            raise damaged(path, f"has {status.st_size} bytes, not {facts['bytes']}")
        array = _map_texts(path) if path.suffix == ".arrow" else _map_numbers(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(path, f"cannot be read ({error})") from error
    if status.st_mtime_ns != facts["mtime_ns"] and _digest(array) != facts["digest"]:
        raise damaged(path, "does not hold what was written")
    return array


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damaged(path: Path, how: str) -> DamagedError:
    """Return the error for the file `path`, which is damaged in the way that `how` says."""
    return DamagedError(
        f"The prepared data file {show_path(path)} {how}.\n"
        f"Prepare the data again: remove {show_path(path.parent)} or run the step that wrote it."
    )


def link_array(source: Path, target: Path) -> None:
    """Make `target` the same file as `source` where the file system allows it, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


class ArrayWriter:
    """Write a `.npy` file block by block, so that the whole array never stands in memory.

    Args:
        path: The file.
        shape: Shape of the whole array; the blocks follow each other along the first axis, and a size of 1 on
            their last axis is stretched to the array's.
        dtype: Type of its elements.
    """

    facts: dict[str, Any]  # size, time and checksum; set when the file is closed

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.path = path
        self.shape = shape
        self.dtype = dtype
        self._hash = _start_hash(shape, dtype)

    def __enter__(self) -> "ArrayWriter":
        self._file: BinaryIO = open(self.path, "xb")
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": self.shape,
        }
        np.lib.format.write_array_header_1_0(self._file, header)
        return self

    def append(self, block: np.ndarray) -> None:
        """Add the rows of `block`, (rows, …)."""
        rows = np.ascontiguousarray(np.broadcast_to(block, (len(block), *self.shape[1:])))
        data = rows.reshape(-1).view(np.uint8).data
        self._file.write(data)
        self._hash.update(data)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._file.close()
        if kind is None:
            self.facts = _seal(self.path, self._hash.hexdigest())


def digest_texts(texts: Iterable[str]) -> str:
    """Return the sha256 of texts in their order."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def _digest(array: np.ndarray) -> str:
    if array.dtype == object:
        return digest_texts(array)
    digest = _start_hash(array.shape, array.dtype)
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _start_hash(shape: tuple[int, ...], dtype: np.dtype) -> Any:
    return hashlib.sha256(f"{dtype.str}{tuple(shape)}".encode())


def _seal(path: Path, digest: str) -> dict[str, Any]:
    path.chmod(0o444)
    status = path.stat()
    return {"digest": digest, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _map_numbers(path: Path) -> np.ndarray:
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _write_texts(path: Path, texts: np.ndarray) -> None:
    import pyarrow as pa

    table = pa.table({"text": pa.array(texts, type=pa.large_string())})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _map_texts(path: Path) -> np.ndarray:
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        column = pa.ipc.open_file(file).read_all().column("text")
    return column.to_numpy(zero_copy_only=False)

"""What a run made, told by its logical content: tensors, table rows, figure data; not bytes, times or paths.

A `.keras` file that is saved twice differs in its bytes, since it holds the date; its weights do not.
"""

import contextlib
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.runs import RUN_FILE, read_json

ARTIFACTS = "artifacts"
_OF_THE_EXECUTION = {
    "name", "status", "parameters", "attempt", "started", "ended", "process", "provenance", "error",
}  # fmt: skip
_OF_THE_COPY = {"mtime_ns"}  # what a dataset's manifest says of its files on this disk
_TEXTS = (".csv", ".tsv", ".txt", ".md", ".html", ".svg", ".tex", ".json", ".jsonl")


def hash_output(folder: Path, places: Mapping[str, str]) -> str:
    """Return one hash over the artifacts and the recorded results of a run.

    Args:
        folder: The run folder. Without a run in it, the outputs of its executed notebook count.
        places: Paths of run folders, as they may stand in texts, and what to read in their place.
    """
    details = read_json(folder / RUN_FILE)
    digests: dict[str, str] = {}
    if details is not None:
        results = {key: value for key, value in details.items() if key not in _OF_THE_EXECUTION}
        digests[RUN_FILE] = _hash(_replace(json.dumps(results, sort_keys=True), places).encode())
    for file in list_artifacts(folder):
        digests[str(file.relative_to(folder))] = hash_content(file, places)
    if not digests:
        digests = {"outputs": _hash(_replace(_notebook_outputs(folder / "executed.ipynb"), places).encode())}
    return _hash(json.dumps(digests, sort_keys=True).encode())


def list_artifacts(folder: Path) -> list[Path]:
    """Return every file under the artifacts of a run folder."""
    return sorted(path for path in (folder / ARTIFACTS).rglob("*") if path.is_file())


def hash_content(file: Path, places: Mapping[str, str]) -> str:
    """Return a hash of what a file holds, whatever its format has of times, order of keys and compression."""
    readers: dict[str, Callable[[Path], bytes]] = {
        ".keras": _read_archive,
        ".npz": _read_archive,
        ".h5": lambda path: _read_hdf5(path.read_bytes()),
        ".parquet": _read_parquet,
    }
    if file.suffix in readers:
        try:
            return _hash(readers[file.suffix](file))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            pass  # it only bears the name of the format: its bytes count
    if file.suffix in _TEXTS:
        return _hash(_read_text(file, places))
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _read_text(file: Path, places: Mapping[str, str]) -> bytes:
    text = file.read_text(encoding="utf-8", errors="surrogateescape")
    if file.suffix == ".json":
        with contextlib.suppress(ValueError):  # no JSON after all: the text counts
            text = json.dumps(_without(json.loads(text), _OF_THE_COPY), sort_keys=True)
    return _replace(text.replace("\r\n", "\n"), places).encode(errors="surrogateescape")


def _read_archive(file: Path) -> bytes:
    """Return digests of the members of a zip file, without Keras's note of when it was saved."""
    digests = {}
    with zipfile.ZipFile(file) as archive:
        for name in sorted(archive.namelist()):
            if name == "metadata.json":
                continue
            data = archive.read(name)
            digests[name] = _hash(_read_hdf5(data) if name.endswith(".h5") else data)
    return json.dumps(digests).encode()


def _read_hdf5(data: bytes) -> bytes:
    """Return name, type, shape, attributes and digest of every dataset."""
    import h5py

    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        about: list[Any] = [sorted((key, str(value)) for key, value in item.attrs.items())]
        if isinstance(item, h5py.Dataset):
            about += [str(item.dtype), list(item.shape), _hash(item[()].tobytes() if item.size else b"")]
        found[name] = about

    with h5py.File(io.BytesIO(data), "r") as file:
        file.visititems(visit)
    return json.dumps(found, sort_keys=True).encode()


def _read_parquet(file: Path) -> bytes:
    """Return name, type and digest of the values of every column."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(file)
    columns = []
    for name in table.column_names:
        column = table.column(name)
        if column.null_count == 0 and pyarrow.types.is_primitive(column.type):
            values = column.to_numpy().tobytes()
        else:
            values = json.dumps(column.to_pylist(), default=repr).encode()
        columns.append([name, str(column.type), _hash(values)])
    return json.dumps([table.num_rows, columns]).encode()


def _notebook_outputs(notebook: Path) -> str:
    cells = (read_json(notebook) or {}).get("cells", [])
    outputs = [cell.get("outputs", []) for cell in cells]
    return json.dumps(_without(outputs, {"execution_count", "metadata"}), sort_keys=True)


def _without(value: Any, keys: set[str]) -> Any:
    """Return a JSON value without some keys of its mappings."""
    if isinstance(value, dict):
        return {key: _without(item, keys) for key, item in value.items() if key not in keys}
    if isinstance(value, list):
        return [_without(item, keys) for item in value]
    return value


def _replace(text: str, places: Mapping[str, str]) -> str:
    for path in sorted(places, key=len, reverse=True):
        text = text.replace(path, places[path])
    return text


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

"""`step.json`: what a run folder was made for, and the files that it must hold to be whole."""

import hashlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.pipelines.contents import list_artifacts
from workbench.pipelines.memory import Memory
from workbench.runs import EVENTS_FILE, RUN_FILE, STEP_FILE, read_json

LAYOUT = 2  # of step.json
EXECUTED_FILE = "executed.ipynb"
DONE = "done"

Record = dict[str, Any]


def read_record(folder: Path) -> Record | None:
    """Return the `step.json` of a run folder; None if there is none that this version wrote."""
    record = read_json(folder / STEP_FILE)
    return record if record and record.get("layout") == LAYOUT else None


def seal_files(folder: Path) -> dict[str, list[Any]]:
    """Return size, time of change and digest of every file that makes a run folder whole."""
    sealed = {}
    for path in [folder / RUN_FILE, folder / EVENTS_FILE, *list_artifacts(folder)]:
        if path.is_file():
            status = path.stat()
            sealed[str(path.relative_to(folder))] = [status.st_size, status.st_mtime_ns, _digest(path)]
    return sealed


def find_damage(folder: Path, record: Record, memory: Memory) -> str:
    """Say what is missing from a finished run folder or changed in it; empty if it is whole.

    Files of an unchanged size and time are trusted; others (a copied folder) are compared by content.
    """
    try:
        if not os.stat(folder / EXECUTED_FILE).st_size:
            return f"{EXECUTED_FILE} is empty"
    except OSError:
        return f"{EXECUTED_FILE} is gone"
    for name, (size, mtime_ns, digest) in record["files"].items():
        path = f"{folder}/{name}"
        try:
            status = os.stat(path)
            if (status.st_size, status.st_mtime_ns) == (size, mtime_ns):
                continue
            if (
                status.st_size != size
                or memory.recall("digest", path, lambda path=path: _digest(path)) != digest
            ):
                return f"{name} was changed"
        except OSError:
            return f"{name} is gone"
    return ""


@dataclass(frozen=True)
class Place:
    """Where a step's run is or will be."""

    folder: Path
    record: Record | None  # of a whole run; None if it must run
    reason: str = ""  # what was found instead of a whole run


def find_place(base: Path, memory: Memory) -> Place:
    """Return the newest whole run of a fingerprint, else the folder that can be written.

    A finished folder is never written again: a further run of the same fingerprint goes into `base-2`.

    Args:
        base: The folder of the first run.
        memory: What is known of files.
    """
    whole: Place | None = None
    free = base
    reason = ""
    for folder in _numbered(base):
        free = folder
        record = read_record(folder)
        if record is None and not folder.exists():
            break
        if record and record["state"] == DONE:
            damage = find_damage(folder, record, memory)
            whole = whole if damage else Place(folder, record)
            reason = damage and f"{damage} in {folder.name}"
        elif (read_json(folder / RUN_FILE) or {}).get("status") != "finished":
            reason = reason or _describe_end(record)
            break
    return whole or Place(free, None, reason)


def next_place(base: Path) -> Path:
    """Return the folder for a run that shall happen although there is a whole one."""
    for folder in _numbered(base):
        finished = (read_json(folder / RUN_FILE) or {}).get("status") == "finished"
        if not finished and (read_record(folder) or {}).get("state") != DONE:
            return folder
    raise AssertionError("unreachable")


class History:
    """The records of a pipeline's earlier runs, read when first asked for.

    Args:
        folder: The pipeline's folder.
        current: The run folder of each label at the end of the last run, from `state.json`.
    """

    def __init__(self, folder: Path, current: dict[str, str]) -> None:
        self._folder = folder
        self._current = current
        self._records: dict[str, list[tuple[str, Record]]] | None = None

    def newest(self, label: str) -> Record | None:
        """Return the record of a label's current run, else of its last finished one, else of any."""
        found = self._all().get(label, [])
        for name, record in found:
            if name == self._current.get(label):
                return record
        finished = [record for _, record in found if record["state"] == DONE]
        return (finished or [record for _, record in found] or [None])[-1]

    def knows(self, label: str) -> bool:
        """Tell whether `state.json` names a run folder for a label."""
        return label in self._current

    def finished(self, label: str, step: str, notebook: str) -> Record | None:
        """Return a finished run that tells what to expect: of the label, its step, or its notebook."""
        for key in (label, f"step {step}", f"notebook {notebook}"):
            for _, record in reversed(self._all().get(key, [])):
                if record["state"] == DONE:
                    return record
        return None

    def _all(self) -> dict[str, list[tuple[str, Record]]]:
        """Return the records by label, step and notebook, oldest first."""
        if self._records is None:
            self._records = {}
            found = [
                (file.parent.name, read_record(file.parent)) for file in self._folder.glob(f"*/{STEP_FILE}")
            ]
            known = [(name, record) for name, record in found if record]
            for name, record in sorted(known, key=lambda pair: pair[1]["started"]):
                for key in (record["label"], f"step {record['step']}", f"notebook {record['notebook']}"):
                    self._records.setdefault(key, []).append((name, record))
        return self._records


def _describe_end(record: Record | None) -> str:
    if record is None:
        return ""
    if record["state"] == "failed":
        return f"failed: {record['error'].splitlines()[0]}" if record["error"] else "failed"
    return "was interrupted"


def _numbered(base: Path) -> Iterator[Path]:
    for number in itertools.count(1):
        yield base if number == 1 else base.with_name(f"{base.name}-{number}")


def _digest(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""What the nurseries of this user are doing, and what memory they and their kernels take."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.kernels.client import ask_all
from workbench.kernels.folders import RECORD_FILE
from workbench.runs import read_json


@dataclass(frozen=True)
class Process:
    """A forked process of a nursery; an idle one has no folder."""

    pid: int
    started: float  # seconds since the epoch
    folder: str
    memory: int  # bytes: its own, and its share of what it shares


@dataclass(frozen=True)
class Nursery:
    """A nursery that runs; while it still imports, only its interpreter is known."""

    interpreter: str
    pid: int | None
    started: float
    modules: list[str]
    failures: dict[str, str]
    seconds: float  # that the imports took
    memory: int
    idle: list[Process]
    kernels: list[Process]


def read_nurseries() -> Iterator[Nursery]:
    """Yield every nursery of this user."""
    for folder, answer in ask_all("status"):
        record = read_json(folder / RECORD_FILE) or {"command": ["unknown"], "began": 0.0}
        yield Nursery(
            record["command"][0],
            answer.get("pid"),
            answer.get("started", record["began"]),
            answer.get("modules", []),
            answer.get("failures", {}),
            answer.get("seconds", 0.0),
            shared_memory(answer["pid"]) if answer else 0,
            [Process(pid, 0.0, "", shared_memory(pid)) for pid in answer.get("idle", [])],
            [
                Process(item["pid"], item["started"], item["folder"], shared_memory(item["pid"]))
                for item in answer.get("kernels", [])
            ],
        )


def shared_memory(pid: int) -> int:
    """Return the proportional set size of a process in bytes: shared pages count as a share; 0 if it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.M)
    return int(found[1]) * 1024 if found else 0

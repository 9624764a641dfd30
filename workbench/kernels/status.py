"""What the nurseries of this user are doing, and what memory they and their kernels take."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.kernels.client import ask_all
from workbench.kernels.folders import COLD_FILE, RECORD_FILE, nurseries_folder
from workbench.runs import read_json, show_path


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
    """Return the proportional set size of a process in bytes, to which a shared page adds its share.

    It is 0 when the process is gone.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.M)
    return int(found[1]) * 1024 if found else 0


def describe_nurseries() -> Iterator[str]:
    """Yield lines that tell of every nursery and its kernels."""
    none = True
    for nursery in read_nurseries():
        none = False
        if nursery.pid is None:
            yield f"{nursery.interpreter}: has been importing packages for {_age(nursery.started)}"
            continue
        yield f"{nursery.interpreter}, process {nursery.pid}, started {_age(nursery.started)} ago"
        yield f"  preloaded in {nursery.seconds:.1f} s: {', '.join(nursery.modules)}"
        for module, error in nursery.failures.items():
            yield f"  could not import {module}: {error}"
        total = nursery.memory + sum(item.memory for item in (*nursery.idle, *nursery.kernels))
        yield f"  memory {_mebibytes(nursery.memory)}, with its children {_mebibytes(total)}"
        for child in nursery.idle:
            yield f"  process {child.pid}: waits to become a kernel, {_mebibytes(child.memory)}"
        for kernel in nursery.kernels:
            where = show_path(Path(kernel.folder))
            yield (
                f"  process {kernel.pid}: kernel in {where}"
                f" for {_age(kernel.started)}, {_mebibytes(kernel.memory)}"
            )
    if none:
        yield "No nursery runs; the first warm kernel starts one."


def stop_nurseries() -> Iterator[str]:
    """End every nursery, and yield a line that says so; kernels that run go on.

    Environments that could have no warm kernels are tried again.
    """
    answers = [answer for _, answer in ask_all("stop")]
    for file in nurseries_folder().glob(f"*/{COLD_FILE}"):
        file.unlink(missing_ok=True)
    kernels = sum(answer.get("kernels", 0) for answer in answers)
    yield f"Nurseries stopped: {len(answers)}. Kernels that go on without them: {kernels}."


def _age(started: float) -> str:
    minutes, seconds = divmod(int(time.time() - started), 60)
    return f"{minutes} min" if minutes else f"{seconds} s"


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"

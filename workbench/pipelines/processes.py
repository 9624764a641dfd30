"""Kernels as processes: how much memory they take, and those that a dead runner left behind."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from workbench.pipelines.records import read_record
from workbench.runs import process_identity

MARK = "WORKBENCH_RUN"  # variable in a kernel's environment: the run folder that it works for
_SECONDS_TO_DIE = 10.0


def peak_memory(pid: int | None) -> int:
    """Return the most memory that a process has had, in bytes; 0 if that cannot be told."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(line.split()[1]) * 1024


def kill_process(pid: int) -> None:
    """Kill a kernel, with the processes that it started if it leads them."""
    with contextlib.suppress(ProcessLookupError):
        leads = os.getpgid(pid) == pid
        (os.killpg if leads else os.kill)(pid, signal.SIGKILL)


def end_orphan(folder: Path) -> None:
    """End the kernel that a killed runner left at work in a run folder: nobody would get what it computes.

    It is the one that the runner noted; or, if it was killed before that, what has its mark.
    """
    record = read_record(folder)
    if record is None or record["state"] != "running":
        return
    noted = record.get("kernel")
    found = [noted] if noted and noted == process_identity(noted["pid"]) else _find_marked(folder)
    for process in found:
        kill_process(process["pid"])
        end = time.monotonic() + _SECONDS_TO_DIE
        while process_identity(process["pid"]) == process and time.monotonic() < end:
            time.sleep(0.02)


def _find_marked(folder: Path) -> list[dict[str, Any]]:
    """Return the processes whose environment says that they work for a run folder."""
    mark = f"{MARK}={folder}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or belongs to somebody else
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(process_identity(int(entry.name)))
    return [process for process in found if process]

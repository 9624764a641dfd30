"""Kernels as processes: how much memory they take, and those that a dead runner left behind."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from workbench.pipelines.records import read_record
from workbench.runs import RUN_FILE, process_identity, read_json

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


def end_orphan(folder: Path) -> None:
    """End the kernel that a killed runner left at work in a run folder.

    Nobody would receive what it computes. Only a process that the runner itself started is ended: one whose
    environment names the folder.
    """
    for known in (
        (read_record(folder) or {}).get("kernel"),
        (read_json(folder / RUN_FILE) or {}).get("process"),
    ):
        if known and known == process_identity(known["pid"]) and _works_for(known["pid"], folder):
            _kill(known)


def _works_for(pid: int, folder: Path) -> bool:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{MARK}={folder}".encode() in variables


def _kill(process: dict[str, Any]) -> None:
    pid = process["pid"]
    with contextlib.suppress(ProcessLookupError):
        leads = os.getpgid(pid) == pid  # then what it started goes with it
        (os.killpg if leads else os.kill)(pid, signal.SIGKILL)
    end = time.monotonic() + _SECONDS_TO_DIE
    while process_identity(pid) == process and time.monotonic() < end:
        time.sleep(0.02)

"""One runner at a time for a pipeline.

The lock belongs to an open file, so the kernel of the operating system releases it with the process that
holds it, however that ends: a lock never outlives its owner.
"""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from workbench.runs import read_json

LOCK_FILE = "lock"
_POLL = 0.2  # seconds


@contextlib.contextmanager
def locked(
    folder: Path, wait: bool = True, waiting: Callable[[str], None] = lambda owner: None
) -> Iterator[bool]:
    """Hold the lock of a pipeline's folder; yield whether it is held.

    Args:
        folder: The pipeline's folder; it exists.
        wait: Whether to wait for another process that holds it.
        waiting: Called once with a description of that process.
    """
    with open(folder / LOCK_FILE, "a+", encoding="utf-8") as file:
        held = _take(file)
        if not held and wait:
            waiting(_describe(folder))
            while not held:
                time.sleep(_POLL)
                held = _take(file)
        if held:
            owner = {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            }
            file.truncate(0)
            file.write(json.dumps(owner))
            file.flush()
        yield held


def _take(file: object) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _describe(folder: Path) -> str:
    owner = read_json(folder / LOCK_FILE)
    if owner is None:
        return "another process"
    return f"process {owner['pid']} on {owner['host']}, which has run it since {owner['since']}"

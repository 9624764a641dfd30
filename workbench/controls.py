"""What a person asks of a training under way: the requests in a run folder's `control.json`.

Anyone may add a request, and the training obeys within a fifth of a second and a batch. The file holds

    {"requests": [{"id": "hex", "time": …, "attempt": 1, "action": "stop", "value": "now", "by": "panel"}]}

in the order in which they were made; each belongs to one attempt at the run, so that a stop of yesterday
does not stop the training that goes on today. By action, the values are

    stop            "now" (after the present batch) or "epoch" (after the present epoch)
    pause           true, or false to resume
    learning_rate   a number above zero
    patience        epochs without improvement before early stopping, 0 or more
    checkpoint      null: save one now
    measure_layers  null: measure gradients and weights of the layers now
"""

import os
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.runs import is_alive, locked, read_details, read_json, resolve_path, show_path, write_json

CONTROL_FILE = "control.json"

STOP = "stop"
PAUSE = "pause"
LEARNING_RATE = "learning_rate"
PATIENCE = "patience"
CHECKPOINT = "checkpoint"
MEASURE_LAYERS = "measure_layers"
NOW = "now"  # the values of STOP
AFTER_EPOCH = "epoch"

_LOCK_FILE = ".control.lock"

Request = dict[str, Any]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# For each action: whether a value will do, and what would.
_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    STOP: (lambda value: value in (NOW, AFTER_EPOCH), f'"{NOW}" or "{AFTER_EPOCH}"'),
    PAUSE: (lambda value: isinstance(value, bool), "true or false"),
    LEARNING_RATE: (
        lambda value: _is_number(value) and 0 < value <= sys.float_info.max,  # no NaN, no infinity
        "a number above zero",
    ),
    PATIENCE: (
        lambda value: _is_number(value) and isinstance(value, int) and value >= 0,
        "a whole number of epochs, 0 or more",
    ),
    CHECKPOINT: (lambda value: value is None, "no value"),
    MEASURE_LAYERS: (lambda value: value is None, "no value"),
}
ACTIONS = tuple(_VALUES)


def request_control(run_folder: str | Path, action: str, value: Any = None, by: str = "Python") -> Request:
    """Ask something of the training that writes a run folder.

    It is done when the event log has a `control` event with the request's id.

    Args:
        run_folder: The folder, relative to the project root.
        action: One of `ACTIONS`.
        value: What the action takes; the top of this module says what that is.
        by: Who asks, for the log and the report.

    Returns:
        The request as it stands in `control.json`.

    Raises:
        WorkbenchError: There is no such action, the value does not suit it, or nothing is running there.

    Example:
        request_control("runs/quickstart/train-1f0c…", "learning_rate", 1e-4)
    """
    _check(action, value)
    folder = resolve_path(run_folder)
    attempt = _running_attempt(folder)
    request = {
        "id": uuid.uuid4().hex[:12],
        "time": time.time(),
        "attempt": attempt,
        "action": action,
        "value": float(value) if action == LEARNING_RATE else value,
        "by": by,
    }
    with locked(folder / _LOCK_FILE):  # one writer at a time, so that no request is lost
        write_json(folder / CONTROL_FILE, {"requests": [*read_requests(folder), request]})
    return request


def read_requests(run_folder: Path) -> list[Request]:
    """Return the well-formed requests of a run folder in their order, and leave out what is none."""
    return _read(run_folder / CONTROL_FILE)


class ControlReader:
    """Follow the requests of one attempt at a run; asking costs one look at the file's times.

    Args:
        path: The run's `control.json`, which need not exist yet.
        attempt: Which attempt at the run obeys.
        obeyed: The ids of requests that were obeyed before.
    """

    def __init__(self, path: Path, attempt: int, obeyed: Iterable[str] = ()) -> None:
        self._name = str(path)  # asked for again and again: a Path would be turned into text each time
        self.attempt = attempt
        self._mark: tuple[int, int, int] | None = None
        self._taken = set(obeyed)

    def new_requests(self) -> list[Request]:
        """Return the requests that were not returned before, in their order."""
        try:
            status = os.stat(self._name)
        except OSError:  # nobody has asked anything yet
            return []
        mark = (status.st_mtime_ns, status.st_ino, status.st_size)
        if mark == self._mark:
            return []
        self._mark = mark
        new = [
            request
            for request in _read(Path(self._name))
            if request["attempt"] == self.attempt and request["id"] not in self._taken
        ]
        self._taken.update(request["id"] for request in new)
        return new


def _check(action: str, value: Any) -> None:
    if not isinstance(action, str) or action not in _VALUES:
        raise WorkbenchError(
            f"A training cannot be asked to {action!r}.\nIt knows these actions: {', '.join(ACTIONS)}."
        )
    suits, expected = _VALUES[action]
    if not suits(value):
        raise WorkbenchError(f"{action} was given {value!r}, which it does not take.\nIt takes {expected}.")


def _running_attempt(folder: Path) -> int:
    """Return the attempt that is under way in a run folder."""
    details = read_details(folder)
    status = details.get("status", "no state")
    if status != "running":
        raise WorkbenchError(
            f"The run {show_path(folder)} has {status}, so nothing can be asked of it.\n"
            "Only a run that is under way can be steered."
        )
    if not is_alive(details):
        raise WorkbenchError(
            f"The run {show_path(folder)} was killed, so nothing can be asked of it.\n"
            "Start it again: it goes on from its last checkpoint."
        )
    return details["attempt"]


def _read(path: Path) -> list[Request]:
    requests = (read_json(path) or {}).get("requests")
    if not isinstance(requests, list):
        return []
    return [{"by": "control.json"} | request for request in requests if _is_request(request)]


def _is_request(value: Any) -> bool:
    """Tell whether something in the file, perhaps written by hand, is a request that can be obeyed."""
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        return False
    action = value.get("action")
    if not isinstance(value.get("attempt"), int) or not isinstance(action, str) or action not in _VALUES:
        return False
    return _VALUES[action][0](value.get("value"))

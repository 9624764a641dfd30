"""Append-only event log of a run, and readers that follow it.

Schema version 2. One JSON object a line in `events.jsonl`; every line has

    v        schema version
    time     seconds since the epoch, UTC
    attempt  1 for the first start of the run, one more each time it is opened again
    type     what happened
    fit      of what happens in a training: its number in the attempt, counted from 1; a training that
             goes on after a crash has the number that it had before

and by `type`:

    start       the run was opened
    fit         training starts: epochs, batches (per epoch, null if unknown), initial_epoch and
                initial_batch (where it goes on), source (the run folder that it goes on from, or empty),
                batch_size (samples, null if unknown), monitor (what early stopping watches) and
                patience (epochs), both null without early stopping
    step        during an epoch: epoch, step (batches seen in this epoch), metrics (means over the
                window since the last step event or the start of the epoch), learning_rate, memory
                (bytes that the process held a few seconds ago)
    epoch       end of an epoch: epoch, metrics (training and `val_…`), seconds (without pauses),
                learning_rate, batches (seen in it), step (the same) where the epoch was cut short, and
                mode ("min" or "max") of what early stopping watches
    layers      measured on the probe: epoch, step, groups (name, gradient_norm, weight_norm and
                update_ratio of each group of layers, input first)
    control     a request was obeyed, or refused for a reason: request (its id), action, value, old (the
                value before), by, epoch, step, refused
    checkpoint  saved because somebody asked: epoch, step, file (in the run folder)
    finding     something was noticed: the fields of `workbench.findings.Finding`
    broken      `fit` raised an exception, in a notebook whose kernel lives on: error (its name)
    fit_end     training ended: epochs (completed), stopped (True when before the last planned one),
                reason (`by hand`, `early stopping` or empty), seconds (without pauses), costs (of all
                attempts, see `workbench.training.costs`), and restored (the epoch whose weights the
                model was given back, if it was)
    end         the run ended: status ("finished" or "failed"), error

Epochs are counted from 0. NaN and infinities are written as the strings "NaN", "Infinity" and
"-Infinity" and come back as floats from the readers. Lines are flushed as written and synced to disk
at epochs and ends.
"""

import json
import math
import os
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

SCHEMA_VERSION = 2
_SYNCED = frozenset({"start", "epoch", "fit_end", "end"})
_REPLAYED = frozenset({"step", "epoch", "layers", "checkpoint", "finding", "broken", "fit_end"})
_OF_TRAINING = _REPLAYED | {"fit", "control"}
COMMON_FIELDS = frozenset({"v", "time", "attempt", "type", "fit"})
_SPELLED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class EventLog:
    """Writer of one run's `events.jsonl`; there is exactly one, in the kernel that owns the run."""

    def __init__(self, path: Path, attempt: int = 1) -> None:
        self.path = path
        self.attempt = attempt
        self._fits = 0  # trainings that have ended
        self._file: BinaryIO | None = None  # kept open: opening takes longer than writing a line
        self._torn = False  # whether the log may end with a part of a line
        self.ended = False  # whether the run's last event has been written

    @property
    def fit(self) -> int:
        """The number of the present training, or of the next one."""
        return self._fits + 1

    def write(self, type: str, **fields: Any) -> None:
        """Append one event; `fields` hold JSON values, numpy scalars and floats of any kind."""
        event = {"v": SCHEMA_VERSION, "time": time.time(), "attempt": self.attempt, "type": type}
        if type in _OF_TRAINING:
            event["fit"] = self.fit
        line = json.dumps(event | spell(fields), ensure_ascii=False, allow_nan=False)
        if self._file is None:
            self._file = open(self.path, "ab+", buffering=0)  # noqa: SIM115 (closed with this object)
            weakref.finalize(self, self._file.close)
            self._torn = _ends_torn(self._file)
        if self._torn:
            line = "\n" + line
        self._torn = True  # until all of it is written
        data = line.encode(errors="backslashreplace") + b"\n"
        while data:
            data = data[self._file.write(data) :]
        self._torn = False
        if type in _SYNCED:
            os.fsync(self._file.fileno())
        self._fits += type == "fit_end"
        self.ended = type == "end"


class EventReader:
    """Follow a log that may still grow: each `read()` returns the events since the last one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def read(self) -> list[dict[str, Any]]:
        """Return the new events; a torn last line waits for the next call, other damage is skipped."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return list(_parse(whole))


def read_events(path: Path) -> list[dict[str, Any]]:
    """Return the events of a log, without the steps and epochs that a later attempt replayed."""
    return drop_replayed(EventReader(path).read())


def drop_replayed(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return `events` with only the newest account of each epoch.

    A training that goes on in epoch k after batch b (`initial_epoch` and `initial_batch` of its `fit`
    event) replaces what was logged before from there on, and leaves other trainings of the run alone.
    """
    kept: list[dict[str, Any]] = []
    for event in events:
        if event["type"] == "fit":
            first = (event.get("initial_epoch", 0), event.get("initial_batch", 0))
            kept = [
                old
                for old in kept
                if not (old["type"] in _REPLAYED and old["fit"] == event["fit"] and _moment(old) > first)
            ]
        kept.append(event)
    return kept


def _moment(event: dict[str, Any]) -> tuple[float, float]:
    """Return epoch and step of an event; what is about a whole epoch or training comes after its steps."""
    epoch, step = event.get("epoch"), event.get("step")
    return (math.inf if epoch is None else epoch, math.inf if step is None else step)


def _parse(lines: bytes) -> Iterator[dict[str, Any]]:
    for line in lines.splitlines():
        try:
            event = json.loads(line)
        except ValueError:  # a line torn by a crash, closed by the next attempt
            continue
        if isinstance(event, dict) and "type" in event:
            yield unspell(event)


def _ends_torn(file: Any) -> bool:
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def spell(value: Any) -> Any:
    """Return `value` as plain JSON: numpy scalars as numbers, NaN and infinities as strings."""
    if isinstance(value, dict):
        return {str(key): spell(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [spell(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def unspell(value: Any) -> Any:
    """Return `value` with the strings that stand for NaN and infinities as floats again."""
    if isinstance(value, dict):
        return {key: unspell(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unspell(item) for item in value]
    return _SPELLED.get(value, value) if isinstance(value, str) else value

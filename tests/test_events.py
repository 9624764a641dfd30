import json
import math
import subprocess
import sys

import numpy as np
import pytest

from workbench.events import EventLog, EventReader, drop_replayed, read_events, spell, unspell


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


def log_attempt(path, attempt, initial_epoch, epochs, steps_after=()):
    """Write an attempt that completes the epochs up to `epochs`, then some steps of the next one."""
    log = EventLog(path, attempt)
    log.write("start")
    log_training(log, initial_epoch, epochs)
    for step in steps_after:
        log.write("step", epoch=epochs, step=step, metrics={"loss": attempt})
    return log


def log_training(log, initial_epoch, epochs):
    """Write a training that completes the epochs up to `epochs`."""
    log.write("fit", epochs=5, batches=10, initial_epoch=initial_epoch)
    for epoch in range(initial_epoch, epochs):
        log.write("step", epoch=epoch, step=4, metrics={"loss": log.attempt})
        log.write("epoch", epoch=epoch, metrics={"loss": log.attempt}, seconds=1.0)


def test_written_event_reads_back_with_version_time_and_attempt(path):
    EventLog(path, attempt=3).write("epoch", epoch=2, metrics={"loss": 0.25})
    (event,) = read_events(path)
    assert event.pop("time") > 1.6e9
    assert event == {
        "v": 2, "attempt": 3, "type": "epoch", "fit": 1, "epoch": 2, "metrics": {"loss": 0.25},
    }  # fmt: skip


def test_numpy_scalars_are_written_as_plain_numbers(path):
    EventLog(path).write("step", step=np.int64(3), metrics={"loss": np.float32(0.5)})
    event = json.loads(path.read_text())
    assert event["step"] == 3
    assert event["metrics"] == {"loss": 0.5}


def test_nan_and_infinities_are_strings_in_the_file_and_floats_for_the_reader(path):
    EventLog(path).write("epoch", metrics={"a": math.nan, "b": math.inf, "c": [-math.inf]})
    text = path.read_text()
    assert json.loads(text, parse_constant=pytest.fail)["metrics"] == {
        "a": "NaN", "b": "Infinity", "c": ["-Infinity"],
    }  # fmt: skip
    metrics = read_events(path)[0]["metrics"]
    assert math.isnan(metrics["a"])
    assert metrics["b"] == math.inf
    assert metrics["c"] == [-math.inf]


def test_spelling_is_undone_by_unspelling():
    value = {"x": [1, -math.inf, {"y": math.inf}], "z": "plain", "none": None, "true": True}
    assert unspell(spell(value)) == value


def test_file_names_that_are_not_utf8_can_be_logged(path):
    broken = b"caf\xe9.png".decode(errors="surrogateescape")
    EventLog(path).write("end", error=f"cannot read {broken}")
    assert read_events(path)[0]["error"] == f"cannot read {broken}"


def test_missing_log_has_no_events(path):
    assert read_events(path) == []


def test_line_torn_by_a_crash_is_dropped_and_the_next_event_is_kept(path):
    log = EventLog(path)
    log.write("start")
    with open(path, "ab") as file:
        file.write('{"v": 2, "type": "step", "name": "naïv'.encode()[:-2])
    EventLog(path, attempt=2).write("start")
    assert [(event["type"], event["attempt"]) for event in read_events(path)] == [
        ("start", 1),
        ("start", 2),
    ]


def test_lines_that_are_no_events_are_skipped(path):
    path.write_bytes(b'[1]\n\xff\xfe\n\n"text"\n{"no": "type"}\n')
    EventLog(path).write("start")
    assert [event["type"] for event in read_events(path)] == ["start"]


def test_reader_returns_each_event_once_while_the_log_grows(path):
    reader, log = EventReader(path), EventLog(path)
    assert reader.read() == []
    log.write("start")
    log.write("fit")
    assert [event["type"] for event in reader.read()] == ["start", "fit"]
    assert reader.read() == []
    log.write("fit_end")
    assert [event["type"] for event in reader.read()] == ["fit_end"]


def test_reader_waits_for_the_rest_of_a_line(path):
    reader = EventReader(path)
    EventLog(path).write("start")
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    assert reader.read() == []
    path.write_bytes(whole)
    assert [event["type"] for event in reader.read()] == ["start"]


def test_epochs_that_a_resume_replays_are_told_once(path):
    log_attempt(path, attempt=1, initial_epoch=0, epochs=3, steps_after=[2, 7])
    log_attempt(path, attempt=2, initial_epoch=2, epochs=5)
    events = read_events(path)
    assert [(e["epoch"], e["attempt"]) for e in events if e["type"] == "epoch"] == [
        (0, 1), (1, 1), (2, 2), (3, 2), (4, 2),
    ]  # fmt: skip
    assert [(e["epoch"], e["attempt"]) for e in events if e["type"] == "step"] == [
        (0, 1), (1, 1), (2, 2), (3, 2), (4, 2),
    ]  # fmt: skip


def test_training_that_starts_anew_replaces_the_whole_of_an_earlier_one(path):
    log_attempt(path, attempt=1, initial_epoch=0, epochs=2).write("fit_end", epochs=2, stopped=True)
    log_attempt(path, attempt=2, initial_epoch=0, epochs=1)
    events = read_events(path)
    assert [(e["epoch"], e["attempt"]) for e in events if e["type"] == "epoch"] == [(0, 2)]
    assert not [event for event in events if event["type"] == "fit_end"]


def test_second_fit_of_one_attempt_replaces_nothing(path):
    log = log_attempt(path, attempt=1, initial_epoch=0, epochs=2)
    log.write("fit_end", epochs=2, stopped=False)
    log_training(log, initial_epoch=0, epochs=2)
    events = read_events(path)
    assert drop_replayed(events) == events
    assert [event["fit"] for event in events if event["type"] == "epoch"] == [1, 1, 2, 2]
    assert [event["epoch"] for event in events if event["type"] == "epoch"] == [0, 1, 0, 1]


def test_events_of_a_killed_process_stay_readable(path):
    code = """
import os, signal, sys
from pathlib import Path
from workbench.events import EventLog
log = EventLog(Path(sys.argv[1]))
for step in range(50):
    log.write("step", epoch=0, step=step, metrics={})
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code, path], timeout=30).returncode == -9
    assert [event["step"] for event in read_events(path)] == list(range(50))

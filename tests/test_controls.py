"""What is asked of a run under way: who may ask, what is refused, and that nothing is lost."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from workbench.controls import CONTROL_FILE, ControlReader, read_requests, request_control
from workbench.errors import WorkbenchError
from workbench.runs import RUN_FILE, write_json

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def run() -> wb.Run:
    return wb.start_run("runs/one")


def write_controls(run: wb.Run, *requests: Any) -> None:
    write_json(run.path / CONTROL_FILE, {"requests": list(requests)})


@pytest.mark.parametrize(
    ("action", "value"),
    [
        ("stop", "now"),
        ("stop", "epoch"),
        ("pause", True),
        ("pause", False),
        ("learning_rate", 1e-4),
        ("learning_rate", 1),
        ("patience", 1),
        ("checkpoint", None),
        ("measure_layers", None),
    ],
)
def test_request_stands_in_the_file_as_it_was_returned(run: wb.Run, action: str, value: Any) -> None:
    request = request_control("runs/one", action, value, by="a test")
    assert json.loads((run.path / "control.json").read_text()) == {"requests": [request]}
    assert (request["action"], request["value"], request["by"], request["attempt"]) == (
        action, value, "a test", 1
    )  # fmt: skip


@pytest.mark.parametrize(
    ("action", "value", "expected"),
    [
        ("restart", None, "stop, pause, learning_rate, patience, checkpoint, measure_layers"),
        ("stop", None, '"now" or "epoch"'),
        ("stop", True, '"now" or "epoch"'),
        ("pause", 1, "true or false"),
        ("learning_rate", 0, "a number above zero"),
        ("learning_rate", 10**400, "a number above zero"),
        ("learning_rate", float("nan"), "a number above zero"),
        ("learning_rate", float("inf"), "a number above zero"),
        ("learning_rate", True, "a number above zero"),
        ("learning_rate", "0.1", "a number above zero"),
        ("patience", -1, "0 or more"),
        ("patience", 2.0, "0 or more"),
        ("patience", True, "0 or more"),
        ("checkpoint", "now", "no value"),
        ("measure_layers", 3, "no value"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_and_not_written(
    run: wb.Run, action: str, value: Any, expected: str
) -> None:
    with pytest.raises(WorkbenchError, match=expected):
        request_control(run.path, action, value)
    assert not (run.path / CONTROL_FILE).exists()


def test_folder_without_a_run_is_refused(project: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"No run in runs/none"):
        request_control("runs/none", "stop", "now")


def test_run_that_has_ended_is_refused(run: wb.Run) -> None:
    run.fail("it did not converge")
    with pytest.raises(WorkbenchError, match=r"runs/one has failed"):
        request_control(run.path, "stop", "now")
    again = wb.start_run("runs/one")
    again.finish()
    with pytest.raises(WorkbenchError, match=r"runs/one has finished"):
        request_control(run.path, "stop", "now")


def test_run_whose_process_was_killed_is_refused(project: Path) -> None:
    code = "import os, workbench as wb; wb.start_run('runs/killed'); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code], cwd=project, timeout=60)
    assert done.returncode == -9
    with pytest.raises(WorkbenchError, match=r"runs/killed was killed"):
        request_control("runs/killed", "stop", "now")


def test_writers_at_the_same_time_lose_nothing(run: wb.Run) -> None:
    code = """
import sys
from workbench.controls import request_control
for number in range(10):
    request_control("runs/one", "patience", number + 1, by=sys.argv[1])
"""
    names = ["a", "b", "c"]
    with ThreadPoolExecutor(len(names)) as pool:
        commands = [[sys.executable, "-c", code, name] for name in names]
        for done in pool.map(lambda command: subprocess.run(command, timeout=120), commands):
            assert done.returncode == 0
    requests = read_requests(run.path)
    for name in names:
        assert [each["value"] for each in requests if each["by"] == name] == list(range(1, 11))
    assert len({each["id"] for each in requests}) == 30


def test_request_leaves_only_its_file_and_the_lock(run: wb.Run) -> None:
    before = set(os.listdir(run.path))
    request_control(run.path, "stop", "now")
    assert set(os.listdir(run.path)) - before == {"control.json", ".control.lock"}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"requests": 3}', '{"requests": {"a": 1}}'])
def test_damaged_file_holds_no_request_and_the_next_one_mends_it(run: wb.Run, text: str) -> None:
    (run.path / CONTROL_FILE).write_text(text)
    assert read_requests(run.path) == []
    request = request_control(run.path, "stop", "now")
    assert read_requests(run.path) == [request]


def test_no_file_holds_no_request(run: wb.Run) -> None:
    assert read_requests(run.path) == []
    assert ControlReader(run.path / CONTROL_FILE, 1).new_requests() == []


def test_requests_written_by_hand_are_read_unless_malformed(run: wb.Run) -> None:
    good = {"id": "mine", "attempt": 1, "action": "stop", "value": "now"}
    write_controls(
        run,
        good,
        good | {"id": 7},
        good | {"attempt": "1"},
        good | {"action": "explode"},
        good | {"action": ["stop"]},
        good | {"value": "later"},
        {"action": "checkpoint"},
        "stop",
        None,
        {"id": "also mine", "attempt": 1, "action": "checkpoint"},
    )
    assert [request["id"] for request in read_requests(run.path)] == ["mine", "also mine"]
    assert read_requests(run.path)[0] == good | {"by": "control.json"}


class TestReader:
    def test_returns_each_request_once_and_in_order(self, run: wb.Run) -> None:
        reader = ControlReader(run.path / CONTROL_FILE, run.attempt)
        first = [request_control(run.path, "pause", value) for value in (True, False)]
        assert reader.new_requests() == first
        assert reader.new_requests() == []
        last = request_control(run.path, "stop", "epoch")
        assert reader.new_requests() == [last]

    def test_leaves_out_requests_of_another_attempt(self, run: wb.Run) -> None:
        request_control(run.path, "stop", "now")
        run.fail("stopped")
        again = wb.start_run("runs/one")
        reader = ControlReader(run.path / CONTROL_FILE, again.attempt)
        assert reader.new_requests() == []
        request = request_control(run.path, "checkpoint")
        assert request["attempt"] == again.attempt == 2
        assert reader.new_requests() == [request]

    def test_sees_a_file_that_was_replaced_by_one_of_the_same_size(self, run: wb.Run) -> None:
        reader = ControlReader(run.path / CONTROL_FILE, 1)
        request = {"id": "a", "attempt": 1, "action": "pause", "value": True}
        write_controls(run, request)
        assert [each["id"] for each in reader.new_requests()] == ["a"]
        write_controls(run, request | {"id": "b"})
        assert [each["id"] for each in reader.new_requests()] == ["b"]

    def test_survives_a_file_that_is_damaged_for_a_while(self, run: wb.Run) -> None:
        reader = ControlReader(run.path / CONTROL_FILE, 1)
        request = request_control(run.path, "stop", "now")
        whole = (run.path / CONTROL_FILE).read_text()
        (run.path / CONTROL_FILE).write_text(whole[:40])
        assert reader.new_requests() == []
        (run.path / CONTROL_FILE).write_text(whole)
        assert reader.new_requests() == [request]


def test_values_of_numpy_do_not_reach_the_file_as_they_are(run: wb.Run) -> None:
    import numpy as np

    request = request_control(run.path, "learning_rate", np.float64(0.5))
    assert type(request["value"]) is float
    assert json.loads((run.path / CONTROL_FILE).read_text())["requests"][0]["value"] == 0.5


def test_asking_needs_no_keras(project: Path, run: wb.Run) -> None:
    heavy = ("keras", "tensorflow", "pandas")
    code = f"import sys, workbench.controls; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert (run.path / RUN_FILE).is_file()

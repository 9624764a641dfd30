"""Commands that no other test calls: stopping what runs."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import workbench as wb
from workbench.cli import main
from workbench.controls import read_requests
from workbench.runs import write_json

OBEDIENT = """
import sys, time
import workbench as wb
from workbench.controls import ControlReader
run = wb.start_run(sys.argv[1])
reader = ControlReader(run.path / "control.json", run.attempt)
if "--prepare" not in sys.argv:
    run.log.write("fit", epochs=1, batches=None, initial_epoch=0)
print("started", flush=True)
while not (requests := reader.new_requests()):
    time.sleep(0.05)
run.finish()
print(requests[0]["action"], requests[0]["value"], requests[0]["by"])
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(project: Path) -> Iterator[Start]:
    """Start a process that runs in a folder until something is asked of it, and says what."""
    started: list[subprocess.Popen[str]] = []

    def begin(folder: str, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", OBEDIENT, folder, *options]
        started.append(subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "started\n"
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Return the exit status of the command line."""
    monkeypatch.setattr(sys, "argv", ["workbench", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def write_state(**folders: str) -> None:
    """Write the state of a pipeline `small` with the run folder of each step."""
    steps = {label: {"run": folder, "state": "done"} for label, folder in folders.items()}
    write_json(Path("runs/small/state.json"), {"pipeline": "small", "steps": steps})


@pytest.mark.parametrize(
    ("options", "received", "said"),
    [
        ([], "stop now command line\n", "to stop now; the best weights are kept."),
        (["--after-epoch"], "stop epoch command line\n", "to stop after this epoch; its weights are kept."),
    ],
)
def test_stop_reaches_a_run_in_another_process(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    received: str,
    said: str,
) -> None:
    process = start("runs/one")
    assert call(monkeypatch, "stop", "runs/one", *options) == 0
    assert capsys.readouterr().out == f"Asked runs/one {said}\n"
    assert process.communicate(timeout=60)[0] == received


def test_stop_of_a_pipeline_reaches_every_run_under_way_and_no_other(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    processes = [start(f"runs/small/train-{seed}") for seed in (0, 1)]
    start("runs/small/evaluate", "--prepare")
    wb.start_run("runs/small/prepare").finish()
    folders = dict(prepare="prepare", a="train-0", b="train-1", evaluate="evaluate")
    write_state(**{label: f"runs/small/{folder}" for label, folder in folders.items()}, later="")
    assert call(monkeypatch, "stop", "small") == 0
    assert capsys.readouterr().out.count("to stop now") == 2
    for process in processes:
        assert process.communicate(timeout=60)[0] == "stop now command line\n"
    assert read_requests(Path("runs/small/prepare")) == []
    assert read_requests(Path("runs/small/evaluate")) == []


def test_pipeline_whose_step_does_not_train_is_not_promised_to_stop(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start("runs/small/prepare", "--prepare")
    write_state(prepare="runs/small/prepare")
    assert call(monkeypatch, "stop", "small") == 2
    assert "prepare runs, and does not train now" in capsys.readouterr().err
    assert read_requests(Path("runs/small/prepare")) == []


@pytest.mark.parametrize("name", ["small", "runs/small", "pipelines/small.yaml"])
def test_pipeline_of_which_nothing_runs_is_refused_under_every_name(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    wb.start_run("runs/small/train").finish()
    write_state(train="runs/small/train", gone="runs/small/gone")
    assert call(monkeypatch, "stop", name) == 2
    assert f"No training of the pipeline {name} is under way" in capsys.readouterr().err


def test_stop_of_a_finished_run_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wb.start_run("runs/one").finish()
    assert call(monkeypatch, "stop", "runs/one") == 2
    assert "runs/one has finished" in capsys.readouterr().err


def test_stop_of_nothing_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "stop", "runs/none") == 2
    assert "runs/none is no run folder and no pipeline" in capsys.readouterr().err


def test_lab_serves_the_project_and_finds_the_programs_beside_python(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr(
        subprocess, "call", lambda command, **options: started.append((command, options)) or 0
    )
    assert call(monkeypatch, "lab", "--no-browser") == 0
    ((command, options),) = started
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert {f"--ServerApp.root_dir={project}", "--no-browser"} <= set(command)
    assert options["env"]["PATH"].startswith(f"{Path(sys.executable).parent}{os.pathsep}")

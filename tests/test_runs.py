import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.runs import project_root, resolve_path, show_path, write_json

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def other_process(project):
    """Start Python code in another process of the project; the code says "ready" and then waits."""
    started = []

    def start(code):
        process = subprocess.Popen(
            [sys.executable, "-c", f"{code}\nprint('ready', flush=True)\ninput()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=30)


def test_project_root_is_the_nearest_marked_parent(project):
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    assert project_root(inner) == project
    (project / "a" / "pyproject.toml").write_text("[tool.workbench]\n")
    assert project_root(inner) == project / "a"


def test_project_root_without_a_mark_is_the_start(project):
    (project / "workbench.toml").unlink()
    (project / "pyproject.toml").write_text("[project]\n")
    assert project_root(project) == project


def test_relative_path_starts_at_the_project_root(project, monkeypatch):
    monkeypatch.chdir(project / "notebooks")
    assert resolve_path("runs/one") == project / "runs/one"
    assert show_path(project / "runs/one") == "runs/one"
    assert show_path(Path("/elsewhere")) == "/elsewhere"


def test_finished_run_reads_back(project):
    run = wb.start_run("runs/one", parameters={"epochs": 3}, name="02_train_cnn")
    run.record(dataset={"name": "digits"}, model="cnn")
    run.record(dataset={"task": "image-classification"})
    run.finish(accuracy=np.float32(0.5), loss=2)
    record = wb.open_run("runs/one")
    assert (record.name, record.label, record.status) == ("02_train_cnn", "02_train_cnn", "finished")
    assert record.parameters == {"epochs": 3}
    assert record.metrics == {"accuracy": 0.5, "loss": 2.0}
    assert record.dataset == {"name": "digits", "task": "image-classification"}
    assert record.details["model"] == "cnn"
    assert [event["type"] for event in record.events()] == ["start", "end"]


def test_step_file_of_the_pipeline_gives_the_label():
    wb.start_run("runs/one", name="02_train_cnn")
    write_json(Path("runs/one/step.json"), {"label": "train seed=1", "pipeline": "quickstart"})
    record = wb.open_run("runs/one")
    assert record.label == "train seed=1"
    assert record.step["pipeline"] == "quickstart"


def test_provenance_names_code_packages_and_machine():
    run = wb.start_run("runs/one")
    provenance = run.details["provenance"]
    assert provenance["packages"]["keras"]
    assert provenance["backend"] in ("tensorflow", "jax", "torch")
    assert provenance["machine"]["cores"] == os.cpu_count()
    assert provenance["git"] is None


def test_tables_and_figures_read_back_by_name():
    run = wb.start_run("runs/one")
    table = pd.DataFrame({"class": ["a", "猫"], "f1": [0.5, 1.0]})
    run.save_table("per_class", table)
    run.save_figure("curves", go.Figure(go.Scatter(y=[1, 2])))
    record = wb.open_run("runs/one")
    pd.testing.assert_frame_equal(pd.read_csv(record.tables()["per_class"]), table)
    assert json.loads(record.figures()["curves"].read_text())["data"][0]["type"] == "scatter"


def test_nan_metrics_are_strings_in_the_file_and_floats_for_the_reader():
    wb.start_run("runs/one").finish(loss=math.nan, accuracy=0.1)
    text = Path("runs/one/run.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["metrics"]["loss"] == "NaN"
    assert math.isnan(wb.open_run("runs/one").metrics["loss"])


def test_finished_folder_is_never_opened_again():
    wb.start_run("runs/one").finish()
    before = {path.name: path.read_bytes() for path in Path("runs/one").iterdir()}
    with pytest.raises(WorkbenchError, match=r"holds a finished run.*\n.*another run_dir"):
        wb.start_run("runs/one")
    assert {path.name: path.read_bytes() for path in Path("runs/one").iterdir()} == before


@pytest.mark.parametrize(
    "write",
    [
        lambda run: run.record(model="cnn"),
        lambda run: run.save_table("t", pd.DataFrame()),
        lambda run: run.save_figure("f", go.Figure()),
        lambda run: run.finish(accuracy=1.0),
        lambda run: run.fail("late"),
    ],
)
def test_finished_run_refuses_further_writing(write):
    run = wb.start_run("runs/one")
    run.finish()
    with pytest.raises(WorkbenchError, match="finished"):
        write(run)
    assert [event["type"] for event in wb.open_run("runs/one").events()] == ["start", "end"]


def test_leaving_the_with_block_finishes_the_run():
    with wb.start_run("runs/one") as run:
        run.record(model="cnn")
    assert wb.open_run("runs/one").status == "finished"


def test_error_in_the_with_block_fails_the_run_and_is_not_swallowed():
    with pytest.raises(ZeroDivisionError), wb.start_run("runs/one"):
        _ = 1 / 0
    record = wb.open_run("runs/one")
    assert record.status == "failed"
    assert record.details["error"] == "ZeroDivisionError: division by zero"
    assert record.events()[-1]["status"] == "failed"


def test_error_that_names_a_file_not_in_utf8_is_kept():
    broken = b"caf\xe9.png".decode(errors="surrogateescape")
    wb.start_run("runs/one").fail(f"cannot read {broken}")
    assert wb.open_run("runs/one").details["error"] == f"cannot read {broken}"


def test_failed_run_may_be_opened_again_as_the_next_attempt():
    first = wb.start_run("runs/one")
    first.fail("out of memory")
    second = wb.start_run("runs/one")
    assert second.attempt == 2
    assert second.details["started"] == first.details["started"]
    second.finish()
    record = wb.open_run("runs/one")
    assert (record.status, record.details["attempt"]) == ("finished", 2)
    assert "error" not in record.details


def test_run_by_hand_gets_a_folder_under_scratch():
    run = wb.start_run(name="02 train/cnn", parameters={"seed": 1})
    assert run.path.parent == Path("runs/scratch").resolve()
    assert run.path.name.startswith("02-train-cnn-")


def test_unfinished_scratch_run_of_the_same_parameters_is_reopened():
    first = wb.start_run(name="nb", parameters={"seed": 1})
    second = wb.start_run(name="nb", parameters={"seed": 1})
    assert (second.path, second.attempt) == (first.path, 2)


@pytest.mark.parametrize(
    ("name", "parameters"), [("nb", {"seed": 2}), ("nb-2", {"seed": 1}), ("n", {"seed": 1})]
)
def test_scratch_run_of_another_notebook_or_parameters_is_not_reopened(name, parameters):
    first = wb.start_run(name="nb", parameters={"seed": 1})
    assert wb.start_run(name=name, parameters=parameters).path != first.path


def test_finished_scratch_run_is_not_reopened():
    first = wb.start_run(name="nb")
    first.finish()
    assert wb.start_run(name="nb").path != first.path


def test_folder_that_another_process_writes_is_refused(other_process):
    process = other_process("import workbench as wb; wb.start_run('runs/one')")
    assert process.stdout.readline() == "ready\n"
    with pytest.raises(WorkbenchError, match=f"being written by process {process.pid}"):
        wb.start_run("runs/one")


def test_scratch_run_that_another_process_writes_is_left_alone(other_process):
    process = other_process("import workbench as wb; print(wb.start_run(name='nb').path)")
    theirs = Path(process.stdout.readline().strip())
    assert wb.start_run(name="nb").path != theirs


def test_folder_of_a_killed_process_is_opened_again(other_process):
    process = other_process("import workbench as wb; wb.start_run('runs/one')")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    assert wb.open_run("runs/one").status == "running"
    assert wb.start_run("runs/one").attempt == 2


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_killed_process_that_nobody_waited_for_does_not_hold_its_folder(other_process):
    process = other_process("import workbench as wb; wb.start_run('runs/one')")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while not Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].startswith(" Z"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert wb.start_run("runs/one").attempt == 2


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("pass", "The process ended before run.finish()."),
        ("raise ValueError('too few')", "ValueError: too few"),
        ("import os\nif os.fork() == 0:\n    raise SystemExit\nos.wait()\nrun.finish()", None),
        ("run = wb.start_run('runs/one')\nrun.finish()", None),
    ],
)
def test_run_that_its_process_left_open_has_failed(project, code, error):
    script = f"import workbench as wb\nold = run = wb.start_run('runs/one')\n{code}"
    subprocess.run([sys.executable, "-c", script], cwd=project, stderr=subprocess.DEVNULL, timeout=60)
    run = wb.open_run("runs/one")
    assert (run.status, run.details.get("error")) == ("failed" if error else "finished", error)


def test_process_number_that_was_given_to_another_process_does_not_hold_the_folder(other_process):
    process = other_process("")
    assert process.stdout.readline() == "ready\n"
    run = wb.start_run("runs/one")
    run.record(process=run.details["process"] | {"pid": process.pid})
    assert wb.start_run("runs/one").attempt == 2


def test_of_processes_that_open_a_folder_at_once_one_gets_it(project):
    code = """
import time, sys
import workbench as wb
from workbench.errors import WorkbenchError
import workbench.runs
def collect_late(root):  # all have begun to open the folder when the first one claims it
    time.sleep(max(0, float(sys.argv[1]) - time.time()))
workbench.runs.collect_provenance = collect_late
try:
    wb.start_run("runs/one")
    print("got it", flush=True)
except WorkbenchError:
    print("refused", flush=True)
input()
"""
    at = str(time.time() + 2)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, at],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(6)
    ]  # fmt: skip
    said = [process.stdout.readline().strip() for process in processes]
    for process in processes:
        process.communicate("\n", timeout=30)
    assert sorted(said) == ["got it", *["refused"] * 5]


def test_reader_never_sees_a_part_of_a_file_that_is_replaced(project):
    path = project / "value.json"
    write_json(path, {"n": -1})
    code = """
import sys
from pathlib import Path
from workbench.runs import write_json
for n in range(100):
    write_json(Path(sys.argv[1]), {"n": n, "padding": "x" * 20000})
"""
    writer = subprocess.Popen([sys.executable, "-c", code, path])
    seen = []
    while writer.poll() is None:
        seen.append(json.loads(path.read_text())["n"])
    assert seen == sorted(seen)
    assert json.loads(path.read_text())["n"] == 99
    assert [entry.name for entry in project.glob(".value*")] == []


def test_opening_what_is_no_run_says_how_to_find_one(project):
    (project / "runs/empty").mkdir(parents=True)
    with pytest.raises(WorkbenchError, match=r"No run in runs/empty.*\n.*Give the path"):
        wb.open_run("runs/empty")


def test_runs_are_found_oldest_first():
    for number, stamp in ((1, "2026-01-02"), (2, "2026-01-01")):
        run = wb.start_run(f"runs/p/step-{number}", name=f"n{number}")
        run.record(started=f"{stamp}T00:00:00+00:00")
        run.finish()
    assert [run.name for run in wb.find_runs()] == ["n2", "n1"]


def test_run_folder_can_be_moved_and_read():
    wb.start_run("runs/one").finish(accuracy=1.0)
    shutil.move("runs/one", "elsewhere")
    assert wb.open_run("elsewhere").metrics == {"accuracy": 1.0}

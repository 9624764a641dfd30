"""Pipelines: what is refused before anything runs, what runs, and what stays."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from waiting import is_alive, wait_until

from workbench.cli import main
from workbench.errors import WorkbenchError
from workbench.pipelines import load_pipeline, plan_pipeline, run_pipeline
from workbench.pipelines.notebooks import read_notebook
from workbench.pipelines.source import normalize_code
from workbench.pipelines.spec import resolve_parameters
from workbench.runs import open_run

Writer = Callable[..., Path]

PARAMETERS = """
amount: int = 1  # how much
rate: float = 0.5
source: str = ""
sources: list = []
run_dir: str = ""
"""
RECORD = """
import workbench as wb
with wb.start_run(run_dir, parameters=dict(amount=amount, source=source, sources=sources)) as run:
    run.finish(result=amount * 2)
"""


@pytest.fixture
def pair(write_notebook: Writer, write_pipeline: Writer) -> Path:
    """A pipeline of a matrix step and a step that takes all of its runs."""
    write_notebook("work.ipynb", PARAMETERS, RECORD)
    return write_pipeline(
        {
            "title": "A pair",
            "steps": {
                "collect": {"notebook": "notebooks/work.ipynb", "parameters": {"sources": "${make}"}},
                "make": {"notebook": "notebooks/work.ipynb", "matrix": {"amount": [1, 2]}},
            },
        }
    )


def run_workbench(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workbench", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_parameters_cell_is_read_with_types_and_defaults(write_notebook: Writer) -> None:
    notebook = read_notebook(write_notebook("n.ipynb", PARAMETERS + "\nplain = True", "print(1)"))
    found = {name: (item.type, item.default) for name, item in notebook.parameters.items()}
    assert found == {
        "amount": ("int", 1),
        "rate": ("float", 0.5),
        "source": ("str", ""),
        "sources": ("list", []),
        "run_dir": ("str", ""),
        "plain": ("bool", True),
    }
    assert notebook.code == ("print(1)",)


@pytest.mark.parametrize("line", ["path: Path = 'x'", "n: int = 'three'", "n = compute()", "n: int = 1 +"])
def test_parameter_that_papermill_cannot_set_is_refused(write_notebook: Writer, line: str) -> None:
    with pytest.raises(WorkbenchError, match=r"n\.ipynb"):
        read_notebook(write_notebook("n.ipynb", line))


def test_comments_spacing_and_quotes_do_not_change_normalized_code() -> None:
    assert normalize_code("a = 'x'  # why\n\nb=1") == normalize_code('a = "x"\nb = 1\n')
    assert normalize_code("a = 1") != normalize_code("a = 2")
    assert normalize_code("%time a\nb=1") == normalize_code("%time a\nb = 1  # why")
    assert normalize_code("%time a") != normalize_code("%time b")
    assert normalize_code("%%bash\nls ~") == "%%bash\nls ~"


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("steps: [", "not valid YAML"),
        ("- a list", "no mapping"),
        ({"title": "x"}, "has no steps"),
        ({"stepz": {}, "steps": {"a": {}}}, "Did you mean 'steps'"),
        (
            {"steps": {"a": {"notebook": "notebooks/wrok.ipynb"}}},
            r"no notebook .*wrok\.ipynb(.|\n)*work\.ipynb",
        ),
        ({"steps": {"a": {"parameters": {}}}}, "names no notebook"),
        ({"steps": {"a b": {"notebook": "notebooks/work.ipynb"}}}, "no usable name"),
        ({"steps": {"a": {"notebook": "notebooks/work.ipynb", "when": 1}}}, "Unknown key 'when'"),
        (
            {"steps": {"a": {"notebook": "notebooks/work.ipynb", "parameters": {"amuont": 1}}}},
            "Did you mean 'amount'",
        ),
        (
            {"steps": {"a": {"notebook": "notebooks/work.ipynb", "parameters": {"amount": "ten"}}}},
            "declares it as int",
        ),
        (
            {"steps": {"a": {"notebook": "notebooks/work.ipynb", "parameters": {"amount": True}}}},
            "declares it as int",
        ),
        (
            {"steps": {"a": {"notebook": "notebooks/work.ipynb", "parameters": {"run_dir": "x"}}}},
            "for you to set",
        ),
        ({"parameters": {"colour": 1}, "steps": {"a": {"notebook": "notebooks/work.ipynb"}}}, "'colour'"),
        (
            {"steps": {"a": {"notebook": "notebooks/work.ipynb", "parameters": {"source": "${b}"}}}},
            "no such step",
        ),
        (
            {
                "steps": {
                    "a": {"notebook": "notebooks/work.ipynb", "parameters": {"source": "${b}"}},
                    "b": {"notebook": "notebooks/work.ipynb", "parameters": {"source": "${a}"}},
                }
            },
            "circle: (a → b → a|b → a → b)",
        ),
        (
            {
                "steps": {
                    "a": {"notebook": "notebooks/work.ipynb", "matrix": {"amount": [1, 2]}},
                    "b": {"notebook": "notebooks/work.ipynb", "parameters": {"source": "run:${a}"}},
                }
            },
            "stands for 2 runs",
        ),
        ({"steps": {"a": {"notebook": "notebooks/work.ipynb", "matrix": {"amount": []}}}}, "at least one"),
        ({"steps": {"a": {"notebook": "notebooks/work.ipynb", "matrix": {"amount": [1, 1]}}}}, "twice"),
        ({"steps": {"a": {"notebook": "notebooks/work.ipynb", "threads": 0}}}, "whole number"),
        ({"steps": {"a": {"notebook": "notebooks/work.ipynb", "deterministic": 1}}}, "true or false"),
    ],
)
def test_run_of_a_bad_pipeline_ends_with_status_2_and_one_message(
    write_notebook: Writer,
    write_pipeline: Writer,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    pipeline: object,
    message: str,
) -> None:
    write_notebook("work.ipynb", PARAMETERS, RECORD)
    write_pipeline(pipeline)
    monkeypatch.setattr(sys, "argv", ["workbench", "run", "small"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert re.search(f"^Error: (.|\n)*{message}", capsys.readouterr().err)
    assert not (project / "runs").exists()


@pytest.mark.parametrize(
    "call",
    ["run nowhere", "run small -p amuont=1", "run small -p x", "status small --loud", "fly", "data none"],
)
def test_bad_call_ends_with_status_2_without_a_traceback(pair: Path, project: Path, call: str) -> None:
    done = run_workbench(*call.split(), folder=project)
    assert done.returncode == 2
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
    assert not (project / "runs").exists()


def test_debug_shows_the_traceback(project: Path) -> None:
    assert "Traceback" in run_workbench("run", "nowhere", "--debug", folder=project).stderr


def test_steps_are_ordered_by_their_references(pair: Path) -> None:
    labels = [step.label for step in load_pipeline(pair).steps]
    assert labels == ["make[amount=1]", "make[amount=2]", "collect"]


def test_override_replaces_literals_but_no_references(write_notebook: Writer, write_pipeline: Writer) -> None:
    write_notebook("work.ipynb", PARAMETERS, RECORD)
    steps = {
        "a": {"notebook": "notebooks/work.ipynb", "parameters": {"source": "x"}},
        "b": {"notebook": "notebooks/work.ipynb", "parameters": {"source": "run:${a}"}},
    }
    loaded = load_pipeline(write_pipeline({"steps": steps}), {"source": "y", "rate": "1e-3"})
    assert [step.parameters["source"] for step in loaded.steps] == ["y", "run:${a}"]
    assert loaded.steps[0].parameters["rate"] == 0.001


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"amount": "3"}, "varied by a matrix"),
        ({"rate": "fast"}, "declares float"),
        ({"colour": "red"}, "no effect"),
    ],
)
def test_override_without_effect_is_refused(pair: Path, overrides: dict[str, str], message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        load_pipeline(pair, overrides)


def test_references_become_run_folders(write_notebook: Writer, write_pipeline: Writer) -> None:
    write_notebook("work.ipynb", PARAMETERS, RECORD)
    steps = {
        "a": {"notebook": "notebooks/work.ipynb", "matrix": {"amount": [1, 2]}},
        "b": {
            "notebook": "notebooks/work.ipynb",
            "parameters": {"source": "run:${a[amount=2]}", "sources": ["${a}", "else"]},
        },
    }
    step = load_pipeline(write_pipeline({"steps": steps})).steps[-1]
    folders = {"a": ["r/1", "r/2"], "a[amount=2]": ["r/2"]}
    resolved = resolve_parameters(step, folders)
    assert resolved["source"] == "run:r/2"
    assert resolved["sources"] == ["r/1", "r/2", "else"]


def test_pipeline_runs_once_and_only_what_changed_runs_again(
    pair: Path, write_pipeline: Writer, project: Path
) -> None:
    first = run_pipeline(load_pipeline(pair))
    assert [step.state for step in first.steps] == ["done", "done", "done"]
    collected = open_run(first.steps[-1].folder)
    assert collected.parameters["sources"] == [
        str(step.folder.relative_to(project)) for step in first.steps[:2]
    ]
    assert open_run(first.steps[1].folder).metrics == {"result": 4.0}
    assert collected.step is not None
    assert collected.step["fingerprint"] == first.steps[-1].fingerprint

    again = run_pipeline(load_pipeline(pair))
    assert [step.state for step in again.steps] == ["fresh", "fresh", "fresh"]

    written = json.loads(pair.read_text())
    written["steps"]["make"]["matrix"]["amount"] = [1, 3]
    planned = plan_pipeline(load_pipeline(write_pipeline(written)))
    assert [step.state for step in planned.steps] == ["fresh", "pending", "pending"]


def test_status_names_the_changed_parameter(write_notebook: Writer, write_pipeline: Writer) -> None:
    write_notebook("work.ipynb", PARAMETERS, RECORD)
    pipeline = {"steps": {"a": {"notebook": "notebooks/work.ipynb"}}}
    run_pipeline(load_pipeline(write_pipeline(pipeline)))
    pipeline["steps"]["a"]["parameters"] = {"amount": 7}
    (step,) = plan_pipeline(load_pipeline(write_pipeline(pipeline))).steps
    assert step.reason == "parameter amount 1 → 7"
    write_notebook("work.ipynb", PARAMETERS, RECORD + "\nprint('more')")
    (step,) = plan_pipeline(load_pipeline(write_pipeline(pipeline))).steps
    assert step.reason == "the notebook's code changed; parameter amount 1 → 7"


def test_failed_step_stops_what_needs_it_and_the_rest_goes_on(
    write_notebook: Writer, write_pipeline: Writer, project: Path
) -> None:
    write_notebook("work.ipynb", PARAMETERS, RECORD)
    write_notebook("broken.ipynb", PARAMETERS, "print('so far')\nvalue = 1 / (amount - 1)")
    steps = {
        "broken": {"notebook": "notebooks/broken.ipynb"},
        "after": {"notebook": "notebooks/work.ipynb", "parameters": {"source": "${broken}"}},
        "apart": {"notebook": "notebooks/work.ipynb"},
    }
    write_pipeline({"steps": steps})
    done = run_workbench("run", "small", folder=project)
    assert done.returncode == 1
    assert "\r" not in done.stdout
    assert "value = 1 / (amount - 1)" in done.stderr
    assert "ZeroDivisionError: division by zero" in done.stderr
    assert "so far" in done.stderr
    state = json.loads((project / "runs/small/state.json").read_text())["steps"]
    assert {label: entry["state"] for label, entry in state.items()} == {
        "broken": "failed",
        "after": "skipped",
        "apart": "done",
    }
    executed = nbformat.read(project / state["broken"]["run"] / "executed.ipynb", as_version=4)
    kinds = [output.output_type for cell in executed.cells for output in cell.get("outputs", [])]
    assert kinds == ["stream", "error"]


def test_killed_kernel_fails_its_step_and_nothing_else(
    write_notebook: Writer, write_pipeline: Writer
) -> None:
    write_notebook("dies.ipynb", "n: int = 1", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    state = run_pipeline(
        load_pipeline(write_pipeline({"steps": {"a": {"notebook": "notebooks/dies.ipynb"}}}))
    )
    assert state.steps[0].state == "failed"
    assert "kernel died" in state.steps[0].failure.error
    assert "SIGKILL" in state.steps[0].failure.source


def test_notebook_that_never_finishes_its_run_fails(write_notebook: Writer, write_pipeline: Writer) -> None:
    write_notebook("forgets.ipynb", PARAMETERS, "pass")
    pipeline = write_pipeline({"steps": {"a": {"notebook": "notebooks/forgets.ipynb"}}})
    (step,) = run_pipeline(load_pipeline(pipeline)).steps
    assert step.state == "failed"
    assert "run.finish()" in step.failure.error


def test_plain_notebook_without_a_run_is_a_step_too(write_notebook: Writer, write_pipeline: Writer) -> None:
    write_notebook("plain.ipynb", "n: int = 1", "n + 1")
    pipeline = write_pipeline({"steps": {"a": {"notebook": "notebooks/plain.ipynb"}}})
    assert run_pipeline(load_pipeline(pipeline)).steps[0].state == "done"
    assert run_pipeline(load_pipeline(pipeline)).steps[0].state == "fresh"


def test_damaged_run_folder_is_kept_and_made_again(write_notebook: Writer, write_pipeline: Writer) -> None:
    write_notebook("work.ipynb", PARAMETERS, RECORD)
    pipeline = write_pipeline({"steps": {"a": {"notebook": "notebooks/work.ipynb"}}})
    (step,) = run_pipeline(load_pipeline(pipeline)).steps
    (step.folder / "executed.ipynb").unlink()
    (planned,) = plan_pipeline(load_pipeline(pipeline)).steps
    assert planned.reason == f"executed.ipynb is gone in {step.folder.name}"
    assert planned.folder != step.folder  # a finished folder is never opened for writing again
    assert run_pipeline(load_pipeline(pipeline)).steps[0].state == "done"


def test_step_runs_with_the_threads_of_the_pipeline(write_notebook: Writer, write_pipeline: Writer) -> None:
    check = "import os\nassert os.environ['OMP_NUM_THREADS'] == '1'"
    write_notebook("work.ipynb", PARAMETERS, check, RECORD)
    pipeline = write_pipeline({"threads": 1, "steps": {"a": {"notebook": "notebooks/work.ipynb"}}})
    (step,) = run_pipeline(load_pipeline(pipeline)).steps
    assert step.state == "done"
    assert open_run(step.folder).details["provenance"]["threads"]["OMP_NUM_THREADS"] == "1"


def test_steps_are_deterministic_unless_the_pipeline_or_the_step_says_otherwise(
    write_notebook: Writer, write_pipeline: Writer
) -> None:
    write_notebook("work.ipynb", PARAMETERS, RECORD)
    for settings, expected in (({}, True), ({"deterministic": False}, False)):
        step = {"notebook": "notebooks/work.ipynb"}
        pipeline = write_pipeline({**settings, "steps": {"a": step, "b": step | {"deterministic": True}}})
        runs = [open_run(step.folder) for step in run_pipeline(load_pipeline(pipeline)).steps]
        assert [run.details["provenance"]["deterministic"] for run in runs] == [expected, True]


def test_ctrl_c_ends_the_kernel_saves_the_notebook_and_exits_130(
    write_notebook: Writer, write_pipeline: Writer, project: Path
) -> None:
    waiting = "import os, pathlib, time\nprint('waiting', flush=True)\n"
    waiting += "pathlib.Path('../kernel.pid').write_text(str(os.getpid()))\ntime.sleep(600)"
    write_notebook("waits.ipynb", "n: int = 1", waiting)
    write_pipeline({"steps": {"a": {"notebook": "notebooks/waits.ipynb"}}})
    runner = subprocess.Popen(
        [sys.executable, "-m", "workbench", "run", "small"], cwd=project, stderr=subprocess.PIPE, text=True
    )
    pid_file = project / "kernel.pid"
    wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")
    runner.send_signal(signal.SIGINT)
    _, stderr = runner.communicate(timeout=60)
    assert runner.returncode == 130
    assert "Traceback" not in stderr
    wait_until(lambda: not is_alive(int(pid_file.read_text())))
    state = json.loads((project / "runs/small/state.json").read_text())["steps"]["a"]
    assert state["state"] == "interrupted"
    assert "waiting" in (project / state["run"] / "executed.ipynb").read_text()

"""Several steps at once, which ones, in which order, and what is told of them."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

import workbench as wb
from workbench.cli import main
from workbench.errors import WorkbenchError
from workbench.pipelines import capacity as machine
from workbench.pipelines import find_removable, load_pipeline, plan_pipeline, remove_runs, run_pipeline
from workbench.pipelines.capacity import Capacity, Demand, list_devices, step_environment
from workbench.pipelines.estimate import estimate_seconds
from workbench.pipelines.saving import NotebookSaver

Writer = Callable[..., Path]
GIB = 2**30
PARAMETERS = 'amount: int = 1\nsize: list = []\nsources: list = []\nrun_dir: str = ""'
RECORD = """
import os
import workbench as wb
with wb.start_run(run_dir, parameters=dict(amount=amount, sources=sources)) as run:
    run.finish(result=amount, threads=int(os.environ["OMP_NUM_THREADS"]))
"""


@pytest.fixture
def write_steps(write_notebook: Writer, write_pipeline: Writer) -> Callable[..., None]:
    """Write the pipeline `small` of steps that all run one notebook."""
    write_notebook("work.ipynb", PARAMETERS, RECORD)

    def write(**steps: dict[str, object]) -> None:
        entries = {name: {"notebook": "notebooks/work.ipynb", **entry} for name, entry in steps.items()}
        write_pipeline({"threads": 1, "steps": entries})

    return write


def labels(selectors: list[str]) -> list[str]:
    pipeline = load_pipeline("small")
    chosen = pipeline.select(selectors)
    return [step.label for step in pipeline.steps if step.label in chosen]


def test_matrix_takes_products_names_and_lists(write_steps: Callable[..., None]) -> None:
    write_steps(
        product={"matrix": {"amount": [1, 2], "size": {"small": [32], "large": [64]}}},
        listed={"matrix": [{"amount": 3, "size": [8]}, {"amount": 5, "size": [9]}]},
        few={"parameters": {"sources": "${product[size=large]}"}},
        all={"parameters": {"sources": ["${listed}", "${product[amount=1,size=small]}"]}},
    )
    steps = {step.label: step for step in load_pipeline("small").steps}
    assert list(steps)[:4] == [
        f"product[amount={amount},size={size}]" for amount in (1, 2) for size in ("small", "large")
    ]
    assert steps["product[amount=2,size=small]"].parameters["size"] == [32]
    assert list(steps)[4:6] == ["listed[amount=3,size=[8]]", "listed[amount=5,size=[9]]"]
    assert steps["few"].needs == ("product[amount=1,size=large]", "product[amount=2,size=large]")
    assert steps["all"].needs == (*list(steps)[4:6], "product[amount=1,size=small]")
    assert labels(["product[amount=2]", "listed"]) == [*list(steps)[2:6]]


@pytest.mark.parametrize(
    "matrix", [[], {"amount": 3}, [{"amount": 1}, {"size": [1]}], "amount", [{"amount": 1}] * 2]
)
def test_matrix_that_cannot_be_meant_is_refused(write_steps: Callable[..., None], matrix: object) -> None:
    write_steps(a={"matrix": matrix or {"amount": []}})
    with pytest.raises(WorkbenchError, match="matrix"):
        load_pipeline("small")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"timeout": 0}, "Give seconds"),
        ({"timeout": True}, "Give seconds"),
        ({"retries": -1}, "from 0 up"),
        ({"env": {"A": [1]}}, "texts or numbers"),
        ({"env": "A=1"}, "as a mapping"),
    ],
)
def test_setting_that_cannot_work_is_refused(
    write_steps: Callable[..., None], setting: dict[str, object], message: str
) -> None:
    write_steps(a=setting)
    with pytest.raises(WorkbenchError, match=message):
        load_pipeline("small")


def test_selector_of_no_step_is_refused_with_the_names(write_steps: Callable[..., None]) -> None:
    write_steps(train={"matrix": {"amount": [1, 2]}})
    for selector in ("trian", "train[amount=3]", "train[", "train[]"):
        with pytest.raises(WorkbenchError, match="Its steps are train"):
            labels([selector])


def test_until_and_force_run_what_they_name_and_what_that_needs(write_steps: Callable[..., None]) -> None:
    write_steps(
        a={},
        b={"parameters": {"sources": ["${a}"]}, "matrix": {"amount": [1, 2]}},
        c={"parameters": {"sources": "${b}"}},
    )
    state = run_pipeline("small", until=["b[amount=2]"])
    assert {step.label: step.state for step in state.steps} == {
        "a": "done",
        "b[amount=1]": "pending",
        "b[amount=2]": "done",
        "c": "pending",
    }
    forced = run_pipeline("small", until=["b[amount=2]"], force=["b[amount=2]"])
    assert [forced[label].state for label in ("a", "b[amount=2]")] == ["fresh", "done"]
    assert forced["b[amount=2]"].folder == Path(f"{state['b[amount=2]'].folder}-2")
    with pytest.raises(KeyError, match="there are a, b"):
        forced["d"]


def test_steps_run_at_once_and_give_what_they_give_one_after_the_other(
    write_notebook: Writer, write_pipeline: Writer, project: Path
) -> None:
    meet = """
        import pathlib, time
        import numpy as np
        pathlib.Path(f"here-{amount}").touch()
        end = time.monotonic() + 60
        while not alone and len(list(pathlib.Path().glob("here-*"))) < 2:
            assert time.monotonic() < end, "the other does not come"
            time.sleep(0.05)
        x = np.random.default_rng(amount).normal(size=(200, 200))
        import workbench as wb
        with wb.start_run(run_dir, parameters=dict(amount=amount)) as run:
            np.save(run.artifacts / "product.npy", x @ x)
        """
    import textwrap

    write_notebook("meet.ipynb", PARAMETERS + "\nalone: bool = False", textwrap.dedent(meet))
    steps = {"meet": {"notebook": "notebooks/meet.ipynb", "matrix": {"amount": [1, 2]}}}
    write_pipeline({"threads": 1, "steps": steps})
    together = run_pipeline("small", jobs=2)
    assert [step.state for step in together.steps] == ["done", "done"]
    alone = run_pipeline("small", jobs=1, parameters={"alone": True})
    assert [step.output for step in alone.steps] == [step.output for step in together.steps]
    state = json.loads((alone.folder / "state.json").read_text())
    assert state["overrides"] == {"alone": "true"}  # what a report repeats behind -p


def test_same_work_is_done_once_for_two_steps(write_steps: Callable[..., None], project: Path) -> None:
    write_steps(a={}, b={}, c={"parameters": {"sources": ["${a}", "${b}"]}})
    state = run_pipeline("small", jobs=3)
    assert [step.state for step in state.steps] == ["done", "fresh", "done"]
    assert state["a"].folder == state["b"].folder
    assert len(list((project / "runs/small").glob("*/run.json"))) == 2
    assert plan_pipeline(load_pipeline("small"))["b"].describe("stale") == "fresh: the same work as a"


def test_run_by_hand_is_never_taken_for_a_pipelines_run(write_steps: Callable[..., None]) -> None:
    write_steps(a={})
    (planned,) = plan_pipeline(load_pipeline("small")).steps
    with wb.start_run(planned.folder, parameters={"amount": 1}) as run:
        run.finish(result=99)
    (step,) = run_pipeline("small").steps
    assert step.state == "done"
    assert step.folder != run.path
    assert step.metrics()["result"] == 1


def test_threads_are_those_of_the_step_however_many_run(write_steps: Callable[..., None]) -> None:
    write_steps(a={"threads": 1}, b={"threads": 2})
    state = run_pipeline("small", jobs=2)
    assert [step.metrics()["threads"] for step in state.steps] == [1, 2]


def test_capacity_counts_threads_and_memory_unless_the_call_says_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "count_cores", lambda: 4)
    monkeypatch.setattr(machine, "free_memory", lambda: 3 * GIB)
    capacity = Capacity(None)
    assert capacity.admits(Demand(8, 100 * GIB), [])  # alone, whatever it takes
    assert capacity.admits(Demand(2, GIB), [Demand(2, GIB)])
    assert not capacity.admits(Demand(3, GIB), [Demand(2, GIB)])
    assert not capacity.admits(Demand(1, GIB), [Demand(1, 3 * GIB)])
    assert capacity.admits(Demand(1, GIB), [Demand(1, 3 * GIB, used=2 * GIB)])
    assert Capacity(2).admits(Demand(8, 100 * GIB), [Demand(8, GIB)])
    assert not Capacity(2).admits(Demand(1, 1), [Demand(1, 1)] * 2)


def test_each_gpu_serves_one_step_that_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert list_devices() == ["0", "3"]
    capacity = Capacity(4)
    first = capacity.free_device({"tensorflow": "2"}, [])
    assert first == "0"
    assert capacity.free_device({"numpy": "2"}, [Demand(1, 1, device="0")]) == ""
    assert capacity.free_device({"torch": "2"}, [Demand(1, 1, device="0")]) == "3"
    assert capacity.free_device({"torch": "2"}, [Demand(1, 1, device=name) for name in "03"]) is None
    assert step_environment(1, "3")["CUDA_VISIBLE_DEVICES"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in step_environment(1, "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert list_devices() == []


def test_time_left_follows_the_longest_chain_or_the_work_shared_out(write_steps: Callable[..., None]) -> None:
    write_steps(a={}, b={"parameters": {"sources": ["${a}"]}}, c={"parameters": {"amount": 2}})
    state = plan_pipeline(load_pipeline("small"))
    assert estimate_seconds(state) is None  # nothing has run yet
    for step, seconds in zip(state.steps, (10.0, 20.0, 50.0), strict=True):
        step.expected = seconds
    assert estimate_seconds(state) == 80.0
    for step in state.steps:
        step.state = "running" if step.label in "ac" else "pending"
    state["a"].seconds = 4.0
    assert estimate_seconds(state) == 50.0
    state["c"].state = "done"
    assert estimate_seconds(state) == 26.0


def test_json_log_tells_every_change_and_ends_with_the_status(
    write_notebook: Writer, write_pipeline: Writer, project: Path
) -> None:
    write_notebook("work.ipynb", PARAMETERS, RECORD)
    write_notebook("broken.ipynb", PARAMETERS, "print('so far')\n1 / 0")
    steps = {
        "good": {"notebook": "notebooks/work.ipynb"},
        "broken": {"notebook": "notebooks/broken.ipynb"},
        "after": {"notebook": "notebooks/work.ipynb", "parameters": {"sources": ["${broken}"]}},
    }
    write_pipeline({"steps": steps})
    command = [sys.executable, "-m", "workbench", "run", "small", "--log-format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == events[-1]["status"] == 1
    assert events[-1]["states"] == {"done": 1, "failed": 1, "skipped": 1}
    states = {
        label: [e["state"] for e in events if e.get("step") == label and e["event"] == "step"]
        for label in steps
    }
    assert states == {
        "good": ["pending", "running", "done"],
        "broken": ["pending", "running", "failed"],
        "after": ["pending", "skipped"],
    }
    (failed,) = [event["error"] for event in events if event.get("state") == "failed"]
    assert (failed["cell"], failed["error"], failed["output"]) == (
        3,  # after the parameters and those that papermill put in
        "ZeroDivisionError: division by zero",
        "so far",
    )
    assert {event["of"]["type"] for event in events if event["event"] == "training"} == {"start", "end"}
    assert [event["path"] for event in events if event["event"] == "report"] == ["reports/small.html"]


def test_failure_ends_with_the_command_that_opens_the_notebook(
    write_notebook: Writer,
    write_pipeline: Writer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_notebook("broken.ipynb", PARAMETERS, "1 / 0")
    write_pipeline({"steps": {"a": {"notebook": "notebooks/broken.ipynb", "parameters": {"amount": 7}}}})
    monkeypatch.setattr(sys, "argv", ["workbench", "run", "small"])
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().err
    executed = told.partition("workbench lab '")[2].partition("'")[0]
    cells = nbformat.read(executed, as_version=4).cells
    assert any(
        "amount = 7" in cell.source
        for cell in cells
        if "injected-parameters" in cell.metadata.get("tags", [])
    )


def test_saver_bounds_its_share_and_saves_what_came_during_a_rest(tmp_path: Path) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.5  # each look at the clock takes half a second, so a save does
        return now

    saver = NotebookSaver(nbformat.v4.new_notebook(), tmp_path / "n.ipynb", clock)
    saver.note_change()
    saves, began = 1, now
    while now < began + 200:
        before = saver.spent
        saver._timer = None  # of the event loop, which does not run here
        saver.note_change()
        saves += saver.spent > before
    saver.save()  # at the end
    assert saver.spent / now <= 0.05
    assert saves >= 10
    assert nbformat.read(tmp_path / "n.ipynb", as_version=4) == nbformat.v4.new_notebook()


def test_executed_notebook_is_saved_while_a_cell_runs(
    write_notebook: Writer, write_pipeline: Writer, project: Path
) -> None:
    wait = "import pathlib, time\nprint('printed, then silent', flush=True)\n"
    wait += "while not pathlib.Path('go').exists():\n    time.sleep(0.05)"
    write_notebook("waits.ipynb", "n: int = 1", "x = 1", wait)
    write_pipeline({"steps": {"a": {"notebook": "notebooks/waits.ipynb"}}})
    seen = []

    def watch(state: object) -> None:
        executed = next((project / "runs").glob("*/*/executed.ipynb"), None)
        printed = executed is not None and "printed, then silent" in json.dumps(
            [cell.get("outputs") for cell in json.loads(executed.read_text())["cells"]]
        )
        if printed and not seen:
            seen.append(time.monotonic())
            (project / "notebooks/go").touch()

    assert run_pipeline("small", watch=watch).steps[0].state == "done"
    assert seen


def test_clean_removes_what_nothing_refers_to_and_nothing_else(
    write_steps: Callable[..., None], project: Path
) -> None:
    write_steps(a={}, b={"parameters": {"sources": ["${a}"]}})
    first = run_pipeline("small")
    write_steps(a={"parameters": {"amount": 2}}, b={"parameters": {"sources": ["${a}"]}})
    second = run_pipeline("small")
    with wb.start_run("runs/scratch/named") as run:
        run.finish()
    with wb.start_run("runs/scratch/by-hand") as run:
        (run.artifacts / "big.bin").write_bytes(bytes(2**20))
    (project / "reports").mkdir()
    (project / "reports/old.html").write_text('<a href="../runs/scratch/named/run.json">')
    unfinished = wb.start_run("runs/scratch/alive")
    found = find_removable()
    gone = {step.folder for step in first.steps}
    assert {project / item.path for item in found} == {*gone, project / "runs/scratch/by-hand"}
    assert next(item.size for item in found if "by-hand" in item.path) >= 2**20
    assert remove_runs(found) == 3
    assert all(step.folder.is_dir() for step in second.steps)
    assert not any(folder.exists() for folder in gone)
    assert unfinished.path.is_dir()
    assert find_removable() == []


def test_clean_shows_what_and_how_much_and_asks_first(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with wb.start_run("runs/scratch/one") as run:
        run.finish()
    for arguments, removed in (["--dry-run"], False), (["--yes"], True):
        monkeypatch.setattr(sys, "argv", ["workbench", "clean", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        assert "runs/scratch/one  (run by hand)" in capsys.readouterr().out
        assert run.path.exists() != removed


def test_saying_that_nothing_changed_loads_nothing_that_runs_notebooks(
    write_steps: Callable[..., None],
) -> None:
    write_steps(a={})
    subprocess.run([sys.executable, "-m", "workbench", "run", "small"], check=True, timeout=300)
    heavy = (
        "jupyter_client",
        "nbformat",
        "numpy",
        "pandas",
        "papermill",
        "plotly",
        "rich",
        "workbench.reports",
    )
    script = f"""
import sys
from workbench.cli import main
sys.argv[1:] = ["run", "small"]
try:
    main()
finally:
    print("loaded", [name for name in {heavy} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert "nothing to do, 1 step is fresh" in done.stdout
    assert "loaded []" in done.stdout

"""Two runners, left-over kernels and locks, damaged folders, hung notebooks, clocks and disks."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from disturbance import finished, is_gone, kernels, results, run, start_runner
from waiting import wait_until

from workbench.pipelines import load_pipeline, plan_pipeline, run_pipeline
from workbench.pipelines.failure import TIMEOUT

Writer = Callable[..., Path]
DONE = {"first", "middle[amount=3]", "middle[amount=4]", "middle[amount=5]", "last"}


def test_second_runner_waits_says_for_whom_and_finds_everything_done(counting: Path) -> None:
    first = start_runner(counting)
    wait_until(lambda: bool(kernels(counting)))
    code, said = run(counting, "run", "small", "--cold")
    assert first.communicate(timeout=300)[0] == ""
    assert (first.returncode, code) == (0, 0)
    assert f"being run by process {first.pid}" in said
    assert "started" not in said
    assert len(finished(counting)) == len(DONE)


@pytest.mark.parametrize("cold", [True, False], ids=["cold", "warm"])
def test_kernel_that_outlives_its_runner_is_ended_before_its_step_starts_again(
    counting: Path, cold: bool
) -> None:
    runner = start_runner(counting, cold)
    wait_until(lambda: bool(kernels(counting)))
    (orphan,) = kernels(counting)
    os.kill(orphan, signal.SIGSTOP)  # a kernel notices the loss of its parent, unless it cannot
    runner.kill()
    runner.communicate()
    assert not is_gone(orphan)
    assert run_pipeline("small", cold=True).is_settled
    assert results(counting).keys() == DONE
    assert is_gone(orphan)


def test_lock_of_a_dead_process_holds_nobody_up(counting: Path) -> None:
    folder = counting / "runs/small"
    folder.mkdir(parents=True)
    (folder / "lock").write_text('{"pid": 1, "host": "elsewhere", "since": "long ago"}')
    assert run_pipeline("small", until=["first"])["first"].state == "done"


def test_damaged_folders_are_noticed_and_only_their_steps_run_again(done: Path) -> None:
    undisturbed = results(done)
    folder = {step.label: step.folder for step in plan_pipeline(load_pipeline("small")).steps}
    shutil.rmtree(folder["middle[amount=3]"])
    (folder["middle[amount=4]"] / "artifacts/counted.txt").write_text("12")
    (folder["middle[amount=5]"] / "run.json").write_text('{"name": "cut sho')
    planned = plan_pipeline(load_pipeline("small"))
    assert [step.state for step in planned.steps] == ["fresh", *["pending"] * 4]
    assert planned["middle[amount=3]"].reason == "its run folder is gone"
    assert planned["middle[amount=4]"].reason.startswith("artifacts/counted.txt was changed")
    assert planned["middle[amount=5]"].reason.startswith("run.json was changed")
    again = run_pipeline("small")
    assert [step.state for step in again.steps] == ["fresh", "done", "done", "done", "fresh"]
    assert results(done) == undisturbed


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "artifacts/counted.txt").unlink(), "artifacts/counted.txt is gone"),
        (lambda folder: (folder / "step.json").write_text('{"layout": 2, "ste'), "its run folder is gone"),
        (lambda folder: (folder / "executed.ipynb").write_text(""), "executed.ipynb is empty"),
    ],
    ids=["artifact removed", "step.json cut", "notebook emptied"],
)
def test_damage_is_named(done: Path, damage: Callable[[Path], None], reason: str) -> None:
    damage(plan_pipeline(load_pipeline("small"))["last"].folder)
    planned = plan_pipeline(load_pipeline("small"))
    assert [step.state for step in planned.steps] == [*["fresh"] * 4, "pending"]
    assert planned["last"].reason.startswith(reason)


def test_copied_project_is_as_fresh_as_the_original(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("workbench.toml", "notebooks", "pipelines", "runs"):
        source = done / name
        shutil.copytree(source, copy / name, copy_function=shutil.copyfile) if source.is_dir() else (
            copy / name
        ).touch()
    monkeypatch.chdir(copy)
    assert plan_pipeline(load_pipeline("small")).is_settled


def test_notebook_that_hangs_is_ended_by_its_timeout_though_it_ignores_interrupts(
    write_notebook: Writer, write_pipeline: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.pipelines import execution

    monkeypatch.setattr(execution, "PATIENCE", 1.0)
    hang = (
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('hangs')\ntime.sleep(600)"
    )
    write_notebook("hangs.ipynb", "n: int = 1", hang)
    write_pipeline({"steps": {"a": {"notebook": "notebooks/hangs.ipynb", "timeout": 6}}})
    (step,) = run_pipeline("small").steps
    assert step.state == "failed"
    assert step.failure.kind == TIMEOUT
    assert "Timed out after 6 s" in step.failure.error
    assert step.failure.output == "hangs"


def test_kernel_that_dies_is_tried_again_as_often_as_the_step_says(
    project: Path, write_notebook: Writer, write_pipeline: Writer
) -> None:
    die = "import os, pathlib\ntries = pathlib.Path('tries.txt')\n"
    die += "with tries.open('a') as file:\n    file.write('x')\n"
    die += "if len(tries.read_text()) < 3:\n    os.kill(os.getpid(), 9)"
    write_notebook("dies.ipynb", "n: int = 1", die)
    write_notebook("raises.ipynb", "n: int = 1", die.replace("os.kill(os.getpid(), 9)", "raise ValueError"))
    steps = {name: {"notebook": f"notebooks/{name}.ipynb", "retries": 2} for name in ("dies", "raises")}
    write_pipeline({"steps": steps})
    state = run_pipeline("small", until=["dies"])
    assert (state["dies"].state, state["dies"].attempt) == ("done", 3)
    (project / "notebooks/tries.txt").unlink()
    state = run_pipeline("small")
    assert (state["raises"].state, state["raises"].attempt) == ("failed", 1)


def test_clock_that_jumps_back_changes_nothing(counting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    jumps = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: real() - 3600 * next(jumps))
    state = run_pipeline("small")
    assert {step.state for step in state.steps} == {"done"}
    assert all(0 < step.seconds < 300 for step in state.steps)
    assert run_pipeline("small").is_settled
    forced = run_pipeline("small", force=["first"])
    assert [step.state for step in forced.steps] == ["done", "fresh", "fresh", "fresh", "fresh"]
    assert plan_pipeline(load_pipeline("small"))["first"].folder == forced["first"].folder  # the later one


def may_mount() -> bool:
    """Tell whether a process may mount in a name space of its own."""
    return subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0


def in_namespace(project: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    """Run shell lines with mounts of their own; `run` in them is `workbench run small`."""
    head = f'run() {{ "{sys.executable}" -m workbench run small --cold; echo "status $?"; }}'
    script = "\n".join([head, *lines])
    command = ["unshare", "-rm", "sh", "-c", script]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(not may_mount(), reason="needs a name space in which it may mount")
def test_full_disk_is_named_and_with_more_room_the_pipeline_goes_on(done: Path) -> None:
    undisturbed = results(done)
    shutil.rmtree(done / "runs")
    (done / "runs").mkdir()
    (done / "kept").mkdir()
    ended = in_namespace(
        done,
        "mount -t tmpfs -o size=48k none runs",
        "run",
        "mount -o remount,size=64m runs",
        "run",
        "cp -r runs kept",
    )
    _, _, second = ended.stdout.partition("status ")
    assert second.startswith(("1", "2")), ended.stdout
    assert "No space left on device" in ended.stderr
    assert "workbench clean" in ended.stderr
    assert 'Traceback (most recent call last):\n  File "<frozen' not in ended.stderr
    assert second.endswith("status 0\n"), ended.stdout
    shutil.rmtree(done / "runs")
    shutil.move(done / "kept/runs", done / "runs")
    assert results(done) == undisturbed


def test_files_that_may_not_grow_are_named(counting: Path) -> None:
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); "
    script = limit + "from workbench.cli import main; sys.argv[1:] = ['run', 'small', '--cold']; main()"
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=counting, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode in (1, 2)
    assert "File too large" in ended.stderr
    assert "workbench clean" in ended.stderr
    assert run_pipeline("small").is_settled


@pytest.mark.skipif(not may_mount(), reason="needs a name space in which it may mount")
def test_read_only_runs_can_be_looked_at_and_say_so_when_something_must_run(done: Path) -> None:
    ended = in_namespace(
        done,
        "mount --bind runs runs",
        "mount -o remount,ro,bind runs",
        f'"{sys.executable}" -m workbench status small',
        f'"{sys.executable}" -m workbench run small; echo "status $?"',
        "sed -i s/run.finish/1+run.finish/ notebooks/count.ipynb",
        "run",
    )
    assert ended.stdout.count("fresh") >= len(DONE)
    assert "status 0" in ended.stdout
    assert ended.stdout.endswith("status 2\n")
    assert "Read-only file system" in ended.stderr
    assert "Make runs/ writable" in ended.stderr
    assert "Traceback" not in ended.stderr

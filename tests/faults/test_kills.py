"""The runner and its kernels are killed at random moments; what comes of it is as if nothing had happened."""

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

from disturbance import finished, kernels, kill, results, start_runner

from workbench.pipelines import load_pipeline, plan_pipeline

LONGEST = 5.0  # seconds until a kill; an undisturbed run takes a little more


def test_runs_that_are_killed_at_random_end_as_if_nothing_had_happened(counting: Path, faults: int) -> None:
    assert ended(start_runner(counting)) == 0
    undisturbed = results(counting)
    assert undisturbed["last"][0] == 7 + 3 * sum(amount + 3 * 2 for amount in (3, 4, 5))
    choose = random.Random(faults)
    shutil.rmtree(counting / "runs")
    kills = 0
    while kills < faults:
        before = finished(counting)
        if killed(counting, choose):
            kills += 1
        after = finished(counting)
        assert before.items() <= after.items()  # nothing finished is lost, changed or run again
        if len(after) == len(undisturbed):  # it came through: begin anew
            check(counting, undisturbed)
            shutil.rmtree(counting / "runs")
    while ended(start_runner(counting)) == 1:  # a kernel that was killed last has failed its step
        pass
    check(counting, undisturbed)


def killed(project: Path, choose: random.Random) -> bool:
    """Start the pipeline and kill runner, kernels or both after a while; tell whether that hit."""
    runner = start_runner(project, cold=choose.random() < 0.5)
    moment = time.monotonic() + choose.uniform(0, LONGEST)
    while runner.poll() is None and time.monotonic() < moment:
        time.sleep(0.01)
    victims = choose.choice(["runner", "kernel", "both"])
    found = kernels(project)
    targets = found if victims != "runner" else []
    targets = [*targets[: None if victims == "both" else 1], *[runner.pid] * (victims != "kernel")]
    hit = runner.poll() is None and bool(targets)
    for pid in targets:
        kill(pid, signal.SIGKILL)
    assert ended(runner) in (0, 1, -signal.SIGKILL)
    return hit


def ended(runner: subprocess.Popen[str]) -> int:
    """Wait for a runner and return its exit status."""
    said, _ = runner.communicate(timeout=300)
    assert "Traceback" not in said, said
    return runner.returncode


def check(project: Path, undisturbed: dict[str, tuple[float, str]]) -> None:
    """Compare all results, and see that each step was finished once."""
    state = plan_pipeline(load_pipeline(project / "pipelines/small.yaml"))
    assert state.is_settled
    assert results(project) == undisturbed
    assert len(finished(project)) == len(undisturbed)

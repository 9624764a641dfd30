"""A training that is killed again and again ends with the bits of one that was left alone."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from workbench.events import read_events

HERE = Path(__file__).parent
MODELS = ("cnn", "vgg", "resnet", "transformer")
SIGKILL = -9


@pytest.fixture(scope="module")
def trainer() -> Iterator[subprocess.Popen]:
    """The process whose forks train."""
    with subprocess.Popen(
        [sys.executable, HERE / "training_process.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def train(trainer: subprocess.Popen, project: Path) -> Callable[..., int]:
    """Train in a process of its own and return how it ended."""

    def train(model: str, run_dir: str, kill: tuple[int, int] | None = None) -> int:
        result = str(project / f"{Path(run_dir).name}.npz")
        job = {"model": model, "run_dir": run_dir, "kill": kill, "project": str(project), "result": result}
        trainer.stdin.write(json.dumps(job) + "\n")
        trainer.stdin.flush()
        return int(trainer.stdout.readline())

    return train


def read_result(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    with np.load(path) as arrays:
        return dict(arrays), json.loads(path.with_suffix(".json").read_text())


@pytest.mark.parametrize("model", MODELS)
def test_killed_training_ends_with_the_bits_of_an_undisturbed_one(
    model: str, train: Callable[..., int], project: Path, request: pytest.FixtureRequest
) -> None:
    assert train(model, "runs/undisturbed") == 0
    arrays, history = read_result(project / "undisturbed.npz")
    kills = -(-request.config.getoption("--kills") // len(MODELS))
    batches = 25 * len(history["epoch"])  # that the training really has
    draw = random.Random(f"{model} {kills}")
    for number in range(kills):  # one in each part of the training, so that every attempt comes further
        batch = int((number + draw.random()) / kills * (batches - 8))
        assert train(model, "runs/killed", (batch, draw.randrange(40))) == SIGKILL
    assert train(model, "runs/killed") == 0
    killed_arrays, killed_history = read_result(project / "killed.npz")
    assert killed_history == history
    for name, value in arrays.items():
        np.testing.assert_array_equal(killed_arrays[name], value, err_msg=name)
    starts = [event for event in read_events(project / "runs/killed/events.jsonl") if event["type"] == "fit"]
    assert len(starts) == kills + 1
    assert any((event["initial_epoch"], event["initial_batch"]) > (0, 0) for event in starts)

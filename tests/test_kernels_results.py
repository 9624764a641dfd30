"""The shipped notebooks compute the same in warm and in cold kernels."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import workbench as wb
from workbench.errors import OfflineError
from workbench.kernels.status import read_nurseries
from workbench.pipelines import run_pipeline

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="warm kernels need Linux")

ROOT = Path(__file__).parents[1]
PIPELINE = """
title: The shipped notebooks on tiny data
threads: 1
steps:
  start: {notebook: notebooks/00_start_here.ipynb, parameters: {pipeline: ""}}
  prepare: {notebook: notebooks/01_prepare_data.ipynb, parameters: {dataset: digits, max_samples: 400}}
  train: {notebook: notebooks/02_train_cnn.ipynb, parameters: {dataset: "run:${prepare}", epochs: 2}}
  evaluate: {notebook: notebooks/04_evaluate.ipynb, parameters: {runs: ["${train}"]}}
"""
TEXTS = """\
  texts:
    notebook: notebooks/03_finetune_text.ipynb
    parameters: {max_samples: 60, epochs: 1, max_length: 16}
"""
SEED_DRAWS = """
import json, keras, numpy, random, tensorflow as tf
from tensorflow.python.eager import context
print(json.dumps([
    context._context is None or context._context._context_handle is None,
    float(tf.random.uniform(())), float(keras.random.uniform(())), random.random(), numpy.random.rand(),
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).get_weights()[0].item(),
]))
"""


@pytest.fixture(scope="module")
def workplaces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two projects with the same pipeline, run in warm and in cold kernels."""
    pipeline = PIPELINE
    try:
        wb.datasets.load_weights("minilm-l6")
        wb.load_dataset("reviews")
        pipeline += TEXTS
    except OfflineError:
        pass  # that notebook needs a package index once
    states = {}
    for name in ("warm", "cold"):
        folder = tmp_path_factory.mktemp(name)
        (folder / "workbench.toml").touch()
        shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns(".*"))
        (folder / "data").mkdir()
        shutil.copy(ROOT / "data/catalog.yaml", folder / "data")
        (folder / "data/cache").symlink_to(ROOT / "data/cache")
        (folder / "pipelines").mkdir()
        (folder / "pipelines/all.yaml").write_text(pipeline)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            states[name] = run_pipeline("all", jobs=1, cold=name == "cold")
    return states


def test_every_notebook_ran_and_the_warm_ones_were_forked(workplaces: dict[str, Any]) -> None:
    for state in workplaces.values():
        assert {step.label: step.failure for step in state.steps if step.state != "done"} == {}
    assert any("keras" in nursery.modules for nursery in read_nurseries())


def test_metrics_predictions_and_curves_are_equal(workplaces: dict[str, Any]) -> None:
    for warm, cold in zip(workplaces["warm"].steps, workplaces["cold"].steps, strict=True):
        runs = [wb.open_run(step.folder) for step in (warm, cold)]
        assert steady(runs[0].metrics) == steady(runs[1].metrics)
        assert curves(runs[0]) == curves(runs[1])
        if (runs[0].path / "artifacts/predictions.parquet").exists():
            first, second = (wb.read_predictions(run.path).probabilities for run in runs)
            np.testing.assert_array_equal(first, second)


def curves(run: Any) -> list[dict[str, float]]:
    return [steady(event["metrics"]) for event in run.events() if event["type"] == "epoch"]


def steady(metrics: dict[str, float]) -> dict[str, float]:
    """Return the metrics without those that tell a time."""
    return {name: value for name, value in metrics.items() if "second" not in name}


def test_unseeded_kernels_of_tensorflow_draw_different_numbers(
    workplaces: dict[str, Any], tmp_path: Path, start_kernel: Any
) -> None:
    (tmp_path / "workbench.toml").write_text("")  # the nursery of the notebooks
    draws = []
    for _ in range(2):
        kernel = start_kernel()
        assert kernel.value("'tensorflow' in __import__('sys').modules")
        untouched, *drawn = json.loads(kernel.run(SEED_DRAWS))
        assert untouched, "the nursery has run an operation"
        draws.append(drawn)
    assert all(first != second for first, second in zip(*draws, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_tensorflow_takes_the_threads_that_are_asked_for(
    workplaces: dict[str, Any], tmp_path: Path, start_kernel: Any, threads: int
) -> None:
    (tmp_path / "workbench.toml").write_text("")
    count = """
import os, tensorflow as tf
before = len(os.listdir("/proc/self/task"))
tf.matmul(tf.ones((500, 500)), tf.ones((500, 500)))
print(len(os.listdir("/proc/self/task")) - before)
"""
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    env = os.environ | dict.fromkeys(names, str(threads))
    warm, cold = (start_kernel(name, env=env).run(count) for name in ("workbench-warm", "python3"))
    assert warm == cold

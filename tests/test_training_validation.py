"""Which samples validated a training is recorded, and found out where they were those of the test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import workbench as wb
from workbench.datasets import Split
from workbench.datasets.identity import digest_samples
from workbench.evaluation import compare

NAMES = ("a", "b")


def make_split(part: str, samples: int = 40) -> Split:
    random = np.random.default_rng(len(part))
    inputs = {"x": random.normal(size=(samples, 3)).astype(np.float32)}
    ids = np.array([f"{part}/{number}" for number in range(samples)])
    return Split(inputs, {"label": random.integers(0, 2, samples)}, ids)


TRAIN, VAL, TEST = map(make_split, ("train", "val", "tests"))


def train(validation: Any) -> str:
    """Train a network whose penalty keeps the loss of a validation off that of the predictions."""
    run = wb.start_run("runs/one", parameters={"seed": 0}, name="train")
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(2, "softmax", kernel_regularizer=keras.regularizers.L2(0.1))
    model = keras.Sequential([keras.layers.Input((3,)), layer])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    batches = TRAIN.batches(8)
    own = wb.callbacks(run, batches=batches)
    model.fit(batches, epochs=2, verbose=0, validation_data=validation, callbacks=own)
    run.record(dataset={"name": "made", "fingerprint": "0" * 32}, model="cnn")
    wb.write_predictions(run, TEST, model.predict(TEST.x, verbose=0), NAMES)
    run.finish()
    return "runs/one"


@pytest.mark.parametrize(
    "wrap", [lambda batches: batches, lambda batches: batches.map(lambda x, y: (x, y)).prefetch(1)]
)
def test_batches_of_the_test_are_found_in_the_validation(project: Path, wrap: Callable[[Any], Any]) -> None:
    (verdict,) = compare([train(wrap(TEST.batches(8, shuffle=False)))], resamples=50)
    (finding,) = [each for each in verdict.findings if each.rule == "test_data_in_training"]
    assert finding.severity == "error"
    assert "the batches of the validation held its very samples" in finding.message


@pytest.mark.parametrize(
    "validation", [VAL.batches(8, shuffle=False), (VAL.x, VAL.y), None], ids=["batches", "arrays", "none"]
)
def test_another_validation_is_not_accused(project: Path, validation: Any) -> None:
    (verdict,) = compare([train(validation)], resamples=50)
    assert "test_data_in_training" not in [each.rule for each in verdict.findings]
    recorded = wb.open_run("runs/one").details.get("validated_on", {})
    assert set(recorded.values()) <= {len(VAL)}


def test_samples_are_told_by_ids_and_targets_in_any_order() -> None:
    ids, labels = np.array(["a", "b", "c"]), np.array([0, 1, 1])
    same = digest_samples(ids[::-1], labels[::-1].astype(np.float32))
    assert digest_samples(ids, labels) == same
    assert digest_samples(ids, 1 - labels) != same
    assert digest_samples(np.array(["a", "b", "d"]), labels) != same

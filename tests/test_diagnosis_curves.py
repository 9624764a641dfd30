"""Rules about curves: each provoked by a real small training, and silent in a healthy one."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits
from small_training import log_to

from workbench.errors import WorkbenchError
from workbench.events import EventLog, read_events
from workbench.training.diagnosis import Diagnosis, Thresholds, diagnose


@pytest.fixture(scope="module")
def digits():
    """Training and validation samples: 600 and 300 digits of 64 pixels between 0 and 1."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    return (x[:600], y[:600]), (x[600:900], y[600:900])


@pytest.fixture
def log(tmp_path):
    return EventLog(tmp_path / "events.jsonl")


def build(units=32, optimizer="adam", dropout=0.0, outputs=10):
    keras.utils.set_random_seed(0)
    hidden = [layers.Dense(units, "relu")] if units else []
    model = keras.Sequential(
        [layers.Input((64,)), *hidden, layers.Dropout(dropout)] if dropout else [layers.Input((64,)), *hidden]
    )
    model.add(layers.Dense(outputs, "softmax"))
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def fit(model, data, log, epochs, probe=None, **options):
    diagnosis = Diagnosis(log, probe)
    train, val = data
    callbacks = [*log_to(log), diagnosis]
    model.fit(*train, validation_data=val, epochs=epochs, callbacks=callbacks, verbose=0, **options)
    return {finding.rule: finding for finding in diagnosis.findings}


def test_healthy_training_has_no_finding(digits, log):
    assert fit(build(), digits, log, epochs=20) == {}
    assert diagnose(read_events(log.path)) == []


@pytest.fixture(scope="module")
def overfitted(digits, tmp_path_factory):
    """The log of a network that learns a hundred digits by heart, a quarter of them mislabelled."""
    (x, y), val = digits
    log = EventLog(tmp_path_factory.mktemp("overfitted") / "events.jsonl")
    wrong = np.where(np.arange(100) % 4 == 0, (y[:100] + 3) % 10, y[:100])
    fit(build(256, keras.optimizers.Adam(0.01)), ((x[:100], wrong), val), log, epochs=25)
    return read_events(log.path)


def test_network_that_learns_noise_by_heart_overfits(overfitted):
    found = [event for event in overfitted if event["type"] == "finding"][-1]
    assert (found["rule"], found["severity"]) == ("overfitting", "warning")
    epochs = [event["metrics"]["val_loss"] for event in overfitted if event["type"] == "epoch"]
    assert found["evidence"]["best_epoch"] == np.argmin(epochs[: found["epoch"] + 1])
    assert found["evidence"]["val_loss"] == epochs[found["epoch"]]


def test_labels_that_cannot_be_learned_underfit(digits, log):
    (x, _), val = digits
    labels = np.random.default_rng(0).integers(0, 10, len(x))
    found = fit(build(1, keras.optimizers.Adam(0.01)), ((x, labels), val), log, epochs=12)
    assert found["underfitting"].severity == "warning"
    assert found["underfitting"].evidence["baseline"] == pytest.approx(np.log(10))


def test_learning_rate_that_makes_the_loss_jump_is_too_high(digits, log):
    found = fit(build(optimizer=keras.optimizers.Adam(2.0)), digits, log, epochs=8)
    assert "learning_rate_too_high" in found


def test_diverging_regression_has_too_high_a_learning_rate(digits, log):
    (x, y), val = digits
    keras.utils.set_random_seed(0)
    model = keras.Sequential([layers.Input((64,)), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1046), "mse")
    found = fit(model, ((x, y), val), log, epochs=10)
    assert found["learning_rate_too_high"].severity == "error"
    assert "diverges" in found["learning_rate_too_high"].message


def test_loss_that_crawls_has_too_low_a_learning_rate(digits, log):
    found = fit(build(optimizer=keras.optimizers.SGD(0.0005)), digits, log, epochs=8)
    assert list(found) == ["learning_rate_too_low"]


def leaking(digits):
    """Validate with those training samples that are labelled well; the other half is labelled at random."""
    (x, y), _ = digits
    rng = np.random.default_rng(0)
    well = rng.random(len(y)) < 0.5
    return (x, np.where(well, y, rng.integers(0, 10, len(y)))), (x[well], y[well])


def test_validation_that_is_easier_from_the_start_is_suspected_of_a_leak(digits, log):
    found = fit(build(optimizer=keras.optimizers.Adam(0.01)), leaking(digits), log, epochs=6)
    assert list(found) == ["data_leak"]


def test_validation_that_is_better_because_of_dropout_is_no_leak(digits, log):
    model = build(optimizer=keras.optimizers.Adam(0.01), dropout=0.1)
    assert fit(model, leaking(digits), log, epochs=6) == {}


def test_log_alone_tells_what_the_callback_told_of_the_curves(overfitted):
    told = [(event["rule"], event["severity"]) for event in overfitted if event["type"] == "finding"]
    assert [(finding.rule, finding.severity) for finding in diagnose(overfitted)] == told


def test_threshold_that_is_never_reached_silences_a_rule(overfitted):
    assert diagnose(overfitted, Thresholds(rise=1e9, gap=1e9, multiple=1e9)) == []


def test_threshold_of_nothing_is_refused():
    with pytest.raises(WorkbenchError, match=r"threshold gap is 0.*above zero"):
        Thresholds(gap=0)


def test_resumed_training_is_judged_with_the_epochs_before(digits, log):
    model = build(optimizer=keras.optimizers.SGD(0.0005))
    assert fit(model, digits, log, epochs=5) == {}
    found = fit(model, digits, EventLog(log.path, attempt=2), epochs=6, initial_epoch=5)
    assert list(found) == ["learning_rate_too_low"]


def test_second_training_in_one_log_is_judged_by_itself(digits, log):
    fit(build(optimizer=keras.optimizers.SGD(0.0005)), digits, log, epochs=7)
    fit(build(), digits, log, epochs=3)
    assert diagnose(read_events(log.path)) == []

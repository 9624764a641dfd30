"""NaN and infinity: noticed at once, and traced to where they begin."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from small_training import log_to

from workbench.datasets.batches import Batches
from workbench.events import EventLog, read_events
from workbench.training.diagnosis import Diagnosis, diagnose

SAMPLES = 96


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, 4)).astype(np.float32)
    return x, x.sum(axis=1, keepdims=True)


@pytest.fixture
def log(tmp_path):
    return EventLog(tmp_path / "events.jsonl")


def build(*inner, optimizer="sgd", loss="mse", **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [layers.Input((4,)), layers.Dense(8, "tanh", name="first"), *inner, layers.Dense(1, name="last")]
    )
    model.compile(optimizer, loss, **options)
    return model


def fit(model, x, y, probe, log, epochs=1, **options):
    diagnosis = Diagnosis(log, probe)
    model.fit(
        x, y, epochs=epochs, batch_size=8, shuffle=False, verbose=0,
        callbacks=[*log_to(log, seconds=0), diagnosis], **options,
    )  # fmt: skip
    return {finding.rule: finding for finding in diagnosis.findings}


def test_nan_in_a_sample_is_traced_to_the_sample_and_the_batch(data, log):
    x, y = data
    x[19, 2] = np.nan
    found = fit(build(), x, y, {"train": (x, y)}, log)["nonfinite"]
    assert found.evidence["place"] == "inputs"
    assert found.evidence["samples"] == ["19"]
    assert "in batch 3 of epoch 1" in found.message  # batches of 8: the sample is in the third


def test_nan_in_an_execution_of_several_batches_names_the_window(data, log):
    x, y = data
    x[50, 2] = np.nan
    found = fit(build(steps_per_execution=4), x, y, {"train": (x, y)}, log)["nonfinite"]
    assert "in batches 5 to 8 of epoch 1" in found.message


@pytest.mark.parametrize("together", [1, 3])
def test_nan_in_shuffled_batches_is_traced_to_the_sample_in_its_batch(data, log, together):
    x, y = data
    x[50, 2] = np.nan
    batches = Batches({"x": x}, {"y": y}, 8, seed=3)
    plan = batches.plan(0)
    number = int(np.searchsorted(plan.ends, list(plan.rows).index(50), side="right"))  # counted from 1
    diagnosis = Diagnosis(log, batches=batches)
    build(steps_per_execution=together).fit(batches, verbose=0, callbacks=[diagnosis])
    (found,) = diagnosis.findings
    assert found.evidence["samples"] == ["50"]
    window = range(
        (number - 1) // together * together + 1, (number - 1) // together * together + together + 1
    )
    where = f"batch {number}" if together == 1 else f"batches {window[0]} to {window[-1]}"
    assert f"in {where} of epoch 1" in found.message
    assert f"of {8 * together} samples" in found.message


def test_nan_made_by_a_layer_is_traced_to_the_shuffled_batch(data, log):
    class Logarithm(layers.Layer):
        def call(self, x):
            return ops.log(x)

    x, y = data
    x = np.abs(x) + 1
    x[40] = -1.0
    batches = Batches({"x": x}, {"y": y}, 8, seed=5)
    plan = batches.plan(0)
    number = int(np.searchsorted(plan.ends, list(plan.rows).index(40), side="right"))
    model = keras.Sequential([layers.Input((4,)), Logarithm(name="logarithm"), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    diagnosis = Diagnosis(log, batches=batches)
    model.fit(batches, verbose=0, callbacks=[diagnosis])
    (found,) = diagnosis.findings
    assert found.evidence["layer"] == "logarithm"
    assert "40" in found.evidence["samples"]
    assert f"layer logarithm is the first that is not finite, in batch {number} (" in found.message


def test_nan_in_a_target_is_traced_to_the_sample(data, log):
    x, y = data
    y[30] = np.inf
    assert fit(build(), x, y, (x, y), log)["nonfinite"].evidence["samples"] == ["30"]


def test_nan_made_by_a_layer_is_traced_to_the_layer_and_the_batch(data, log):
    class Logarithm(layers.Layer):
        def call(self, x):
            return ops.log(x + 3)

    x, y = data
    x[40] = -100.0  # the sum of the features becomes -400, whose logarithm is NaN
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(1, kernel_initializer="ones", trainable=False),
            Logarithm(name="logarithm"),
            layers.Dense(1, name="last"),
        ]
    )
    model.compile("sgd", "mse")
    x = np.clip(x, -0.5, None)
    x[40] = -100.0
    found = fit(model, x, y, {"train": (x, y)}, log)["nonfinite"]
    assert (found.evidence["place"], found.evidence["layer"]) == ("layer", "logarithm")
    assert "40" in found.evidence["samples"]


def test_nan_made_by_the_slope_of_a_root_is_traced_to_the_gradient(data, log):
    x, y = data

    def loss(y_true, y_pred):
        return ops.sqrt(ops.square(y_pred - y_true) * 0.0)

    found = fit(build(loss=loss), x, y, (x, y), log)["nonfinite"]
    assert (found.evidence["place"], found.evidence["layer"]) == ("gradient", "last")


def test_nan_made_by_the_loss_is_traced_to_the_loss(data, log):
    x, y = data
    found = fit(build(loss=lambda y_true, y_pred: ops.log(y_pred - 100)), x, y, (x, y), log)["nonfinite"]
    assert found.evidence["place"] == "loss"


def test_weights_that_explode_are_told_when_the_samples_are_innocent(data, log):
    x, y = data
    model = build(layers.Dense(8), optimizer=keras.optimizers.SGD(100.0))
    found = fit(model, x, y, (x, y), log, epochs=3)["nonfinite"]
    assert found.severity == "error"
    assert found.evidence["replayed"] == SAMPLES
    assert not np.isfinite(np.concatenate([w.ravel() for w in model.get_weights()])).all()


def test_nan_in_validation_alone_is_told(data, log):
    x, y = data
    x_val = x.copy()
    x_val[3] = np.nan
    found = fit(build(), x, y, (x_val, y), log, validation_data=(x_val, y))["nonfinite"]
    assert found.message.startswith("Validation loss")
    assert found.evidence["samples"] == ["3"]


def test_weights_of_the_model_are_left_as_training_made_them(data, log):
    x, y = data
    options = {"optimizer": keras.optimizers.SGD(100.0)}
    seen = []
    for probe in (None, (x, y)):
        model = build(layers.Dense(8), **options | {"optimizer": keras.optimizers.SGD(100.0)})
        fit(model, x, y, probe, log, epochs=3)
        seen.append(model.get_weights())
    for ours, theirs in zip(*seen, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_without_a_probe_and_from_the_log_alone_nan_is_told_once(data, log):
    x, y = data
    x[19, 2] = np.nan
    found = fit(build(), x, y, None, log, epochs=3)
    assert list(found) == ["nonfinite"]
    assert [finding.rule for finding in diagnose(read_events(log.path))] == ["nonfinite"]


def test_finite_training_is_not_called_otherwise(data, log):
    x, y = data
    assert fit(build(), x, y, (x, y), log, epochs=5) == {}

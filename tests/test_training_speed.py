"""How a training is tuned to the machine: what is chosen, remembered, and left as it was."""

import json

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import workbench as wb
from workbench.training import machine_speed
from workbench.training.machine_speed import Speed

pytestmark = pytest.mark.usefixtures("project")


def make_batches(samples: int = 64, batch_size: int = 8):
    draw = np.random.default_rng(0)
    images = draw.integers(0, 255, (samples, 12, 12, 1), np.uint8)
    split = wb.Split(
        {"image": images}, {"label": draw.integers(0, 3, samples)}, np.arange(samples).astype(str)
    )
    return split.batches(batch_size)


def build() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = wb.build_model("cnn", (12, 12, 1), 3)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def long_training(monkeypatch):
    """Let any training be worth a probe, with made-up speeds, and return them with what was tried."""
    monkeypatch.setattr(machine_speed, "WORTH_A_PROBE", 0)
    monkeypatch.setattr(machine_speed, "PROBE_SHARE", 1e9)
    monkeypatch.setattr(machine_speed, "has_bfloat16_instructions", lambda: True)
    rates, tried = {}, []

    def tell(probe, speed):
        tried.append(speed.way)
        probe.rates[speed.way] = rates.get(speed.way, 100.0)
        return probe.rates[speed.way]

    monkeypatch.setattr(machine_speed._Probe, "_try", tell)
    return rates, tried


def test_short_training_is_not_probed_and_keeps_its_precision():
    model = build()
    speed = wb.tune_for_this_machine(model, make_batches(), epochs=2)
    assert (speed.precision, speed.jit_compile, dict(speed.rates)) == ("float32", False, {})
    assert str(speed) == "Trains in float32, 2 steps a call: the training is too short to look for more."
    assert model.steps_per_execution == 2


@pytest.mark.parametrize(
    ("measured", "chosen", "compiled"),
    [
        ({"bfloat16": 200.0}, "mixed_bfloat16", False),
        ({"bfloat16": 105.0}, "float32", False),
        ({"bfloat16": 200.0, "bfloat16, compiled by XLA": 300.0}, "mixed_bfloat16", True),
        ({"float32, compiled by XLA": 300.0}, "float32", True),
    ],
)
def test_fastest_way_is_chosen_if_it_is_worth_it(long_training, measured, chosen, compiled):
    long_training[0].update(measured)
    model = build()
    speed = wb.tune_for_this_machine(model, make_batches(), epochs=2)
    assert (speed.precision, speed.jit_compile) == (chosen, compiled)
    assert model.layers[1].compute_dtype == chosen.removeprefix("mixed_")
    assert model.layers[-1].compute_dtype == "float32"
    assert model.jit_compile == compiled


def test_choice_is_kept_for_the_next_training_and_recorded_in_the_run(long_training):
    rates, tried = long_training
    rates["bfloat16"] = 200.0
    run = wb.start_run("runs/one")
    first = wb.tune_for_this_machine(build(), make_batches(), epochs=2, run=run)
    tried.clear()
    rates["bfloat16"] = 50.0
    again = wb.start_run("runs/two")
    assert wb.tune_for_this_machine(build(), make_batches(), epochs=5, run=again) == first
    assert not tried
    assert wb.open_run("runs/two").details["speed"]["precision"] == "mixed_bfloat16"
    assert wb.tune_for_this_machine(build(), make_batches(batch_size=16), epochs=2) != first


def test_short_training_is_measured_once_and_a_longer_one_looks_for_more(long_training, monkeypatch):
    _, tried = long_training
    monkeypatch.setattr(machine_speed, "WORTH_A_PROBE", 1e6)
    monkeypatch.setattr(machine_speed, "SLOW", 1e-9)  # so that only measuring tells that it is short
    first = wb.tune_for_this_machine(build(), make_batches(), epochs=2)
    assert (dict(first.rates), tried) == ({"float32": 100.0}, ["float32"])
    assert wb.tune_for_this_machine(build(), make_batches(), epochs=3) == first
    assert tried == ["float32"]
    wb.tune_for_this_machine(build(), make_batches(), epochs=10**8)
    assert tried[1:3] == ["float32", "bfloat16"]


def test_training_that_is_done_again_takes_the_way_that_it_is_told(long_training, monkeypatch):
    told = {"precision": "mixed_bfloat16", "jit_compile": False, "steps_per_execution": 4, "why": "as before"}
    monkeypatch.setenv("WORKBENCH_SPEED", json.dumps(told))
    model = build()
    assert wb.tune_for_this_machine(model, make_batches(), epochs=2) == Speed(**told)
    assert model.layers[1].dtype_policy.name == "mixed_bfloat16"
    assert long_training[1] == []


def test_run_that_goes_on_trains_as_it_began(long_training):
    run = wb.start_run("runs/one")
    run.record(speed={"precision": "mixed_bfloat16", "jit_compile": False, "steps_per_execution": 4})
    again = wb.start_run("runs/one")
    assert wb.tune_for_this_machine(build(), make_batches(), 2, again).precision == "mixed_bfloat16"


def test_probe_measures_real_steps_and_leaves_the_model_as_it_was(monkeypatch):
    monkeypatch.setattr(machine_speed, "WORTH_A_PROBE", 0)
    monkeypatch.setattr(machine_speed, "_TIMED", 0.05)
    model, batches = build(), make_batches()
    before = model.get_weights()
    speed = wb.tune_for_this_machine(model, batches, epochs=2)
    assert speed.rates["float32"] > 10
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert int(model.optimizer.iterations) == 0
    reference = build()
    Speed(speed.precision, speed.jit_compile, speed.steps_per_execution).apply(reference)
    histories = [each.fit(batches, epochs=2, verbose=0).history for each in (model, reference) if each.built]
    assert histories[0].keys() == histories[1].keys()


def test_model_that_was_tuned_is_saved_and_predicts_the_same(tmp_path):
    model, batches = build(), make_batches()
    Speed("mixed_bfloat16", False, 2).apply(model)
    model.fit(batches, epochs=1, verbose=0)
    expected = model.predict(batches.inputs["image"], verbose=0)
    keras.Model(model.input, model.output).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(loaded.predict(batches.inputs["image"], verbose=0), expected)


def test_bfloat16_learns_as_well_as_float32():
    """Non-inferior within a point over three seeds on digits."""
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    train, test = (
        wb.Split(
            {"image": images[part]}, {"label": bunch.target[part]}, np.arange(len(images))[part].astype(str)
        )
        for part in (slice(0, 1200), slice(1200, None))
    )
    accuracies = {}
    for precision in ("float32", "mixed_bfloat16"):
        for seed in range(3):
            keras.utils.set_random_seed(seed)
            model = wb.build_model("vgg", (8, 8, 1), 10)
            model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
            Speed(precision, False, 8).apply(model)
            model.fit(train.batches(32, seed=seed), epochs=6, verbose=0)
            _, accuracy = model.evaluate(test.x, test.y, verbose=0)
            accuracies.setdefault(precision, []).append(accuracy)
    assert np.mean(accuracies["mixed_bfloat16"]) > np.mean(accuracies["float32"]) - 0.01

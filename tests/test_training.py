"""What a training tells of itself: its event log, Keras's history beside it, and its callbacks."""

import math
import time

import keras
import numpy as np
import pytest
from keras import layers
from small_training import BATCH, SAMPLES, assert_same_weights, build, fit, log_to, make_data, of_type

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.events import EventLog, read_events
from workbench.training import require_positive

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def data():
    return make_data()


@pytest.fixture
def log(tmp_path):
    return EventLog(tmp_path / "events.jsonl")


def test_epoch_events_hold_the_history_of_keras(data, log):
    history = fit(build(), data, log_to(log), epochs=3, validation_data=data)
    epochs = of_type(read_events(log.path), "epoch")
    assert [event["epoch"] for event in epochs] == [0, 1, 2]
    assert set(epochs[0]["metrics"]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    for name, values in history.history.items():
        assert [event["metrics"][name] for event in epochs] == values
    assert all(event["seconds"] > 0 for event in epochs)


def test_fit_and_fit_end_tell_what_was_planned_and_done(data, log):
    fit(build(), data, log_to(log), epochs=5, initial_epoch=2)
    events = read_events(log.path)
    assert (events[0]["type"], events[-1]["type"]) == ("fit", "fit_end")
    planned = {key: events[0][key] for key in ("epochs", "batches", "initial_epoch")}
    assert planned == {"epochs": 5, "batches": 9, "initial_epoch": 2}
    assert (events[-1]["epochs"], events[-1]["stopped"]) == (5, False)


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_step_metrics_are_means_over_the_batches_since_the_last_step(data, log, steps_per_execution):
    model = build(learning_rate=0.0, steps_per_execution=steps_per_execution)
    batches = [slice(start, start + BATCH) for start in range(0, SAMPLES, BATCH)]
    reference = [model.evaluate(data[0][b], data[1][b], verbose=0) for b in batches]
    fit(model, data, log_to(log, seconds=0), epochs=2)
    steps = of_type(read_events(log.path), "step")
    seen = list(range(steps_per_execution, 9, steps_per_execution))
    assert [(event["epoch"], event["step"]) for event in steps] == [
        (epoch, step) for epoch in (0, 1) for step in seen
    ]
    for event in steps:
        window = np.mean(reference[event["step"] - steps_per_execution : event["step"]], axis=0)
        measured = [event["metrics"]["loss"], event["metrics"]["accuracy"]]
        np.testing.assert_allclose(measured, window, rtol=1e-5, atol=1e-6)


def test_step_metric_that_is_no_mean_keeps_its_running_value(data, log):
    seen = []
    recorder = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: seen.append(logs))
    metrics = [keras.metrics.AUC(name="auc"), keras.metrics.RootMeanSquaredError(name="rmse")]
    fit(build(metrics=metrics), data, [*log_to(log, seconds=0), recorder])
    steps = of_type(read_events(log.path), "step")
    for event, running in zip(steps, seen, strict=False):
        assert event["metrics"]["auc"] == running["auc"]
        assert event["metrics"]["rmse"] == running["rmse"]
    assert steps[-1]["metrics"]["loss"] != seen[len(steps) - 1]["loss"]


def test_each_output_has_its_own_step_metrics(data, log):
    keras.utils.set_random_seed(0)
    x = layers.Input((4,))
    outputs = {name: layers.Dense(1, "sigmoid", name=name)(x) for name in ("left", "right")}
    model = keras.Model(x, outputs)
    loss = dict.fromkeys(outputs, "binary_crossentropy")
    model.compile(keras.optimizers.SGD(0.0), loss, metrics=dict.fromkeys(outputs, "accuracy"))
    targets = {"left": data[1], "right": 1 - data[1]}
    last = slice(BATCH, 2 * BATCH)
    reference = model.evaluate(
        data[0][last], {n: t[last] for n, t in targets.items()}, verbose=0, return_dict=True
    )
    fit(model, (data[0], targets), log_to(log, seconds=0))
    metrics = of_type(read_events(log.path), "step")[1]["metrics"]
    assert set(metrics) == set(reference)
    np.testing.assert_allclose(
        [metrics[n] for n in reference], list(reference.values()), rtol=1e-5, atol=1e-6
    )


def test_steps_come_at_most_twice_a_second(data, log):
    slow = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: time.sleep(0.02))
    started = time.monotonic()
    fit(build(), data, [slow, *log_to(log)], epochs=6)
    elapsed = time.monotonic() - started
    assert len(of_type(read_events(log.path), "step")) <= elapsed / 0.5 + 1


def test_loss_that_is_no_number_is_logged(data, log):
    fit(build(), (data[0], data[1] * np.nan), log_to(log, seconds=0))
    events = read_events(log.path)
    assert math.isnan(of_type(events, "step")[0]["metrics"]["loss"])
    assert math.isnan(of_type(events, "epoch")[0]["metrics"]["loss"])


def test_early_stopping_is_told_and_its_best_weights_are_kept(data):
    run = wb.start_run("runs/one")
    stopping = keras.callbacks.EarlyStopping("loss", mode="max", patience=2, restore_best_weights=True)
    model = build(steps_per_execution=4)
    fit(model, data, wb.callbacks(run, [stopping]), epochs=9)
    (ended,) = of_type(read_events(run.log.path), "fit_end")
    assert (ended["epochs"], ended["stopped"]) == (3, True)
    reference = build(steps_per_execution=4)
    fit(reference, data, [], epochs=1)
    assert_same_weights(model, reference)


def test_training_without_an_epoch_is_refused(data, log):
    with pytest.raises(WorkbenchError, match="0 epochs"):
        fit(build(), data, log_to(log), epochs=0)


def test_callbacks_can_be_used_for_a_second_training(data):
    run = wb.start_run("runs/one")
    callbacks = wb.callbacks(run)
    for _ in range(2):
        fit(build(), data, callbacks, epochs=2)
    events = read_events(run.log.path)
    assert [event["initial_epoch"] for event in of_type(events, "fit")] == [0, 0]
    assert [event["epoch"] for event in of_type(events, "epoch")] == [0, 1, 0, 1]


def test_epochs_tell_learning_rate_and_memory_by_step(data, log):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, decay_steps=9, decay_rate=0.1)
    fit(build(learning_rate=schedule), data, log_to(log, batch_size=BATCH, seconds=0), epochs=2)
    events = read_events(log.path)
    rates = [event["learning_rate"] for event in of_type(events, "epoch")]
    np.testing.assert_allclose(rates, [0.05, 0.005], rtol=1e-5)
    assert of_type(events, "fit")[0]["batch_size"] == BATCH
    assert all(event["memory"] > 2**20 for event in of_type(events, "step"))


@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_settings_that_are_not_positive_are_refused_by_name(value):
    require_positive(epochs=1, learning_rate=1e-6)
    with pytest.raises(WorkbenchError, match=f"batch_size is {value}.*\n.*above zero"):
        require_positive(epochs=1, batch_size=value)


def test_direction_of_early_stopping_is_logged(data, log):
    stopping = keras.callbacks.EarlyStopping("accuracy", patience=9)
    fit(build(), data, [stopping, *log_to(log, early_stopping=stopping)], epochs=2)
    assert [event["mode"] for event in of_type(read_events(log.path), "epoch")] == ["max", "max"]


def test_tensorboard_reads_what_was_written_on_request(data):
    from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    run = wb.start_run("runs/one")
    history = fit(build(), data, wb.callbacks(run, tensorboard=True), epochs=3)
    (folder,) = {path.parent for path in run.path.rglob("events.out.tfevents.*") if "train" in path.parts}
    accumulated = EventAccumulator(str(folder), {TENSORS: 0}).Reload()
    written = [float(make_ndarray(event.tensor_proto)) for event in accumulated.Tensors("epoch_loss")]
    np.testing.assert_allclose(written, history.history["loss"], rtol=1e-6)


def test_nothing_is_written_for_tensorboard_without_being_asked(data):
    run = wb.start_run("runs/one")
    fit(build(), data, wb.callbacks(run), epochs=1)
    assert not (run.path / "tensorboard").exists()

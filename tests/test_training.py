import math
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from keras import layers
from safetensors.numpy import load_file

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.events import EventLog, read_events
from workbench.training import Checkpoint, EventLogger, require_positive

pytestmark = pytest.mark.usefixtures("project")

SAMPLES, BATCH = 70, 8  # 9 batches, the last one of 6 samples


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(SAMPLES, 4)).astype(np.float32), rng.integers(0, 2, SAMPLES)


@pytest.fixture
def log(tmp_path):
    return EventLog(tmp_path / "events.jsonl")


@pytest.fixture
def eager_checkpoints(monkeypatch):
    """Save a checkpoint whenever one may be saved, however young the last one is."""
    monkeypatch.setattr("workbench.training.checkpoint.SHARE", 0)


def build(learning_rate=0.01, metrics=("accuracy",), seed=0, units=8, **options):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([layers.Input((4,)), layers.Dense(units, "relu"), layers.Dense(1, "sigmoid")])
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="binary_crossentropy",
        metrics=list(metrics),
        **options,
    )
    return model


def fit(model, data, callbacks, epochs=1, **options):
    return model.fit(
        *data, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks, **options
    )


def of_type(events, kind):
    return [event for event in events if event["type"] == kind]


class Crash(keras.callbacks.Callback):
    """Raises in the middle of an epoch, like a crash that leaves the process alive."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def assert_same_weights(model, other):
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_epoch_events_hold_the_history_of_keras(data, log):
    history = fit(build(), data, [EventLogger(log)], epochs=3, validation_data=data)
    epochs = of_type(read_events(log.path), "epoch")
    assert [event["epoch"] for event in epochs] == [0, 1, 2]
    assert set(epochs[0]["metrics"]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    for name, values in history.history.items():
        assert [event["metrics"][name] for event in epochs] == values
    assert all(event["seconds"] > 0 for event in epochs)


def test_fit_and_fit_end_tell_what_was_planned_and_done(data, log):
    fit(build(), data, [EventLogger(log)], epochs=5, initial_epoch=2)
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
    fit(model, data, [EventLogger(log, seconds=0)], epochs=2)
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
    fit(build(metrics=metrics), data, [EventLogger(log, seconds=0), recorder])
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
    fit(model, (data[0], targets), [EventLogger(log, seconds=0)])
    metrics = of_type(read_events(log.path), "step")[1]["metrics"]
    assert set(metrics) == set(reference)
    np.testing.assert_allclose(
        [metrics[n] for n in reference], list(reference.values()), rtol=1e-5, atol=1e-6
    )


def test_steps_come_at_most_twice_a_second(data, log):
    slow = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: time.sleep(0.02))
    started = time.monotonic()
    fit(build(), data, [slow, EventLogger(log)], epochs=6)
    elapsed = time.monotonic() - started
    assert len(of_type(read_events(log.path), "step")) <= elapsed / 0.5 + 1


def test_loss_that_is_no_number_is_logged(data, log):
    fit(build(), (data[0], data[1] * np.nan), [EventLogger(log, seconds=0)])
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
        fit(build(), data, [EventLogger(log)], epochs=0)


def test_callbacks_can_be_used_for_a_second_training(data):
    run = wb.start_run("runs/one")
    callbacks = wb.callbacks(run)
    for _ in range(2):
        fit(build(), data, callbacks, epochs=2)
    events = read_events(run.log.path)
    assert [event["initial_epoch"] for event in of_type(events, "fit")] == [0, 0]
    assert [event["epoch"] for event in of_type(events, "epoch")] == [0, 1, 0, 1]


@pytest.mark.parametrize("options", [{}, {"steps_per_execution": 4}, {"jit_compile": True}])
@pytest.mark.usefixtures("eager_checkpoints")
def test_interrupted_training_ends_with_the_weights_and_history_of_one_that_was_not(data, options):
    reference = build(**options)
    undisturbed = fit(reference, data, [], epochs=5)
    run = wb.start_run("runs/one")
    with pytest.raises(KeyboardInterrupt):
        fit(build(**options), data, wb.callbacks(run, [Crash(epoch=3)]), epochs=5)
    again = wb.start_run("runs/one")
    model = build(seed=1, **options)
    history = fit(model, data, wb.callbacks(again), epochs=5)
    assert history.history == undisturbed.history
    assert history.epoch == undisturbed.epoch
    assert_same_weights(model, reference)
    epochs = of_type(read_events(run.log.path), "epoch")
    assert [(event["epoch"], event["attempt"]) for event in epochs] == [
        (0, 1), (1, 1), (2, 1), (3, 2), (4, 2),
    ]  # fmt: skip


def test_killed_training_goes_on_in_another_process(data):
    code = """
import os, signal, sys
import keras, numpy as np
import workbench as wb
sys.path.insert(0, sys.argv[1])
from test_training import build, fit
class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (2, 4):
            os.kill(os.getpid(), signal.SIGKILL)
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
rng = np.random.default_rng(0)
data = np.load("data.npz")
fit(build(), (data["x"], data["y"]), wb.callbacks(wb.start_run("runs/one"), [Kill()]), epochs=4)
"""
    np.savez("data.npz", x=data[0], y=data[1])
    here = __file__.rpartition("/")[0]
    killed = subprocess.run([sys.executable, "-c", code, here], capture_output=True, timeout=120)
    assert killed.returncode == -9, killed.stderr
    run = wb.start_run("runs/one")
    model = build(seed=1)
    history = fit(model, data, wb.callbacks(run), epochs=4)
    reference = build()
    assert history.history == fit(reference, data, [], epochs=4).history
    assert_same_weights(model, reference)
    assert of_type(read_events(run.log.path), "fit")[-1]["initial_epoch"] > 0
    run.finish()
    assert not (run.path / "checkpoint").exists()


def checkpoints(run):
    return sorted(run.path.glob("checkpoint/fit-01/epoch-*"))


def resumed_at(run):
    """Return epoch and batch at which the last training went on."""
    started = of_type(read_events(run.log.path), "fit")[-1]
    return started["initial_epoch"], started["initial_batch"]


@pytest.mark.usefixtures("eager_checkpoints")
def test_crash_while_a_checkpoint_is_written_leaves_the_one_before(data):
    run = wb.start_run("runs/one")
    with pytest.raises(KeyboardInterrupt):
        fit(build(), data, wb.callbacks(run, [Crash(epoch=2)]), epochs=3)
    newest = checkpoints(run)[-1]
    newest.with_name("unfinished").write_bytes(newest.read_bytes()[:100])
    fit(build(), data, wb.callbacks(run), epochs=3)
    assert resumed_at(run) == (2, 0)


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:-9] + bytes(9)])
@pytest.mark.usefixtures("eager_checkpoints")
def test_damaged_checkpoint_is_passed_over_for_the_one_before_and_the_log_says_so(data, damage):
    run = wb.start_run("runs/one")
    with pytest.raises(KeyboardInterrupt):
        fit(build(), data, wb.callbacks(run, [Crash(epoch=2)]), epochs=3)
    newest = checkpoints(run)[-1]
    newest.write_bytes(damage(newest.read_bytes()))
    model, reference = build(seed=1), build()
    fit(model, data, wb.callbacks(run), epochs=3)
    assert resumed_at(run) == (1, 0)
    (finding,) = of_type(read_events(run.log.path), "finding")
    assert finding["rule"] == "checkpoint_damaged"
    assert newest.name in finding["message"]
    fit(reference, data, [], epochs=3)
    assert_same_weights(model, reference)


@pytest.mark.usefixtures("eager_checkpoints")
def test_training_that_had_ended_is_not_repeated_when_its_run_goes_on(data):
    run = wb.start_run("runs/one")
    reference = build()
    history = fit(reference, data, wb.callbacks(run), epochs=2)
    again = wb.start_run("runs/one")
    model = build(seed=1)
    assert fit(model, data, wb.callbacks(again), epochs=2).history == history.history
    assert_same_weights(model, reference)
    assert [event["type"] for event in read_events(run.log.path) if event["attempt"] == 2] == [
        "start", "fit", "fit_end",
    ]  # fmt: skip


@pytest.mark.usefixtures("eager_checkpoints")
def test_model_that_was_resumed_can_be_trained_from_the_start_again(data):
    run, model = wb.start_run("runs/one"), build()
    with pytest.raises(KeyboardInterrupt):
        fit(model, data, wb.callbacks(run, [Crash(epoch=2)]), epochs=3)
    fit(model, data, wb.callbacks(run), epochs=3)
    fit(model, data, wb.callbacks(run), epochs=3)
    starts = [event["initial_epoch"] for event in of_type(read_events(run.log.path), "fit")]
    assert starts == [0, 2, 0]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"units": 5}, "model"),
        ({"learning_rate": 0.02}, "compile"),
        ({"metrics": ("accuracy", "mse")}, "compile"),
        ({"jit_compile": True}, "compile"),
    ],
)
@pytest.mark.usefixtures("eager_checkpoints")
def test_checkpoint_of_another_training_is_not_gone_on_from_and_the_log_says_why(data, change, part):
    run = wb.start_run("runs/one")
    with pytest.raises(KeyboardInterrupt):
        fit(build(), data, wb.callbacks(run, [Crash(epoch=1)]), epochs=2)
    model, reference = build(**change), build(**change)
    fit(model, data, wb.callbacks(run), epochs=2)
    assert resumed_at(run) == (0, 0)
    (finding,) = of_type(read_events(run.log.path), "finding")
    assert finding["rule"] == "checkpoint_unfit"
    assert f"other {part}" in finding["message"]
    fit(reference, data, [], epochs=2)
    assert_same_weights(model, reference)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
@pytest.mark.usefixtures("eager_checkpoints")
def test_checkpoint_of_a_model_in_low_precision_is_restored_to_the_bit(data, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model, copy = build(), build(seed=1)
    finally:
        keras.config.set_dtype_policy("float32")
    run = wb.start_run("runs/one")
    with pytest.raises(KeyboardInterrupt):
        fit(model, data, [Checkpoint(run), Crash(epoch=1)], epochs=2)
    resumed = Checkpoint(run)
    resumed.set_model(copy)
    resumed.set_params({"epochs": 2, "steps": 9})
    resumed.on_train_begin()
    assert resumed.start.epoch == 1
    assert_same_weights(copy, model)


def test_best_epoch_can_be_restored_whether_or_not_it_was_saved(data):
    checkpoint = Checkpoint(wb.start_run("runs/one"))
    model = build()
    kept = {}

    def remember(epoch, logs):
        kept[epoch] = (logs["loss"], model.get_weights())
        model.optimizer.learning_rate = 3.0  # from now on it gets worse

    watcher = keras.callbacks.LambdaCallback(on_epoch_end=remember)
    end = keras.callbacks.LambdaCallback(
        on_train_end=lambda _: kept.update(restored=checkpoint.restore_best())
    )
    fit(model, data, [watcher, end, checkpoint], epochs=4)
    restored = kept.pop("restored")
    assert restored == min(kept, key=lambda epoch: kept[epoch][0]) < 3
    for ours, theirs in zip(model.get_weights(), kept[restored][1], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_epochs_tell_learning_rate_and_memory_by_step(data, log):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, decay_steps=9, decay_rate=0.1)
    fit(build(learning_rate=schedule), data, [EventLogger(log, batch_size=BATCH, seconds=0)], epochs=2)
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


@pytest.mark.usefixtures("eager_checkpoints")
def test_trainings_of_a_run_go_on_each_from_its_own_checkpoint(data):
    def train(model, *more):
        """Two trainings one after the other in one run, as a notebook has them."""
        run = wb.start_run("runs/one")
        first = fit(model, data, wb.callbacks(run), epochs=2)
        second = fit(model, data, wb.callbacks(run, more), epochs=4)
        return run, first.epoch, second.epoch

    reference = build()
    fit(reference, data, [], epochs=2)
    fit(reference, data, [], epochs=4)
    with pytest.raises(KeyboardInterrupt):
        train(build(), Crash(epoch=3))
    model = build()
    run, first, second = train(model)
    assert (first, second) == ([0, 1], [0, 1, 2, 3])
    starts = [event["initial_epoch"] for event in of_type(read_events(run.log.path), "fit")]
    assert starts == [0, 0, 2, 3]
    assert_same_weights(model, reference)
    epochs = [(event["fit"], event["epoch"]) for event in of_type(read_events(run.log.path), "epoch")]
    assert sorted(epochs) == [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3)]


def test_training_that_is_interrupted_and_run_again_in_one_process_is_logged_once(data):
    run = wb.start_run("runs/one")
    with pytest.raises(KeyboardInterrupt):
        fit(build(), data, wb.callbacks(run, [Crash(epoch=2)]), epochs=3)
    fit(build(), data, wb.callbacks(run), epochs=3)
    epochs = of_type(read_events(run.log.path), "epoch")
    assert [(event["fit"], event["epoch"]) for event in epochs] == [(1, 0), (1, 1), (1, 2)]


def test_best_epoch_is_one_that_was_validated(data):
    checkpoint, found = Checkpoint(wb.start_run("runs/one")), {}
    end = keras.callbacks.LambdaCallback(on_train_end=lambda _: found.update(best=checkpoint.restore_best()))
    fit(build(), data, [end, checkpoint], epochs=5, validation_data=data, validation_freq=3)
    assert found == {"best": 2}  # the only epoch with a val_loss, though the training loss fell further


def test_direction_of_early_stopping_is_logged(data, log):
    stopping = keras.callbacks.EarlyStopping("accuracy", patience=9)
    fit(build(), data, [stopping, EventLogger(log, early_stopping=stopping)], epochs=2)
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


@pytest.mark.usefixtures("eager_checkpoints")
def test_best_epoch_of_an_earlier_attempt_is_known_to_the_next(data):
    run, model = wb.start_run("runs/one"), build()
    spoil = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, _: setattr(model.optimizer, "learning_rate", 3.0)
    )
    with pytest.raises(KeyboardInterrupt):
        fit(model, data, [spoil, Checkpoint(run), Crash(epoch=2)], epochs=3)
    best, again, found = read_best(run), Checkpoint(run), {}
    end = keras.callbacks.LambdaCallback(
        on_train_end=lambda _: found.update(best=again.restore_best(), weights=model.get_weights())
    )
    model.optimizer.learning_rate = 0.01  # as the notebook has it
    fit(model, data, [end, again], epochs=3)
    assert found["best"] == 0
    for ours, theirs in zip(found["weights"], best, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def read_best(run):
    (path,) = run.path.glob("checkpoint/fit-01/best-000000*")
    tensors = load_file(path)
    return [tensors[name] for name in sorted(tensors)]

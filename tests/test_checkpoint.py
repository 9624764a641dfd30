"""A training that was killed, crashed or interrupted goes on, and its best epoch is known."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file
from small_training import Crash, assert_same_weights, build, fit, make_data, of_type, save_to

import workbench as wb
from workbench.events import read_events

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def data():
    return make_data()


@pytest.fixture
def eager_checkpoints(monkeypatch):
    """Save a checkpoint whenever one may be saved, however young the last one is."""
    monkeypatch.setattr("workbench.training.checkpoint.SHARE", 0)


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
from small_training import build, fit
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
        fit(model, data, [*save_to(run), Crash(epoch=1)], epochs=2)
    _, resumed = save_to(run)
    resumed.set_model(copy)
    resumed.set_params({"epochs": 2, "steps": 9})
    resumed.on_train_begin()
    assert resumed.start.epoch == 1
    assert_same_weights(copy, model)


def test_best_epoch_can_be_restored_whether_or_not_it_was_saved(data):
    position, checkpoint = save_to(wb.start_run("runs/one"))
    model = build()
    kept = {}

    def remember(epoch, logs):
        kept[epoch] = (logs["loss"], model.get_weights())
        model.optimizer.learning_rate = 3.0  # from now on it gets worse

    watcher = keras.callbacks.LambdaCallback(on_epoch_end=remember)
    end = keras.callbacks.LambdaCallback(
        on_train_end=lambda _: kept.update(restored=checkpoint.restore_best())
    )
    fit(model, data, [watcher, end, position, checkpoint], epochs=4)
    restored = kept.pop("restored")
    assert restored == min(kept, key=lambda epoch: kept[epoch][0]) < 3
    for ours, theirs in zip(model.get_weights(), kept[restored][1], strict=True):
        np.testing.assert_array_equal(ours, theirs)


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
    position, checkpoint = save_to(wb.start_run("runs/one"))
    found = {}
    end = keras.callbacks.LambdaCallback(on_train_end=lambda _: found.update(best=checkpoint.restore_best()))
    fit(build(), data, [end, position, checkpoint], epochs=5, validation_data=data, validation_freq=3)
    assert found == {"best": 2}  # the only epoch with a val_loss, though the training loss fell further


@pytest.mark.usefixtures("eager_checkpoints")
def test_best_epoch_of_an_earlier_attempt_is_known_to_the_next(data):
    run, model = wb.start_run("runs/one"), build()
    spoil = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, _: setattr(model.optimizer, "learning_rate", 3.0)
    )
    with pytest.raises(KeyboardInterrupt):
        fit(model, data, [spoil, *save_to(run), Crash(epoch=2)], epochs=3)
    best, found = read_best(run), {}
    position, again = save_to(run)
    end = keras.callbacks.LambdaCallback(
        on_train_end=lambda _: found.update(best=again.restore_best(), weights=model.get_weights())
    )
    model.optimizer.learning_rate = 0.01  # as the notebook has it
    fit(model, data, [end, position, again], epochs=3)
    assert found["best"] == 0
    for ours, theirs in zip(found["weights"], best, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def read_best(run):
    tensors = load_file(run.path / "checkpoint/fit-01/epoch-000001-batch-00000000.safetensors")
    return [tensors[name] for name in sorted(tensors) if name.startswith("best/")]

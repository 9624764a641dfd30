"""What a person asks of a training while `fit` runs."""

import signal
import threading
import time
from collections.abc import Callable

import keras
import numpy as np
import pytest
from small_training import BATCH, SAMPLES, assert_same_weights, build, fit, of_type

import workbench as wb
from workbench.controls import request_control
from workbench.errors import WorkbenchError
from workbench.events import read_events
from workbench.training.learning_rate import change_learning_rate, read_learning_rate, restore_schedule

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(SAMPLES, 4)).astype(np.float32), rng.integers(0, 2, SAMPLES)


@pytest.fixture
def run():
    return wb.start_run("runs/one")


class Ask(keras.callbacks.Callback):
    """Asks something of its own training at a batch, and waits until it is looked for."""

    def __init__(self, run, epoch: int, batch: int, *requests: tuple):
        super().__init__()
        self.run, self.when, self.requests = run, (epoch, batch), requests

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.when:
            for action, value in self.requests:
                request_control(self.run.path, action, value, by="test")
            time.sleep(0.25)  # longer than the time between two looks


def train(run, model, data, *requests, at=(1, 3), epochs=4, callbacks=(), **options):
    """Fit a model, ask for something on the way, and return the events."""
    asking = Ask(run, *at, *requests)
    history = fit(model, data, wb.callbacks(run, [*callbacks, asking], **options), epochs=epochs)
    events = read_events(run.log.path)
    return history, events


def ask_when_paused(run, *requests):
    """Ask for something from another thread once the log says that the training is paused."""

    def wait_and_ask():
        while not of_type(read_events(run.log.path), "control"):
            time.sleep(0.05)
        time.sleep(0.4)
        for action, value in requests:
            request_control(run.path, action, value)

    thread = threading.Thread(target=wait_and_ask, daemon=True)
    thread.start()
    return thread


def test_stop_now_ends_at_the_next_batch_with_the_best_weights(run, data):
    model, kept = build(), []

    def keep_and_spoil(epoch, logs):
        kept.append(model.get_weights())
        model.optimizer.learning_rate = 3.0

    spoiling = keras.callbacks.LambdaCallback(on_epoch_end=keep_and_spoil)
    _, events = train(run, model, data, ("stop", "now"), callbacks=[spoiling])
    (control,), (end,) = of_type(events, "control"), of_type(events, "fit_end")
    assert (control["action"], control["value"], control["by"]) == ("stop", "now", "test")
    assert (control["epoch"], control["step"]) == (1, 4)
    assert of_type(events, "epoch")[-1]["step"] == 4
    assert (end["epochs"], end["stopped"], end["reason"], end["restored"]) == (1, True, "by hand", 0)
    for ours, best in zip(model.get_weights(), kept[0], strict=True):
        np.testing.assert_array_equal(ours, best)


def test_stop_now_keeps_the_present_weights_where_they_are_the_best(run, data):
    _, events = train(run, build(), data, ("stop", "now"))
    first, cut_short = of_type(events, "epoch")
    assert cut_short["metrics"]["loss"] < first["metrics"]["loss"]
    assert "restored" not in of_type(events, "fit_end")[0]


def test_stop_in_an_epoch_of_unknown_length_is_no_end_of_it(run, data):
    batches = [
        (data[0][start : start + BATCH], data[1][start : start + BATCH]) for start in range(0, 64, BATCH)
    ]
    callbacks = wb.callbacks(run, [Ask(run, 0, 3, ("stop", "now"))])
    build().fit((batch for batch in batches * 2), epochs=2, verbose=0, callbacks=callbacks)
    events = read_events(run.log.path)
    (epoch,), (end,) = of_type(events, "epoch"), of_type(events, "fit_end")
    assert (epoch["step"], epoch["batches"]) == (4, 4)
    assert (end["epochs"], end["reason"]) == (0, "by hand")


def test_stop_during_the_last_validation_says_that_weights_were_given_back(run, data):
    model = build()

    class AskInValidation(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            model.optimizer.learning_rate = 3.0  # the second epoch is worse than the first

        def on_test_begin(self, logs=None):
            if len(of_type(read_events(run.log.path), "epoch")) == 1:
                request_control(run.path, "stop", "now")

    fit(model, data, wb.callbacks(run, [AskInValidation()]), epochs=2, validation_data=data)
    (end,) = of_type(read_events(run.log.path), "fit_end")
    assert (end["epochs"], end["stopped"], end["reason"], end["restored"]) == (2, True, "by hand", 0)


def test_stop_in_the_first_epoch_keeps_the_weights_there_are(run, data):
    model = build()
    before = model.get_weights()
    _, events = train(run, model, data, ("stop", "now"), at=(0, 3))
    assert "restored" not in of_type(events, "fit_end")[0]
    assert not np.array_equal(model.get_weights()[0], before[0])


def test_stop_after_the_epoch_leaves_what_that_epoch_made(run, data):
    model, reference = build(), build()
    history, events = train(run, model, data, ("stop", "epoch"))
    assert history.epoch == [0, 1]
    assert of_type(events, "fit_end")[0]["reason"] == "by hand"
    fit(reference, data, [], epochs=2)
    assert_same_weights(model, reference)


def test_pause_waits_and_lets_other_requests_through(run, data):
    thread = ask_when_paused(run, ("learning_rate", 0.5), ("pause", False))
    history, events = train(run, build(), data, ("pause", True))
    thread.join()
    paused, rate, resumed = of_type(events, "control")
    assert (paused["value"], rate["value"], resumed["value"]) == (True, 0.5, False)
    pause = resumed["time"] - paused["time"]
    assert pause >= 0.4
    began = of_type(events, "fit")[0]["time"]
    assert (
        of_type(events, "fit_end")[0]["seconds"]
        <= of_type(events, "fit_end")[0]["time"] - began - pause + 0.2
    )
    assert (paused["epoch"], paused["step"]) == (resumed["epoch"], resumed["step"])
    assert history.epoch == [0, 1, 2, 3]


def test_stop_ends_a_pause(run, data):
    ask_when_paused(run, ("stop", "now"))
    _, events = train(run, build(), data, ("pause", True))
    assert of_type(events, "fit_end")[0]["reason"] == "by hand"


def test_patience_of_early_stopping_is_changed(run, data):
    stopping = keras.callbacks.EarlyStopping("loss", mode="max", patience=50)
    history, events = train(run, build(), data, ("patience", 2), epochs=9, callbacks=[stopping])
    (control,) = of_type(events, "control")
    assert (control["old"], control["value"]) == (50, 2)
    assert len(history.epoch) == 3
    assert of_type(events, "fit_end")[0]["reason"] == "early stopping"


@pytest.mark.parametrize(
    ("action", "value", "reason"),
    [("patience", 2, "no early stopping"), ("measure_layers", None, "no probe was handed over")],
)
def test_request_that_cannot_be_met_is_logged_with_the_reason(run, data, action, value, reason):
    history, events = train(run, build(), data, (action, value))
    (control,) = of_type(events, "control")
    assert reason in control["refused"]
    assert history.epoch == [0, 1, 2, 3]


def test_checkpoint_on_request_loads_into_the_same_network(run, data):
    _, events = train(run, build(), data, ("checkpoint", None))
    (saved,) = of_type(events, "checkpoint")
    reference, model = build(), build(seed=1)
    fit(reference, data, [], epochs=1)
    first = {"x": data[0][: 4 * BATCH], "y": data[1][: 4 * BATCH]}
    fit(reference, (first["x"], first["y"]), [])
    model.load_weights(run.path / saved["file"])
    assert_same_weights(model, reference)


def test_layers_are_measured_on_the_probe(run, data):
    _, events = train(run, build(), data, ("measure_layers", None), probe=(data[0][:8], data[1][:8]))
    (layers,) = of_type(events, "layers")
    assert len(layers["groups"]) == 2
    assert all(group["gradient_norm"] > 0 for group in layers["groups"])


def test_request_of_an_earlier_attempt_is_not_obeyed_again(run, data):
    request_control(run.path, "stop", "now")
    again = wb.start_run("runs/one")
    history = fit(build(), data, wb.callbacks(again), epochs=2)
    assert history.epoch == [0, 1]


def test_each_training_of_a_run_is_stopped_by_its_own_request(run, data):
    first, _ = train(run, build(), data, ("stop", "epoch"))
    second = fit(build(), data, wb.callbacks(run), epochs=3)
    assert (first.epoch, second.epoch) == ([0, 1], [0, 1, 2])


SCHEDULES: dict[str, Callable] = {
    "number": lambda: 0.01,
    "schedule": lambda: keras.optimizers.schedules.ExponentialDecay(0.01, 9, 0.5),
}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_learning_rate_changes_from_the_next_batch_on(run, data, kind):
    frozen = build(learning_rate=SCHEDULES[kind]())
    copies = []
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, _: copies.append(frozen.get_weights()))
    _, events = train(run, frozen, data, ("learning_rate", 1e-30), callbacks=[keep])
    (control,) = of_type(events, "control")
    assert control["old"] == pytest.approx(0.01 if kind == "number" else 0.01 * 0.5 ** (13 / 9))
    assert of_type(events, "epoch")[1]["learning_rate"] < 1e-29
    for one, other in zip(copies[1], copies[3], strict=True):
        np.testing.assert_array_equal(one, other)  # nothing moves any more


def test_changed_schedule_keeps_its_shape_and_is_given_back(data):
    model = build(learning_rate=SCHEDULES["schedule"]())
    original = model.optimizer._learning_rate
    fit(model, data, [])
    change_learning_rate(model, 0.1)
    assert read_learning_rate(model) == pytest.approx(0.1)
    fit(model, data, [])
    assert read_learning_rate(model) == pytest.approx(0.05, rel=1e-4)
    restore_schedule(model)
    assert model.optimizer._learning_rate is original
    fit(model, data, [])
    assert read_learning_rate(model) == pytest.approx(0.01 * 0.5**3, rel=1e-4)


def test_changed_schedule_can_be_saved_by_a_callback_of_the_user(run, data, tmp_path):
    model = build(learning_rate=SCHEDULES["schedule"]())
    saving = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    train(run, model, data, ("learning_rate", 0.001), callbacks=[saving])
    loaded = keras.models.load_model(tmp_path / "4.keras")
    assert read_learning_rate(loaded) == pytest.approx(0.001 * 0.5 ** (23 / 9), rel=1e-3)


def test_request_that_comes_too_late_is_refused_and_does_not_stop_the_next_training(run, data):
    late = keras.callbacks.LambdaCallback(on_train_end=lambda _: request_control(run.path, "stop", "now"))
    fit(build(), data, wb.callbacks(run, [late]), epochs=2)
    assert fit(build(), data, wb.callbacks(run), epochs=2).epoch == [0, 1]
    assert "had ended" in of_type(read_events(run.log.path), "control")[0]["refused"]


def test_checkpoint_that_cannot_be_written_does_not_end_the_training(run, data):
    (run.artifacts / "checkpoints").write_text("in the way")
    history, events = train(run, build(), data, ("checkpoint", None))
    assert "could not be saved" in of_type(events, "control")[0]["refused"]
    assert history.epoch == [0, 1, 2, 3]


def test_callbacks_of_a_run_are_refused_as_callbacks_of_the_user(run):
    with pytest.raises(WorkbenchError, match="again"):
        wb.callbacks(run, wb.callbacks(run))


def test_changed_schedule_leaves_a_model_that_can_be_saved(run, data, tmp_path):
    model = build(learning_rate=SCHEDULES["schedule"]())
    train(run, model, data, ("learning_rate", 0.001))
    model.save(tmp_path / "model.keras")
    assert_same_weights(keras.models.load_model(tmp_path / "model.keras"), model)


class InterruptedInDel:
    """Interrupts the process from within `__del__`, where Python ignores the exception."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupt_that_python_drops_ends_the_training_all_the_same(run, data):
    dropping = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: InterruptedInDel())
    with pytest.raises(KeyboardInterrupt):
        train(run, build(), data, callbacks=[dropping])
    assert fit(build(), data, wb.callbacks(wb.start_run("runs/two")), epochs=2).epoch == [0, 1]


def test_interrupts_belong_to_python_again_after_the_training(run, data):
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(signal.getsignal(signal.SIGINT))
    )
    before = signal.getsignal(signal.SIGINT)
    train(run, build(), data, callbacks=[look], epochs=1)
    assert seen != [before]
    assert signal.getsignal(signal.SIGINT) is before


def test_handler_of_the_user_keeps_the_interrupt(run, data):
    caught = []
    before = signal.signal(signal.SIGINT, lambda *_: caught.append("by the user"))
    interrupting = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: InterruptedInDel())
    try:
        history, _ = train(run, build(), data, callbacks=[interrupting], epochs=2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (history.epoch, caught) == ([0, 1], ["by the user"] * 2)

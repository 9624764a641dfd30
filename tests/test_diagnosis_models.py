"""Unusual models and data are trained to the end, and a healthy training of them hears nothing."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from small_training import log_to

from workbench.events import EventLog
from workbench.training.diagnosis import Diagnosis, Thresholds

ALWAYS = Thresholds(cost=1e6)  # looks at the probe after every epoch
SAMPLES = 256


@pytest.fixture
def data():
    """Four standard normal features, and whether their sum is positive."""
    x = np.random.default_rng(0).normal(size=(SAMPLES, 4)).astype(np.float32)
    return x, (x.sum(axis=1) > 0).astype(np.int64)


@pytest.fixture
def log(tmp_path):
    return EventLog(tmp_path / "events.jsonl")


def fit(model, x, y, log, probe=None, epochs=8):
    diagnosis = Diagnosis(log, probe or (x, y), ALWAYS)
    model.fit(x, y, epochs=epochs, verbose=0, callbacks=[*log_to(log), diagnosis])
    return [finding.rule for finding in diagnosis.findings]


def sequential(*inner, shape=(4,)):
    keras.utils.set_random_seed(0)
    return keras.Sequential([layers.Input(shape), *inner])


class WithoutTraining(keras.Model):
    """Subclassed, with a call that takes nothing but inputs."""

    def __init__(self):
        super().__init__()
        self.hidden, self.out = layers.Dense(16, "relu"), layers.Dense(1, "sigmoid")

    def call(self, x):
        return self.out(self.hidden(x))


class OwnStep(WithoutTraining):
    """Trains itself, and has no compiled loss."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.binary_crossentropy(tf.cast(y[:, None], tf.float32), self(x)))
        weights = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss}


def test_binary_classification_with_one_probability(data, log):
    model = sequential(layers.Dense(16, "relu"), layers.Dense(1, "sigmoid"))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    assert fit(model, *data, log) == []


def test_regression(data, log):
    x, _ = data
    model = sequential(layers.Dense(16, "relu"), layers.Dense(1))
    model.compile(keras.optimizers.Adam(0.01), keras.losses.Huber())
    assert fit(model, x, x.sum(axis=1), log) == []


def test_logits_and_one_hot_targets(data, log):
    x, y = data
    model = sequential(layers.Dense(16, "relu"), layers.Dense(2))
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
    assert fit(model, x, np.eye(2, dtype=np.float32)[y], log) == []


def test_several_named_inputs_and_outputs(data, log):
    x, y = data
    keras.utils.set_random_seed(0)
    inputs = {"a": layers.Input((4,), name="a"), "b": layers.Input((4,), name="b")}
    both = layers.Dense(16, "relu")(layers.Concatenate()(list(inputs.values())))
    outputs = {"sign": layers.Dense(1, "sigmoid")(both), "sum": layers.Dense(1)(both)}
    model = keras.Model(inputs, outputs)
    model.compile("adam", {"sign": "binary_crossentropy", "sum": "mse"})
    assert fit(model, {"a": x, "b": x}, {"sign": y, "sum": x.sum(axis=1)}, log) == []


@pytest.mark.parametrize("build", [WithoutTraining, OwnStep])
def test_subclassed_model(data, log, build):
    keras.utils.set_random_seed(0)
    model = build()
    model.compile("adam", None if build is OwnStep else "binary_crossentropy")
    assert fit(model, *data, log) == []


def test_loss_that_is_a_function(data, log):
    model = sequential(layers.Dense(16, "relu"), layers.Dense(1))
    model.compile("adam", lambda y_true, y_pred: keras.ops.mean(keras.ops.abs(y_true - y_pred)))
    assert fit(model, *data, log) == []


def test_sequences_through_a_recurrent_layer_and_an_embedding(data, log):
    tokens = np.random.default_rng(0).integers(1, 500, (SAMPLES, 6))
    model = sequential(layers.Embedding(500, 8), layers.LSTM(8), layers.Dense(1, "sigmoid"), shape=(6,))
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    assert fit(model, tokens, (tokens[:, 0] > 250).astype(np.int64), log, epochs=4) == []


def test_half_precision_and_compilation(data, log):
    half = keras.DTypePolicy("mixed_bfloat16")
    model = sequential(layers.Dense(16, "relu", dtype=half), layers.Dense(2, "softmax", dtype="float32"))
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=True, steps_per_execution=4)
    assert fit(model, *data, log) == []


def test_targets_for_every_position(data, log):
    x, _ = data
    model = sequential(layers.Dense(16, "relu"), layers.Dense(3, "softmax"), shape=(4, 1))
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    assert fit(model, x[:, :, None], np.digitize(x, [-0.5, 0.5]), log) == []


def test_frozen_first_layer_was_learned_with_what_it_is_given(data, log):
    model = sequential(layers.Dense(16, "relu", trainable=False), layers.Dense(1, "sigmoid"))
    model.compile("adam", "binary_crossentropy")
    assert "unscaled_input" not in fit(model, 50 * data[0], data[1], log, epochs=1)


class Clock:
    """Time that passes by half a second a batch, and by what a look is said to take."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


def test_time_for_the_probe_stays_within_its_part_of_the_training(data, log, monkeypatch):
    clock, looks = Clock(), []
    real = Diagnosis._look_at_activations

    def slow(self, epoch, seconds):
        looks.append(epoch)
        clock.now += 3.0
        return real(self, epoch, seconds)

    class Tick(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            clock.now += 0.5

    monkeypatch.setattr("workbench.training.diagnosis.callback.time", clock)
    monkeypatch.setattr(Diagnosis, "_look_at_activations", slow)
    model = sequential(layers.Dense(16, "relu"), layers.Dense(1, "sigmoid"))
    model.compile("adam", "binary_crossentropy")
    diagnosis = Diagnosis(log, data, Thresholds(cost=0.1))
    model.fit(*data, batch_size=64, epochs=100, verbose=0, callbacks=[Tick(), diagnosis])
    assert 5 <= len(looks) <= 0.1 * clock.now / 3.0 + 1


def test_probe_is_looked_at_as_often_as_its_cost_allows(data, log, monkeypatch):
    looks = []
    real = Diagnosis._look_at_activations

    def counted(self, epoch, seconds):
        looks.append(epoch)
        return real(self, epoch, seconds)

    monkeypatch.setattr(Diagnosis, "_look_at_activations", counted)
    model = sequential(layers.Dense(16, "relu"), layers.Dense(1, "sigmoid"))
    model.compile("adam", "binary_crossentropy")
    model.fit(*data, epochs=5, verbose=0, callbacks=[Diagnosis(log, data, Thresholds(cost=1e-9))])
    assert looks == []
    model.fit(*data, epochs=5, verbose=0, callbacks=[Diagnosis(log, data, ALWAYS)])
    assert looks == [0, 1, 2, 3, 4]

"""A small network and how it is trained, for tests of what happens around `fit`."""

import keras
import numpy as np
from keras import layers

from workbench.training.checkpoint import Checkpoint
from workbench.training.event_logger import EventLogger
from workbench.training.position import Position

SAMPLES, BATCH = 70, 8  # 9 batches, the last one of 6 samples


def make_data():
    """Return (SAMPLES, 4) float32 and a class, 0 or 1, of each."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(SAMPLES, 4)).astype(np.float32), rng.integers(0, 2, SAMPLES)


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


def log_to(log, **options):
    """Return the callbacks that write the event log of a `fit`, and nothing else."""
    position = Position()
    return [position, EventLogger(log, position, **options)]


def save_to(run):
    """Return the callbacks that keep the checkpoints of a `fit`; the last one is the `Checkpoint`."""
    position = Position()
    return [position, Checkpoint(run, position)]


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

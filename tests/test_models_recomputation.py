"""Gradient checkpointing: the same training as without, in less memory, also after an interruption."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from small_texts import make_batches, make_tokenizer

import workbench as wb
from workbench.models.recomputation import is_recomputed
from workbench.models.text import build_encoder
from workbench.training.layers import compute_gradients
from workbench.training.machine_speed import Speed
from workbench.training.probe import Samples
from workbench.training.resume_key import digest_model

pytestmark = pytest.mark.usefixtures("project")
MIB = 2**20


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(24)


def build(tokenizer, gradient_checkpointing, **options):
    keras.utils.set_random_seed(0)
    encoder = build_encoder(
        "small-transformer", tokenizer, gradient_checkpointing=gradient_checkpointing, **options
    )
    x = keras.layers.GlobalAveragePooling1D()(encoder.output, mask=encoder.input["padding_mask"])
    network = keras.Model(encoder.input, keras.layers.Dense(2, "softmax")(keras.layers.Dropout(0.5)(x)))
    network.compile("adam", "sparse_categorical_crossentropy", steps_per_execution=2)
    return network


def assert_same_variables(one, other):
    for ours, theirs in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.path)


@pytest.mark.parametrize("options", [{"token_dropout": 0.1}, {"lora_rank": 4}, {"frozen_layers": 2}])
def test_training_ends_with_the_bits_of_one_that_keeps_all(tokenizer, options):
    networks = [build(tokenizer, checkpointing, **options) for checkpointing in (False, True)]
    histories = [each.fit(make_batches(tokenizer, 4), epochs=2, verbose=0).history for each in networks]
    assert histories[0] == histories[1]
    assert_same_variables(*networks)


def test_training_in_bfloat16_differs_by_rounding_alone(tokenizer):
    losses = []
    for checkpointing in (False, True):
        network = build(tokenizer, checkpointing)
        Speed("mixed_bfloat16", False, 2).apply(network)
        losses.append(network.fit(make_batches(tokenizer, 4), epochs=2, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=5e-3)


STEP = """
import re, sys
from pathlib import Path
import keras, keras_hub, numpy as np
from workbench.models.recomputation import recompute

network = keras.Sequential([keras.Input((None, 64))])
for _ in range(6):
    network.add(keras_hub.layers.TransformerEncoder(256, 4))
    if sys.argv[1] == "recompute":
        recompute(network.layers[-1])
network.compile("sgd", "mse")
network.train_on_batch(np.ones((64, 128, 64), np.float32), np.zeros((64, 128, 64), np.float32))
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_step_takes_less_memory():
    """Each in a process of its own: memory that was given back before would hide the peak."""
    peaks = {}
    for way in ("recompute", "keep"):
        done = subprocess.run([sys.executable, "-c", STEP, way], capture_output=True, text=True, check=True)
        peaks[way] = int(done.stdout) / 1024  # MiB
    layer = 64 * (128 * (8 * 64 + 2 * 256) + 2 * 4 * 128**2) * 4 / MIB  # as `estimate_ways` has it
    assert peaks["recompute"] < peaks["keep"] - 2 * layer, peaks


def test_interrupted_training_ends_with_the_bits_of_an_undisturbed_one(tokenizer, monkeypatch):
    monkeypatch.setattr("workbench.training.checkpoint.SHARE", 0)

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def train(run_dir, *callbacks):
        network, batches = build(tokenizer, True), make_batches(tokenizer, 4)
        run = wb.start_run(run_dir, parameters={"seed": 0})
        network.fit(batches, epochs=3, verbose=0, callbacks=wb.callbacks(run, callbacks, batches=batches))
        return network

    with pytest.raises(KeyboardInterrupt):
        train("runs/disturbed", Interrupt())
    assert_same_variables(train("runs/disturbed"), train("runs/undisturbed"))
    starts = [event for event in wb.open_run("runs/disturbed").events() if event["type"] == "fit"]
    assert starts[-1]["initial_epoch"] == 1


def test_saved_model_is_one_that_keeps_all(tokenizer, tmp_path):
    network = build(tokenizer, True)
    inputs = make_batches(tokenizer, 4).inputs
    network.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(inputs, verbose=0), network.predict(inputs, verbose=0))
    assert not any(map(is_recomputed, loaded._flatten_layers()))


def test_training_that_keeps_all_is_another_one(tokenizer):
    assert digest_model(build(tokenizer, True)) == digest_model(build(tokenizer, True))
    assert digest_model(build(tokenizer, True)) != digest_model(build(tokenizer, False))


def test_layers_are_measured_alike(tokenizer):
    batches = make_batches(tokenizer, 4)
    samples = Samples(batches.inputs, np.arange(16) % 2, np.arange(16).astype(str))
    plain, checkpointed = (compute_gradients(build(tokenizer, way), samples) for way in (False, True))
    norms = [[group.gradient_norm for group in each.groups] for each in (plain, checkpointed)]
    assert norms[0] == norms[1]
    assert plain.loss == checkpointed.loss

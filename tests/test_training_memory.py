"""A batch that does not fit is named, with its size and what would fit."""

import keras
import numpy as np
import psutil
import pytest
from keras import layers, ops

import workbench as wb
from workbench.datasets import Split
from workbench.errors import WorkbenchError
from workbench.training.memory import find_largest_fitting, is_exhaustion

SAMPLES = 4096


@keras.saving.register_keras_serializable("tests")
class SquareOfTheBatch(layers.Layer):
    """Takes 8 MiB for one sample, four times that for two, and for 4,096 more than addresses reach."""

    def call(self, x):
        pairs = ops.matmul(x, ops.transpose(x))  # (batch, batch)
        spread = pairs[:, :, None] * ops.ones((1, 1, 2**21))
        return x + 0 * ops.mean(spread)


@pytest.fixture
def split():
    draw = np.random.default_rng(0)
    x, y = draw.random((SAMPLES, 3), dtype=np.float32), draw.integers(0, 2, SAMPLES)
    return Split({"x": x}, {"label": y}, np.arange(SAMPLES).astype(str))


@pytest.fixture
def network():
    keras.utils.set_random_seed(0)
    entry = keras.Input((3,))
    model = keras.Model(entry, layers.Dense(2, "softmax")(SquareOfTheBatch()(layers.Dense(3)(entry))))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def little_memory(monkeypatch):
    """Say that little is free, so that the probe ends soon."""
    free = psutil.virtual_memory()._replace(available=100 * 2**20)
    monkeypatch.setattr("workbench.training.memory.psutil.virtual_memory", lambda: free)


def test_batch_that_does_not_fit_is_named_with_its_size_and_what_fits(
    split, network, little_memory, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run = wb.start_run("runs/a", parameters={})
    batches = split.batches(SAMPLES, seed=0)
    weights = network.get_weights()
    with pytest.raises(WorkbenchError) as caught:
        network.fit(batches, verbose=0, callbacks=wb.callbacks(run, batches=batches))
    message = str(caught.value)
    assert message.startswith("Batch 1 of epoch 1 with its 4096 samples, each (3,) of float32, does not fit")
    fitting = int(message.partition("give batch_size=")[2].partition(",")[0])
    assert 1 <= fitting <= 8
    for before, after in zip(weights, network.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    small = split.batches(fitting, seed=0)
    assert np.isfinite(network.train_on_batch(*small.read(0, 0)[:2])[0])  # `fit` is left as it was


def test_batch_without_a_name_is_told_a_smaller_size(split, network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = wb.start_run("runs/a", parameters={})
    with pytest.raises(WorkbenchError, match="smaller batch_size"):
        network.fit(
            split.inputs["x"],
            split.targets["label"],
            batch_size=SAMPLES,
            verbose=0,
            callbacks=wb.callbacks(run),
        )


def test_probe_of_a_network_that_fits_reaches_the_batch_and_changes_nothing(split, tmp_path):
    network = keras.Sequential([keras.Input((3,)), layers.Dropout(0.5), layers.Dense(2, "softmax")])
    network.compile("adam", "sparse_categorical_crossentropy")
    network.optimizer.build(network.trainable_variables)
    before = [np.array(each) for each in [*network.variables, *network.optimizer.variables]]
    assert find_largest_fitting(network, split.batches(64), 64) == 32
    after = [np.array(each) for each in [*network.variables, *network.optimizer.variables]]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("error", "expected"),
    [(MemoryError(), True), (RuntimeError("RESOURCE_EXHAUSTED: 4 GiB"), True), (ValueError("shape"), False)],
)
def test_only_errors_about_memory_count(error, expected):
    assert is_exhaustion(error) is expected

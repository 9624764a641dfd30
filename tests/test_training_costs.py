"""What a training costs: operations against hand-worked numbers, sums that survive an interruption."""

import keras
import numpy as np
import pytest
from keras import layers

import workbench as wb
from workbench.events import read_events
from workbench.training.flops import count_flops

pytestmark = pytest.mark.usefixtures("project")


def make_batches(inputs: dict[str, np.ndarray], batch_size: int = 8, mask: str = ""):
    count = len(next(iter(inputs.values())))
    split = wb.Split(inputs, {"label": np.arange(count) % 2}, np.arange(count).astype(str))
    return split.batches(batch_size, mask=mask)


@pytest.mark.parametrize(
    ("name", "millions"), [("cnn", 4.04), ("vgg", 5.23), ("resnet", 6.66)]
)  # multiply-adds, as the builders say
def test_operations_of_the_shipped_networks_are_twice_their_multiply_adds(name, millions):
    batches = make_batches({"image": np.zeros((4, 32, 32, 3), np.uint8)})
    flops = count_flops(wb.build_model(name, (32, 32, 3), 10), batches)
    assert flops / 2e6 == pytest.approx(millions, abs=0.006)


def test_operations_of_attention_are_those_of_its_products_at_the_length_that_is_trained():
    length, width, heads, size = 24, 16, 2, 8
    mask = np.zeros((8, 40), np.int32)
    mask[:, :length] = 1
    batches = make_batches({"tokens": mask}, mask="tokens")
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(5, width)(tokens)
    x = layers.MultiHeadAttention(heads, size)(x, x)
    model = keras.Model(tokens, layers.Dense(3)(x))
    projections = 4 * length * width * heads * size
    scores = 2 * heads * length * length * size
    assert count_flops(model, batches) == 2 * (projections + scores + length * width * 3)


def test_depthwise_and_grouped_convolutions_count_what_they_multiply():
    batches = make_batches({"image": np.zeros((2, 6, 6, 4), np.float32)})
    image = keras.Input((6, 6, 4))
    x = layers.DepthwiseConv2D(3, padding="same")(image)  # 36 positions x 9 x 4
    x = layers.Conv2D(8, 3, padding="same", groups=2)(x)  # 36 positions x 9 x 2 x 8
    assert count_flops(keras.Model(image, x), batches) == 2 * (36 * 9 * 4 + 36 * 9 * 2 * 8)


class Interrupt(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def train(*callbacks):
    draw = np.random.default_rng(0)
    batches = make_batches({"x": draw.normal(size=(70, 4)).astype(np.float32)})
    run = wb.start_run("runs/one", parameters={})
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [layers.Input((4,)), layers.Dense(3), layers.Dense(2, "softmax", trainable=False)]
    )
    model.compile("adam", "sparse_categorical_crossentropy", steps_per_execution=2)
    model.fit(batches, epochs=3, verbose=0, callbacks=wb.callbacks(run, callbacks, batches=batches))
    return run


def test_costs_are_in_the_run_and_its_log():
    run = train()
    costs = wb.open_run(run.path).details["costs"]["1"]
    (end,) = [event for event in read_events(run.log.path) if event["type"] == "fit_end"]
    assert end["costs"] == costs
    assert (costs["samples"], costs["parameters"], costs["trainable_parameters"]) == (210, 23, 15)
    assert costs["flops"] == 3 * 210 * 2 * (4 * 3 + 3 * 2)
    assert costs["flops_method"]
    assert 0 < costs["seconds"] < 600
    assert costs["processor_seconds"] > 0
    assert costs["peak_memory"] > 2**26


def test_costs_of_an_interrupted_training_are_counted_once(monkeypatch):
    monkeypatch.setattr("workbench.training.checkpoint.SHARE", 0)
    with pytest.raises(KeyboardInterrupt):
        train(Interrupt())
    assert wb.open_run(train().path).details["costs"]["1"]["samples"] == 210


def test_report_tells_the_costs():
    from workbench.reports.trainings import read_training

    run = train()
    (told,) = read_training(wb.open_run(run.path).events()).costs
    assert "210 samples; 23 parameters, 15 of them trained" in told
    assert "2.3e+04 floating-point operations (2 for each multiply-add" in told

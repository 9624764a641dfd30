"""Norms of gradients, weights and updates, against TensorFlow and the optimizer's own arithmetic."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from workbench.errors import WorkbenchError
from workbench.events import EventLog, read_events
from workbench.models import build_model
from workbench.training import LayerMeter
from workbench.training.layers import MOST_GROUPS, compute_gradients
from workbench.training.probe import Probe

RATE, BATCH = 0.1, 8


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(64, 4)).astype(np.float32), rng.integers(0, 2, 64)


@pytest.fixture
def log(tmp_path):
    return EventLog(tmp_path / "events.jsonl")


def build(**options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [layers.Input((4,)), layers.Dense(8, "relu", name="first"), layers.Dense(1, "sigmoid", name="last")]
    )
    model.compile(keras.optimizers.SGD(RATE), "binary_crossentropy", **options)
    return model


def measure(model, x, y):
    return compute_gradients(model, Probe.of((x, y)).samples).groups


class Subclassed(keras.Model):
    """Declares its layers in another order than that in which it calls them."""

    def __init__(self):
        super().__init__()
        self.last = layers.Dense(1, "sigmoid", name="last")
        self.first = layers.Dense(8, "relu", name="first")

    def call(self, x):
        return self.last(self.first(x))


class Ask(keras.callbacks.Callback):
    """Request a measurement after some batch, as a panel would."""

    def __init__(self, meter, batch):
        super().__init__()
        self.meter, self.batch = meter, batch

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.batch:
            self.meter.request()


def gradient_norms(model, x, y):
    with tf.GradientTape() as tape:
        probabilities = model(x, training=True)
        loss = tf.reduce_mean(keras.losses.binary_crossentropy(y[:, None], probabilities))
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    return [float(np.sqrt(sum((g.numpy() ** 2).sum() for g in gradients[at : at + 2]))) for at in (0, 2)]


def fit(model, data, meter, batch, **options):
    model.fit(
        *data, batch_size=BATCH, shuffle=False, verbose=0, callbacks=[Ask(meter, batch), meter], **options
    )
    return [event for event in read_events(meter.log.path) if event["type"] == "layers"]


@pytest.mark.parametrize("loss", ["binary_crossentropy", keras.losses.BinaryCrossentropy()])
def test_norms_are_those_of_the_gradient_and_the_weights(data, loss):
    model = build()
    model.compile("adam", loss)
    groups = measure(model, *data)
    assert [group.name for group in groups] == ["first", "last"]
    np.testing.assert_allclose([g.gradient_norm for g in groups], gradient_norms(model, *data), rtol=1e-5)
    weights = [
        np.sqrt((layer.kernel.numpy() ** 2).sum() + (layer.bias.numpy() ** 2).sum()) for layer in model.layers
    ]
    np.testing.assert_allclose([group.weight_norm for group in groups], weights, rtol=1e-6)


def test_subclassed_model_is_measured_in_the_order_of_its_calls(data):
    model = Subclassed()
    model.compile("adam", "binary_crossentropy")
    assert [group.name for group in measure(model, *data)] == [
        "first",
        "last",
    ]


def test_repeated_rows_of_an_embedding_are_summed_before_they_are_squared():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [layers.Input((3,)), layers.Embedding(5, 2, name="table"), layers.Flatten(), layers.Dense(1)]
    )
    model.compile("adam", "mse")
    x, y = np.array([[1, 1, 2], [1, 4, 4]]), np.array([1.0, 2.0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - y[:, None]) ** 2)
    dense = tf.convert_to_tensor(tape.gradient(loss, model.layers[0].embeddings.value)).numpy()
    assert measure(model, x, y)[0].gradient_norm == pytest.approx(np.linalg.norm(dense), rel=1e-5)


@pytest.mark.parametrize("name", ["cnn", "vgg", "resnet"])
def test_every_weight_of_a_network_is_in_one_of_at_most_twelve_groups(name):
    model = build_model(name, (16, 16, 3), 4)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=True)
    x, y = np.zeros((4, 16, 16, 3), np.uint8), np.arange(4)
    before = model.get_weights()
    groups = measure(model, x, y)
    assert len(groups) <= MOST_GROUPS
    total = sum(np.square(weight.numpy()).sum() for weight in model.trainable_weights)
    assert sum(group.weight_norm**2 for group in groups) == pytest.approx(total, rel=1e-5)
    for ours, theirs in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_blocks_of_a_transformer_are_groups_of_their_own():
    import keras_hub

    backbone = keras_hub.models.BertBackbone(20, 3, 2, 8, 16, max_sequence_length=6)
    tokens = {name: layers.Input((6,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
    vectors = backbone({**tokens, "segment_ids": keras.ops.zeros_like(tokens["token_ids"])})
    label = layers.Dense(2, "softmax", name="label")(vectors["sequence_output"][:, 0])
    model = keras.Model(tokens, label)
    model.compile("adam", "sparse_categorical_crossentropy")
    x = {"token_ids": np.ones((4, 6), np.int32), "padding_mask": np.ones((4, 6), np.int32)}
    names = [group.name for group in measure(model, x, np.array([0, 1, 0, 1]))]
    assert names[-4:] == ["transformer_layer_0", "transformer_layer_1", "transformer_layer_2", "label"]


@pytest.mark.parametrize("options", [{}, {"steps_per_execution": 2}, {"jit_compile": True}])
def test_update_ratio_is_the_length_of_the_update_a_batch(data, log, options):
    steps = options.get("steps_per_execution", 1)
    (event,) = fit(build(**options), data, LayerMeter(log, data), batch=3, **{})
    model = build()  # the same training by hand
    weights = []
    for number in range(4 + steps):
        weights.append([w.numpy() for w in model.trainable_weights])
        rows = slice(number * BATCH, (number + 1) * BATCH)
        model.train_on_batch(data[0][rows], data[1][rows])
    after = [w.numpy() for w in model.trainable_weights]
    before = weights[4]
    for group, at in zip(event["groups"], (0, 2), strict=True):
        moved = np.sqrt(
            sum(((a - b) ** 2).sum() for a, b in zip(after[at : at + 2], before[at : at + 2], strict=True))
        )
        length = np.sqrt(sum((b**2).sum() for b in before[at : at + 2]))
        assert group["update_ratio"] == pytest.approx(moved / length / steps, rel=1e-3)
        assert group["weight_norm"] == pytest.approx(length, rel=1e-5)
    assert (event["epoch"], event["step"]) == (0, 4)


def test_request_at_the_end_of_an_epoch_is_measured_over_the_next_one(data, log):
    (event,) = fit(build(), data, LayerMeter(log, data), batch=7, epochs=1)
    assert [group["update_ratio"] for group in event["groups"]] == [None, None]
    _, later, *_ = fit(build(), data, LayerMeter(log, data), batch=7, epochs=2)
    assert all(group["update_ratio"] > 0 for group in later["groups"])


def test_measuring_changes_nothing_about_the_training(data, log):
    trained = []
    for batch in (2, 100):
        model = build(metrics=["accuracy"])
        history = fit(model, data, LayerMeter(log, data), batch, epochs=2) and model.history.history
        trained.append((model.get_weights(), history or model.history.history))
    (ours, history), (theirs, other) = trained
    assert history == other
    for one, two in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, two)


def test_request_without_a_probe_says_what_to_do(log):
    with pytest.raises(WorkbenchError, match=r"no probe(.*\n)*.*probe=dataset\.val"):
        LayerMeter(log).request()


def test_model_without_a_loss_is_refused(data):
    model = keras.Sequential([layers.Input((4,)), layers.Dense(1)])
    with pytest.raises(WorkbenchError, match=r"no loss(.*\n)*.*Compile"):
        measure(model, *data)

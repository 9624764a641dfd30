"""Rules that look at samples, activations and gradients: each provoked, and silent in healthy trainings."""

import keras
import numpy as np
import pytest
from keras import layers

from workbench.datasets import Split, load_dataset
from workbench.errors import WorkbenchError
from workbench.events import EventLog, read_events
from workbench.models import build_model
from workbench.training.diagnosis import Diagnosis, Probe, Thresholds

ALWAYS = Thresholds(cost=1e6)  # looks at the probe after every epoch


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return load_dataset("digits", max_samples=900, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def pixels(dataset):
    """Training and validation samples as rows of numbers between 0 and 1, with their labels."""
    return tuple(
        (split.x[:, ::2, ::2].reshape(len(split), -1).astype(np.float32) / 255, split.y)
        for split in (dataset.train, dataset.val)
    )


@pytest.fixture
def log(tmp_path):
    return EventLog(tmp_path / "events.jsonl")


def dense(features, *hidden, optimizer="adam", activation="softmax", loss="sparse_categorical_crossentropy"):
    """Build a network of dense layers for ten classes."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([layers.Input((features,)), *hidden, layers.Dense(10, activation)])
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def fit(model, x, y, probe, log, epochs=2, thresholds=ALWAYS, **options):
    diagnosis = Diagnosis(log, probe, thresholds)
    model.fit(x, y, epochs=epochs, verbose=0, callbacks=[diagnosis], **options)
    return {finding.rule: finding for finding in diagnosis.findings}


def relu(units=32, **options):
    return layers.Dense(units, "relu", **options)


@pytest.mark.parametrize("network", ["cnn", "vgg", "resnet"])
def test_healthy_training_on_images_has_no_finding(dataset, log, network):
    keras.utils.set_random_seed(0)
    model = build_model(network, dataset.input_shape, 10)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], steps_per_execution=4)
    val = (dataset.val.x, dataset.val.y)
    assert fit(model, dataset.train.x, dataset.train.y, dataset, log, epochs=4, validation_data=val) == {}


def test_healthy_dense_training_has_no_finding(pixels, log):
    train, val = pixels
    probe = {"train": train, "val": val}
    model = dense(train[0].shape[1], relu())
    assert fit(model, *train, probe, log, epochs=15, validation_data=val) == {}


def test_network_of_many_sigmoids_has_vanishing_gradients(pixels, log):
    (x, y), _ = pixels
    model = dense(x.shape[1], *(layers.Dense(32, "sigmoid") for _ in range(8)))
    found = fit(model, x, y, (x, y), log)["vanishing_gradients"]
    norms = [group["gradient_norm"] for group in found.evidence["groups"]]
    assert norms[0] < 1e-3 * norms[-1]


def test_network_with_huge_weights_has_exploding_gradients(pixels, log):
    (x, y), _ = pixels
    wide = keras.initializers.RandomNormal(stddev=0.6, seed=0)
    model = dense(x.shape[1], *(relu(64, kernel_initializer=wide) for _ in range(8)))
    assert "exploding_gradients" in fit(model, x, y, (x, y), log, epochs=1)


def test_learning_rate_that_kills_units_is_told_as_dead_relu(pixels, log):
    (x, y), _ = pixels
    model = dense(x.shape[1], relu(), optimizer=keras.optimizers.SGD(20.0))
    found = fit(model, x, y, (x, y), log)["dead_relu"]
    active = keras.Model(model.inputs, model.layers[0].output).predict(x, verbose=0) > 0
    assert found.evidence["dead"][model.layers[0].name] >= 0.8
    assert (~active.any(axis=0)).mean() >= 0.8


def test_certain_mistakes_are_told_as_saturation(pixels, log):
    (x, y), (x_val, y_val) = pixels
    model = dense(x.shape[1], optimizer=keras.optimizers.Adam(1.0))
    labels = np.random.default_rng(0).integers(0, 10, len(y))
    found = fit(model, 100 * x, labels, (100 * x_val, y_val), log)
    assert "saturated_softmax" in found


def test_raw_pixels_are_told_as_unscaled_input(dataset, log):
    x = dataset.train.x.reshape(len(dataset.train), -1)
    found = fit(dense(x.shape[1], relu()), x, dataset.train.y, (x, dataset.train.y), log, epochs=1)
    assert found["unscaled_input"].evidence["largest"] == 255


def test_pixels_scaled_twice_are_told_as_unscaled_input(dataset, log):
    x = dataset.train.x.reshape(len(dataset.train), -1)
    model = dense(x.shape[1], layers.Rescaling(1 / 255), layers.Rescaling(1 / 255), relu())
    assert "unscaled_input" in fit(model, x, dataset.train.y, (x, dataset.train.y), log, epochs=1)


@pytest.mark.parametrize(
    ("scaling", "options"),
    [
        (layers.Rescaling, {"scale": 1 / 255}),
        (layers.BatchNormalization, {}),
        (layers.Normalization, {"mean": 60.0, "variance": 9000.0}),
    ],
)
def test_network_that_scales_its_input_itself_is_not_told_so(dataset, log, scaling, options):
    x = dataset.train.x.reshape(len(dataset.train), -1)
    model = dense(x.shape[1], scaling(**options), relu())
    assert "unscaled_input" not in fit(model, x, dataset.train.y, (x, dataset.train.y), log, epochs=1)


def test_samples_with_wrong_labels_are_named(pixels, log):
    (x, y), _ = pixels
    wrong = np.arange(7, len(y), 15)
    labels = y.copy()
    labels[wrong] = (y[wrong] + 5) % 10
    ids = np.array([f"image {row}" for row in range(len(y))])
    probe = {"train": Split({"pixels": x}, {"label": labels}, ids)}
    found = fit(dense(x.shape[1], relu()), x, labels, probe, log, epochs=12)["wrong_labels"]
    named = [sample["id"] for sample in found.evidence["samples"]]
    assert set(named) <= set(ids[wrong])
    sample = found.evidence["samples"][0]
    row = int(sample["id"].split()[1])
    assert (sample["given"], sample["predicted"]) == (labels[row], y[row])


def test_rare_class_is_told_as_imbalance(pixels, log):
    (x, y), _ = pixels
    kept = (y != 3) | (np.cumsum(y == 3) <= 2)
    x, y = x[kept], y[kept]
    found = fit(dense(x.shape[1], relu()), x, y, (x, y), log, epochs=1)["class_imbalance"]
    assert (found.evidence["rarest"], found.evidence["smallest_count"]) == (3, 2)


def test_copies_of_training_samples_in_validation_are_named(pixels, log):
    (x, y), (x_val, y_val) = pixels
    x_val = np.concatenate([x[5:15], x_val])
    probe = {"train": (x, y), "val": (x_val, np.concatenate([y[5:15], y_val]))}
    found = fit(dense(x.shape[1], relu()), x, y, probe, log, epochs=1)["duplicates"]
    assert found.evidence["pairs"] == {str(row): str(row + 5) for row in range(10)}


def test_without_a_probe_rules_that_need_one_are_silent(dataset, log):
    x = dataset.train.x.reshape(len(dataset.train), -1)
    assert fit(dense(x.shape[1], relu()), x, dataset.train.y, None, log) == {}


def test_finding_speaks_once_and_is_written_to_the_log(dataset, log):
    x = dataset.train.x.reshape(len(dataset.train), -1)
    found = fit(dense(x.shape[1], relu()), x, dataset.train.y, (x, dataset.train.y), log, epochs=4)
    rules = [event["rule"] for event in read_events(log.path) if event["type"] == "finding"]
    assert rules == list(found)
    assert rules.count("unscaled_input") == 1


def test_diagnosis_changes_nothing_about_the_training(dataset, log):
    weights = []
    for probe in (None, dataset):
        keras.utils.set_random_seed(0)
        x = image = layers.Input(dataset.input_shape)
        x = layers.Conv2D(4, 3)(layers.RandomFlip()(layers.Rescaling(1 / 255)(x)))
        x = layers.Dropout(0.3)(layers.ReLU()(layers.BatchNormalization()(x)))
        model = keras.Model(image, layers.Dense(10, "softmax")(layers.Flatten()(x)))
        model.compile("adam", "sparse_categorical_crossentropy")
        fit(model, dataset.train.x, dataset.train.y, probe, log, epochs=3)
        weights.append(model.get_weights())
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "probe",
    [
        "dataset.val",
        ("x",),
        {"test": None},
        ([1, 2], 3),
        (np.zeros((3, 2)), np.zeros(4)),
        (np.zeros((0, 2)), np.zeros(0)),
    ],
)
def test_anything_else_than_samples_is_refused_as_a_probe(probe):
    with pytest.raises(WorkbenchError, match=r"probe.*\n.*[Gg]ive"):
        Probe.of(probe)


def test_probe_that_does_not_fit_the_network_is_refused_when_training_begins(pixels, log):
    (x, y), _ = pixels
    texts = Split({"text": np.array(["a", "b"])}, {"label": np.array([0, 1])}, np.array(["1", "2"]))
    for probe in ((x[:, :5], y), texts, ({"pixels": x, "more": x}, y)):
        with pytest.raises(WorkbenchError, match=r"probe holds.*takes(.*\n)*.*what fit is given"):
            fit(dense(x.shape[1]), x, y, probe, log)


def test_probe_is_spread_over_all_samples_and_so_is_each_batch_of_it():
    x = np.arange(1000)
    chosen = Probe.of((x, x)).samples.spread(64)
    assert len(chosen) == 64
    for batch in chosen.batches():
        assert batch.x.min() < 50
        assert batch.x.max() > 950
        assert batch.ids.tolist() == batch.x.astype(str).tolist()

"""Features of a frozen network: what it predicts, once for the same weights and samples."""

import keras
import numpy as np
import pytest
from keras import layers

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.models.frozen import compute_features

pytestmark = pytest.mark.usefixtures("project")


def make_split(samples: int = 50) -> wb.Split:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 255, (samples, 6, 6, 1), np.uint8)
    return wb.Split(
        {"image": images}, {"label": draw.integers(0, 2, samples)}, np.arange(samples).astype(str)
    )


def build_frozen(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [layers.Input((6, 6, 1)), layers.Conv2D(4, 3), layers.Dropout(0.5), layers.GlobalMaxPooling2D()]
    )
    model.trainable = False
    return model


@pytest.fixture
def computed(monkeypatch) -> list[str]:
    """The models that were run."""
    names, predict = [], keras.Model.predict
    monkeypatch.setattr(
        keras.Model, "predict", lambda model, *a, **k: names.append(model.name) or predict(model, *a, **k)
    )
    return names


def test_features_are_the_predictions_of_the_network_with_its_targets_and_ids():
    frozen, split = build_frozen(), make_split()
    features = compute_features(frozen, split, batch_size=16)
    np.testing.assert_allclose(features.x, frozen.predict(split.x, verbose=0), rtol=1e-6)
    np.testing.assert_array_equal(features.y, split.y)
    np.testing.assert_array_equal(features.ids, split.ids)


def test_features_are_computed_once_for_the_same_weights_and_samples(computed):
    first = compute_features(build_frozen(), make_split())
    again = compute_features(build_frozen(), make_split())
    np.testing.assert_array_equal(first.x, again.x)
    assert len(computed) == 1
    compute_features(build_frozen(seed=1), make_split())
    compute_features(build_frozen(), make_split(40))
    assert len(computed) == 3


def test_damaged_features_are_computed_again(computed, project):
    first = np.array(compute_features(build_frozen(), make_split()).x)
    (file,) = project.glob("data/cache/features/*/features.npy")
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-8])
    np.testing.assert_array_equal(compute_features(build_frozen(), make_split()).x, first)
    assert len(computed) == 2


def test_head_trained_on_features_is_the_network_trained_with_its_frozen_part():
    split = make_split()
    frozen = build_frozen()
    frozen.layers[1].rate = 0.0  # dropout is off in features

    def train(inputs, source):
        keras.utils.set_random_seed(2)
        head = keras.Sequential([layers.Input((4,)), layers.Dense(2, "softmax")])
        model = keras.Model(inputs, head(inputs if source is not split else frozen(inputs)))
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(source.batches(8, seed=0), epochs=3, verbose=0)
        return head.get_weights()

    whole = train(keras.Input((6, 6, 1)), split)
    alone = train(keras.Input((4,)), compute_features(frozen, split))
    for ours, theirs in zip(alone, whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_network_that_is_trained_is_refused():
    model = build_frozen()
    model.trainable = True
    with pytest.raises(WorkbenchError, match=r"2 of its weights may change.*\nFreeze it"):
        compute_features(model, make_split())

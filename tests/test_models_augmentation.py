"""Augmentation inside of networks: what it does to training samples, and that predictions never see it."""

import keras
import numpy as np
import pytest
from keras import ops

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.models.augmentation import augment_images, drop_tokens
from workbench.models.text import build_encoder, load_tokenizer, tokenize

CHANGES = ("flip", "crop", "colour")


def build_changes(shape, augmentation, seed=0):
    image = keras.Input(shape)
    return keras.Model(image, ops.add(augment_images(image, augmentation, seed), 0.0))


def draw_images(*shape):
    return np.random.default_rng(0).random(shape, dtype=np.float32)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("change", CHANGES)
def test_each_training_image_is_changed_in_a_way_of_its_own(change, channels):
    images = np.repeat(draw_images(1, 16, 16, channels), 32, axis=0)
    changed = np.asarray(build_changes((16, 16, channels), [change])(images, training=True))
    kinds = len(np.unique(changed.round(4).reshape(32, -1), axis=0))
    assert kinds == 2 if change == "flip" else kinds > 20
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_flip_mirrors_left_and_right():
    images = draw_images(32, 8, 8, 3)
    changed = np.asarray(build_changes((8, 8, 3), ["flip"])(images, training=True))
    mirrored = [np.array_equal(new, old[:, ::-1]) for new, old in zip(changed, images, strict=True)]
    unchanged = [np.array_equal(new, old) for new, old in zip(changed, images, strict=True)]
    assert 0 < sum(mirrored) < 32
    assert sum(mirrored) + sum(unchanged) == 32


def test_crop_moves_a_point_by_at_most_an_eighth():
    images = np.zeros((64, 32, 32, 1), np.float32)
    images[:, 16, 16] = 1
    changed = np.asarray(build_changes((32, 32, 1), ["crop"])(images, training=True))
    rows, columns = np.mgrid[:32, :32]
    for centres in ((changed[..., 0] * axis).sum((1, 2)) - 16 for axis in (rows, columns)):
        assert np.abs(centres).max() <= 4 + 1e-4
        assert np.abs(centres).max() > 2
        assert abs(centres.mean()) < 1.5  # both ways


def test_colour_changes_the_mean_of_an_image_by_little():
    images = np.full((64, 4, 4, 3), 0.5, np.float32)
    changed = np.asarray(build_changes((4, 4, 3), ["colour"])(images, training=True))
    shifts = changed.mean((1, 2, 3)) - 0.5
    assert np.abs(shifts).max() <= 0.2 + 1e-4
    assert shifts.min() < -0.05
    assert shifts.max() > 0.05


@pytest.mark.parametrize("name", ["cnn", "vgg", "resnet"])
def test_predictions_and_initial_weights_are_those_without_augmentation(name):
    networks = []
    for augmentation in ((), CHANGES):
        keras.utils.set_random_seed(3)
        networks.append(wb.build_model(name, (16, 16, 3), 4, augmentation, seed=3))
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    plain, augmented = (network.predict(images, verbose=0) for network in networks)
    np.testing.assert_array_equal(plain, augmented)
    assert len(networks[1].layers) == len(networks[0].layers) + 5


@pytest.mark.parametrize("jit_compile", [False, "auto"])
def test_training_repeats_with_the_seed_and_differs_with_another(jit_compile):
    images = np.random.default_rng(0).integers(0, 256, (48, 12, 12, 3), dtype=np.uint8)
    labels = np.arange(48) % 3

    def train(seed):
        keras.utils.set_random_seed(0)
        network = wb.build_model("cnn", (12, 12, 3), 3, CHANGES, seed)
        network.compile("sgd", "sparse_categorical_crossentropy", jit_compile=jit_compile)
        network.fit(images, labels, batch_size=16, epochs=2, shuffle=False, verbose=0)
        return network.get_weights()[0]

    np.testing.assert_array_equal(train(1), train(1))
    assert not np.array_equal(train(1), train(2))


def test_model_with_augmentation_is_saved_and_loaded(tmp_path):
    network = wb.build_model("cnn", (12, 12, 3), 3, CHANGES)
    network.save(tmp_path / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3), dtype=np.uint8)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), network.predict(images, verbose=0))


@pytest.mark.parametrize("augmentation", [["rotate"], ["flip", "flip"], "flip"])
def test_unknown_change_is_told_the_known_ones(augmentation):
    with pytest.raises(WorkbenchError, match="flip, crop, colour"):
        wb.build_model("cnn", (12, 12, 3), 3, augmentation)


def test_dropped_tokens_are_replaced_at_the_rate_and_ends_are_kept():
    tokens = np.full((200, 50), 7, np.int32)
    tokens[:, 0], tokens[:, -1] = 1, 2
    entry = keras.Input((None,), dtype="int32")
    network = keras.Model(entry, drop_tokens(entry, 0.3, replacement=0, kept=[1, 2], seed=0))
    dropped = np.asarray(network(tokens, training=True))
    assert np.isin(dropped, [0, 1, 2, 7]).all()
    assert (dropped[:, 0] == 1).all()
    assert (dropped[:, -1] == 2).all()
    # 9,600 draws have a standard error of 0.0047
    assert (dropped[:, 1:-1] == 0).mean() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_array_equal(network(tokens, training=False), tokens)


def test_encoder_hides_tokens_only_while_it_trains():
    texts = ["A wonderful film, all in all.", "A dreadful film, and a bore at that."]
    tokenizer = load_tokenizer("small-transformer", texts, max_length=16)
    tokens = tokenize(tokenizer, texts)
    outputs = []
    for rate in (0.0, 0.5):
        keras.utils.set_random_seed(0)
        outputs.append(build_encoder("small-transformer", tokenizer, token_dropout=rate))
    plain, hiding = outputs
    np.testing.assert_array_equal(plain(tokens, training=False), hiding(tokens, training=False))
    seen = hiding.get_layer("token_dropout")
    assert seen.rate == 0.5
    assert not any(layer.name == "token_dropout" for layer in plain.layers)


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_dropout_of_all_tokens_is_refused(rate):
    with pytest.raises(WorkbenchError, match="token_dropout"):
        drop_tokens(keras.Input((None,), dtype="int32"), rate, 0, [])

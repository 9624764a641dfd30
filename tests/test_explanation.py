"""Explanations of networks whose right answer can be worked out, and the tests that maps are put to."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.evaluation.explanation import (
    build_predict,
    check_sanity,
    explain_gradcam,
    integrate_gradients,
    integrate_token_gradients,
    load_network,
    measure_faithfulness,
    measure_word_faithfulness,
    merge_tokens,
    occlude_words,
)

SIDE = 8


def build_linear(seed: int = 0) -> keras.Model:
    """A network whose class scores are weighted sums of pixels."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((SIDE, SIDE, 1))
    label = layers.Dense(3, activation="softmax", name="label")(layers.Flatten()(image))
    return keras.Model(image, label)


def build_convolutional(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    image = keras.Input((SIDE, SIDE, 1))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="maps")(image)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(3, activation="softmax", name="label")(x))


def build_corner() -> keras.Model:
    """A network that says class 1 where the top left quarter is bright, and looks at nothing else."""
    network = build_linear()
    kernel = np.zeros((SIDE, SIDE, 3), np.float32)
    kernel[: SIDE // 2, : SIDE // 2, 1] = 0.02
    network.layers[-1].set_weights([kernel.reshape(-1, 3), np.array([0, -54, -90], np.float32)])
    return network


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(120, 256, (5, SIDE, SIDE, 1)).astype(np.uint8)


class TestIntegratedGradients:
    def test_of_a_linear_network_are_weight_times_input(self, images: np.ndarray) -> None:
        network = build_linear()
        kernel = network.layers[-1].get_weights()[0].reshape(SIDE, SIDE, 1, 3)
        found = integrate_gradients(network, images, 2)
        np.testing.assert_allclose(found, kernel[..., 2] * images, rtol=1e-4, atol=1e-4)

    def test_add_up_to_the_score_less_that_of_the_baseline(self, images: np.ndarray) -> None:
        network = build_convolutional()
        last = network.layers[-1]
        scores = keras.Model(network.input, last.input).predict(images, verbose=0) @ last.get_weights()[0]
        scores += last.get_weights()[1]
        base = np.zeros((1, SIDE, SIDE, 1))
        zero = keras.Model(network.input, last.input).predict(base, verbose=0) @ last.get_weights()[0]
        expected = (scores - zero - last.get_weights()[1])[:, 1]
        found = integrate_gradients(network, images, 1, steps=64).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.02)

    def test_explain_the_predicted_class_by_default(self, images: np.ndarray) -> None:
        network = build_linear()
        classes = network.predict(images, verbose=0).argmax(axis=1)
        np.testing.assert_allclose(
            integrate_gradients(network, images), integrate_gradients(network, images, classes), rtol=1e-5
        )

    def test_of_a_class_that_does_not_exist_are_refused(self, images: np.ndarray) -> None:
        with pytest.raises(WorkbenchError, match="tells 3 apart"):
            integrate_gradients(build_linear(), images, 3)


class TestGradCam:
    def test_of_averaged_maps_is_their_weighted_sum(self, images: np.ndarray) -> None:
        """With global average pooling the gradient of a class is its weight over the number of places."""
        network = build_convolutional()
        maps = keras.Model(network.input, network.get_layer("maps").output).predict(images, verbose=0)
        weights = network.get_layer("label").get_weights()[0][:, 0] / SIDE**2
        expected = np.maximum((maps * weights).sum(axis=-1), 0)
        np.testing.assert_allclose(explain_gradcam(network, images, 0), expected, rtol=1e-3, atol=1e-4)

    def test_without_a_convolution_is_refused(self) -> None:
        flat = keras.Sequential([keras.Input((6,)), layers.Dense(2, activation="softmax")])
        with pytest.raises(WorkbenchError, match="No layer"):
            explain_gradcam(flat, np.zeros((1, 6)))

    def test_of_a_subclassed_network_is_refused(self, images: np.ndarray) -> None:
        class Own(keras.Model):
            def call(self, x: object) -> object:
                return x

        with pytest.raises(WorkbenchError, match=r"subclassed|No layer"):
            explain_gradcam(Own(), images)


class TestTexts:
    def test_gradients_of_summed_embeddings_are_each_tokens_share(self) -> None:
        keras.utils.set_random_seed(0)
        tokens = keras.Input((4,), dtype="int32", name="token_ids")
        x = layers.GlobalAveragePooling1D()(layers.Embedding(20, 5)(tokens))
        network = keras.Model({"token_ids": tokens}, layers.Dense(2, activation="softmax")(x))
        ids = np.array([[3, 7, 7, 1], [2, 2, 9, 0]])
        found = integrate_token_gradients(network, {"token_ids": ids}, 1)
        table, kernel = network.layers[1].get_weights()[0], network.layers[-1].get_weights()[0]
        np.testing.assert_allclose(found, (table[ids] @ kernel[:, 1]) / 4, rtol=1e-4, atol=1e-6)

    def test_gradients_leave_the_network_as_it_was(self) -> None:
        keras.utils.set_random_seed(0)
        tokens = keras.Input((3,), dtype="int32", name="token_ids")
        x = layers.Flatten()(layers.Embedding(9, 2)(tokens))
        network = keras.Model({"token_ids": tokens}, layers.Dense(2, activation="softmax")(x))
        ids = {"token_ids": np.array([[1, 2, 3]])}
        before = network.predict(ids, verbose=0)
        integrate_token_gradients(network, ids)
        np.testing.assert_array_equal(network.predict(ids, verbose=0), before)

    def test_without_an_embedding_are_refused(self) -> None:
        network = keras.Sequential([keras.Input((3,)), layers.Dense(2, activation="softmax")])
        with pytest.raises(WorkbenchError, match="embeds no tokens"):
            integrate_token_gradients(network, {"x": np.zeros((1, 3))})

    def test_tokens_are_merged_to_the_words_that_they_come_from(self) -> None:
        from tokenizers import Tokenizer, models, pre_tokenizers

        pieces = {"[UNK]": 0, "un": 1, "##kind": 2, "film": 3}
        tokenizer = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        encoding = tokenizer.encode("unkind film")
        found = merge_tokens(np.array([0.1, 0.2, -0.5]), encoding, "unkind film")
        assert [word for word, _ in found] == ["unkind", "film"]
        assert [value for _, value in found] == pytest.approx([0.3, -0.5])

    def test_occlusion_finds_the_word_that_decides(self) -> None:
        def predict(texts: list[str]) -> np.ndarray:
            good = np.array([0.9 if "splendid" in text else 0.2 for text in texts])
            return np.stack([1 - good, good], axis=1)

        found = occlude_words(predict, "a splendid film")
        assert found == [("a", 0.0), ("splendid", pytest.approx(0.7)), ("film", 0.0)]


class TestNetworks:
    def test_of_a_run_that_kept_none_are_reported(self, project: Path) -> None:
        run = wb.start_run("runs/one")
        run.finish()
        with pytest.raises(WorkbenchError, match=r"runs/one has no artifacts/model\.keras"):
            load_network("runs/one")

    def test_are_loaded_with_their_predictions_unchanged(self, project: Path, images: np.ndarray) -> None:
        run, network = wb.start_run("runs/one"), build_convolutional()
        network.save(run.artifacts / "model.keras")
        predict = build_predict(load_network("runs/one"), "runs/one")
        np.testing.assert_array_equal(predict(images), network.predict(images, verbose=0))


class TestSanity:
    def test_a_map_of_the_input_alone_does_not_explain(self, images: np.ndarray) -> None:
        table = check_sanity(lambda _, x: np.asarray(x, float), build_convolutional(), images)
        assert table["layer"].tolist() == ["label", "maps"]
        assert table["similarity"].tolist() == pytest.approx([1, 1])
        assert not table["explains"].any()

    def test_a_map_of_the_weights_does(self, images: np.ndarray) -> None:
        network = build_linear(seed=3)
        weights = network.get_weights()
        table = check_sanity(lambda model, x: integrate_gradients(model, x, 1), network, images, seed=1)
        assert table["explains"].all()
        for before, after in zip(weights, network.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)


class TestSanityOfTexts:
    @staticmethod
    def explain(model: keras.Model, texts: list[str]) -> list[np.ndarray]:
        """Give each word the weight of its length; the last one was cut off."""
        kernel = model.layers[-1].get_weights()[0].ravel()
        return [np.array([*(kernel[len(word)] for word in text.split()[:-1]), np.nan]) for text in texts]

    def test_compares_the_words_that_were_not_cut(self) -> None:
        network = build_linear(seed=3)
        texts = ["a film that bores everybody here", "never seen anything so splendid"]
        table = check_sanity(self.explain, network, texts, seed=1)
        assert table["layer"].tolist() == ["label"]
        assert -1 <= table["similarity"][0] < 0.9
        stays = check_sanity(lambda _, x: self.explain(network, x), network, texts)
        assert stays["similarity"].tolist() == pytest.approx([1])
        assert not stays["explains"].any()

    def test_a_single_word_has_no_order(self) -> None:
        table = check_sanity(lambda _, x: [np.ones(1) for _ in x], build_linear(), ["good"])
        assert table["similarity"].tolist() == [0]


class TestFaithfulnessOfTexts:
    TEXTS = ("a splendid film of 1999", "not so splendid nor long", "what a splendid day to see it all")

    @staticmethod
    def predict(texts: list[str]) -> np.ndarray:
        good = np.array([0.9 if "splendid" in text.split() else 0.2 for text in texts])
        return np.stack([1 - good, good], axis=1)

    def measure(self, sign: float, **options: object) -> object:
        marked = [np.array([sign * (word == "splendid") for word in text.split()]) for text in self.TEXTS]
        return measure_word_faithfulness(self.predict, self.TEXTS, marked, np.ones(3, int), **options)

    def test_the_word_that_decides_goes_first_and_comes_first(self) -> None:
        found = self.measure(1.0, steps=40)
        curves = found.curves.set_index("share")
        assert curves["deletion"][0] == curves["insertion"][1] == pytest.approx(0.9)
        assert curves["deletion"][1] == curves["insertion"][0] == pytest.approx(0.2)
        first = [round(len(text.split()) * step / 40) for text in self.TEXTS for step in range(41)]
        share = np.mean(np.array(first).reshape(3, 41) >= 1, axis=0)  # of texts that have lost a word
        np.testing.assert_allclose(curves["deletion"], 0.9 - 0.7 * share)
        assert found.gains["deletion"][0] > 0 < found.gains["insertion"][0]

    def test_marks_that_are_wrong_are_worse_than_chance(self) -> None:
        found = self.measure(-1.0)
        assert found.gains["deletion"][0] < 0
        assert found.gains["insertion"][0] < 0

    def test_words_that_were_cut_off_come_last(self) -> None:
        marks = [np.array([np.nan, -1.0])]
        found = measure_word_faithfulness(self.predict, ["splendid film"], marks, np.array([1]), steps=2)
        assert found.curves["deletion"].tolist() == pytest.approx([0.9, 0.9, 0.2])

    def test_contributions_of_other_words_are_refused(self) -> None:
        with pytest.raises(WorkbenchError, match="2 words but 1 contributions"):
            measure_word_faithfulness(self.predict, ["splendid film"], [np.ones(1)])


class TestFaithfulness:
    def test_a_true_map_beats_chance_and_a_false_one_does_not(self) -> None:
        network = build_corner()
        random = np.random.default_rng(0)
        images = np.full((12, SIDE, SIDE, 1), 20, np.uint8)
        images[:, : SIDE // 2, : SIDE // 2] = random.integers(150, 250, (12, SIDE // 2, SIDE // 2, 1))

        def predict(x: np.ndarray) -> np.ndarray:
            return network.predict(x, verbose=0)

        maps = integrate_gradients(network, images, 1)
        true = measure_faithfulness(predict, images, maps, np.ones(12, int))
        false = measure_faithfulness(predict, images, -maps, np.ones(12, int))
        assert true.gains["deletion"][1] > 0
        assert true.gains["insertion"][1] > 0
        assert false.gains["deletion"][2] < 0
        curves = true.curves
        assert curves["deletion"].iloc[0] == pytest.approx(curves["insertion"].iloc[-1])
        assert curves["deletion"].iloc[-1] == pytest.approx(curves["insertion"].iloc[0])

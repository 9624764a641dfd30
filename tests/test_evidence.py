"""Slices, label errors, confusions, copies across splits, ablation and robustness."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

import workbench as wb
from workbench.datasets import Dataset, Split
from workbench.errors import WorkbenchError
from workbench.evaluation import (
    Predictions,
    Result,
    ablate,
    check_splits,
    corrupt_images,
    corrupt_texts,
    describe_samples,
    find_label_errors,
    find_near_duplicates,
    find_slices,
    measure_groups,
    measure_robustness,
    rank_confusions,
)
from workbench.runs import RunRecord

NAMES = ("a", "b", "c")


def make_result(right: np.ndarray, labels: np.ndarray, seed: int = 0, **parameters: Any) -> Result:
    guesses = np.where(right, labels, (labels + 1) % len(NAMES))
    values = 0.1 + 0.7 * np.eye(len(NAMES))[guesses]
    ids = np.arange(len(labels)).astype(str)
    record = RunRecord(
        Path(f"{seed}{parameters}"), "train", "finished", {"seed": seed, **parameters}, {}, None, {}, None
    )
    return Result("cnn", "model", Predictions(ids, labels, values, NAMES), seed, record)


def make_dataset(train: Any, test: Any, labels: tuple[Any, Any], task: str = "text") -> Dataset:
    parts = [
        Split({task: inputs}, {"label": np.asarray(y)}, np.array([f"{name}{n}" for n in range(len(y))]))
        for name, inputs, y in zip(("train", "test"), (train, test), labels, strict=True)
    ]
    return Dataset("made", f"{task}-classification", parts[0], parts[1], parts[1], NAMES, "0" * 32, {}, {})


class TestSlices:
    def test_find_where_the_model_is_worse(self) -> None:
        random = np.random.default_rng(0)
        labels, dark = random.integers(0, 3, 2000), random.random(2000) < 0.2
        results = [make_result(random.random(2000) < np.where(dark, 0.7, 0.9), labels, n) for n in range(3)]
        columns = {
            "light": np.where(dark, "dark", "bright"),
            "chance": random.integers(0, 5, 2000),
            "class": np.array(NAMES)[labels],
        }
        found = find_slices(results, columns)
        assert (found["column"][0], found["group"][0], bool(found["worse"][0])) == ("light", "dark", True)
        assert found["worse"].sum() == 1, "the rest is chance"
        row = found.iloc[0]
        assert row["samples"] == dark.sum()
        assert row["gap_low"] < -0.2 + 0.06 < row["gap_high"] + 0.06
        right = np.mean([r.predictions.probabilities.argmax(1) == labels for r in results], axis=0)
        assert row["value"] == pytest.approx(right[dark].mean())
        assert row["elsewhere"] == pytest.approx(right[~dark].mean())

    def test_are_tested_as_fisher_does(self) -> None:
        labels = np.zeros(100, int)
        right, inside = np.arange(100) % 4 != 0, np.arange(100) < 30
        table = measure_groups([make_result(right, labels)], np.where(inside, "in", "out"))
        counts = [[(~right & inside).sum(), (right & inside).sum()]]
        counts += [[(~right & ~inside).sum(), (right & ~inside).sum()]]
        assert table.set_index("group")["p"]["in"] == pytest.approx(stats.fisher_exact(counts).pvalue)

    def test_find_nothing_where_there_is_nothing(self) -> None:
        """The false-positive rate over many experiments, each with twenty slices."""
        random = np.random.default_rng(1)
        false = 0
        for _ in range(40):
            labels = random.integers(0, 3, 400)
            result = make_result(random.random(400) < 0.8, labels)
            false += find_slices([result], {"noise": random.integers(0, 10, 400)}, resamples=20)[
                "worse"
            ].any()
        assert false <= 5  # 2 are expected, Fisher's test being cautious

    def test_of_numbers_are_quarters(self) -> None:
        labels = np.zeros(200, int)
        table = measure_groups([make_result(np.arange(200) > 20, labels)], np.arange(200.0))
        assert table["samples"].tolist() == [50] * 4
        assert table["value"][0] < table["value"][1]

    def test_without_a_sample_are_marked(self) -> None:
        column = pd.Categorical(["x"] * 60 + ["y"] * 40, categories=["x", "y", "never"])
        table = measure_groups([make_result(np.arange(100) % 3 > 0, np.zeros(100, int))], column)
        row = table.set_index("group").loc["never"]
        assert row["samples"] == 0
        assert row[["value", "gap", "p"]].isna().all()
        assert (
            find_slices([make_result(np.arange(100) % 3 > 0, np.zeros(100, int))], {"c": column}).shape[0]
            == 3
        )

    def test_of_another_test_set_are_refused(self) -> None:
        with pytest.raises(WorkbenchError, match="groups 3 samples"):
            measure_groups([make_result(np.ones(5, bool), np.zeros(5, int))], ["x", "y", "z"])

    def test_by_nothing_or_of_nothing_are_refused(self) -> None:
        result = make_result(np.ones(4, bool), np.zeros(4, int))
        with pytest.raises(WorkbenchError, match="no column"):
            find_slices([result], {})
        with pytest.raises(WorkbenchError, match="no model"):
            find_slices([], {"c": ["x"] * 4})
        with pytest.raises(WorkbenchError, match=r"shape \(4, 2\)"):
            measure_groups([result], np.zeros((4, 2)))

    def test_leave_out_samples_whose_value_is_missing(self) -> None:
        column = np.arange(100.0)
        column[:4] = np.nan, np.inf, -np.inf, np.nan
        table = measure_groups([make_result(np.arange(100) % 3 > 0, np.zeros(100, int))], column)
        assert table["samples"].tolist() == [24] * 4

    def test_describe_images_and_texts(self) -> None:
        images = np.stack([np.full((4, 4, 1), value, np.uint8) for value in (0, 255)])
        found = describe_samples(make_dataset(images, images, ([0, 1], [0, 1]), "image"))
        assert found["brightness"].tolist() == [0, 1]
        assert found["class"].tolist() == ["a", "b"]
        texts = np.array(["one two", "three"], object)
        assert describe_samples(make_dataset(texts, texts, ([0, 1], [0, 1])))["words"].tolist() == [2, 1]


class TestLabels:
    def test_that_were_flipped_are_found_among_real_digits(self) -> None:
        """Five labels in a hundred are flipped; no sample is predicted by a model trained with it."""
        digits = load_digits()
        random = np.random.default_rng(0)
        flipped = random.random(len(digits.target)) < 0.05
        labels = np.where(flipped, (digits.target + random.integers(1, 10, len(flipped))) % 10, digits.target)
        model = LogisticRegression(max_iter=200)
        values = cross_val_predict(model, digits.data / 16, labels, cv=3, method="predict_proba")
        names = tuple("0123456789")
        found = find_label_errors(Predictions(np.arange(len(labels)).astype(str), labels, values, names))
        hits = flipped[found["sample"]]
        assert hits.sum() / flipped.sum() > 0.65
        assert hits[:50].mean() > 0.9
        assert found["margin"].is_monotonic_increasing

    def test_agree_with_the_definition_worked_by_hand(self) -> None:
        # thresholds: class 0 (0.9 + 0.2) / 2 = 0.55, class 1 (0.8 + 0.6) / 2 = 0.7
        values = np.array([[0.9, 0.1], [0.2, 0.8], [0.2, 0.8], [0.4, 0.6]])
        run = Predictions(np.array(list("wxyz")), np.array([0, 0, 1, 1]), values, ("a", "b"))
        found = find_label_errors(run)
        assert found["id"].tolist() == ["x"]
        assert found["suggested"].tolist() == ["b"]
        assert found["margin"].tolist() == [-0.6]

    def test_without_doubt_are_none(self) -> None:
        run = Predictions(np.array(["0", "1"]), np.array([0, 1]), np.eye(2), ("a", "b"))
        assert find_label_errors(run).empty

    def test_confusions_are_ranked(self) -> None:
        found = rank_confusions(np.array([[5, 3, 0], [1, 9, 0], [0, 0, 4]]), NAMES)
        assert found.values.tolist() == [["a", "b", 3, 0.375], ["b", "a", 1, 0.1]]


class TestCopies:
    def test_of_texts_are_found_though_a_word_differs(self) -> None:
        text = "a slow and beautiful film about two sisters who keep a lighthouse by the northern sea"
        train = np.array([text, "something else entirely, with robots"], object)
        test = np.array([text.replace("northern", "southern"), "an honest comedy", train[1]], object)
        data = make_dataset(train, test, ([0, 1], [0, 1, 0]))
        found = find_near_duplicates(data)
        assert found["id"].tolist() == ["test2", "test0"]
        assert found["exact"].tolist() == [True, False]
        (finding,) = check_splits(data)
        assert finding.severity == "error"
        assert "2 of 3 test samples" in finding.message
        assert "1 of them exactly, 1 with another label" in finding.message

    def test_of_images_are_found_compressed_or_mirrored(self) -> None:
        random = np.random.default_rng(0)
        smooth = np.cumsum(np.cumsum(random.normal(size=(6, 32, 32, 3)), axis=1), axis=2)
        low, high = smooth.min(axis=(1, 2, 3), keepdims=True), smooth.max(axis=(1, 2, 3), keepdims=True)
        images = ((smooth - low) / (high - low) * 255).astype(np.uint8)
        test = np.concatenate([corrupt_images(images[:1], "jpeg", 3), images[1:2, :, ::-1], images[4:]])
        data = make_dataset(images[:4], test, ([0] * 4, [0] * 4), "image")
        assert set(find_near_duplicates(data)["id"]) == {"test0", "test1"}

    def test_where_there_are_none_nothing_is_said(self) -> None:
        assert check_splits(wb.load_dataset("digits")) == []

    def test_of_another_task_are_refused(self) -> None:
        data = dataclasses.replace(make_dataset(["x"], ["y"], ([0], [0])), task="speech")
        with pytest.raises(WorkbenchError, match="'speech'"):
            find_near_duplicates(data)


class TestAblation:
    def test_tells_what_each_choice_contributes(self) -> None:
        labels = np.random.default_rng(5).integers(0, 3, 1500)
        hardness = np.random.default_rng(6).random(1500)
        results = [
            make_result(
                0.9 * hardness + 0.1 * np.random.default_rng(seed + 7 * width).random(1500)
                < 0.7 + 0.1 * (width == 64),
                labels,
                seed,
                width=width,
                dropout=dropout,
            )
            for width in (32, 64)
            for dropout in (0.0, 0.5)
            for seed in range(3)
        ]
        table = ablate(results, resamples=500)
        assert table[["choice", "from", "to"]].drop_duplicates().values.tolist() == [
            ["width", "32", "64"],
            ["dropout", "0.0", "0.5"],
        ]
        width, dropout = (table[table["choice"] == name] for name in ("width", "dropout"))
        assert (width["low"] > 0).all()
        assert width["gain"].iloc[0] == pytest.approx(0.11, abs=0.02)
        assert ((dropout["low"] <= 0) & (dropout["high"] >= 0)).all()
        assert (table["low"] <= table["gain"]).all()
        assert (table["gain"] <= table["high"]).all()
        assert (table["p_adjusted"] >= table["p"]).all()

    def test_leaves_out_baselines_that_are_no_runs(self) -> None:
        labels = np.random.default_rng(0).integers(0, 3, 100)
        results = [make_result(np.arange(100) % 9 > size, labels, size=size) for size in (1, 3)]
        baseline = Result("majority", "baseline", results[0].predictions)
        assert ablate([*results, baseline], resamples=50).equals(ablate(results, resamples=50))

    def test_of_seeds_alone_is_refused(self) -> None:
        results = [make_result(np.ones(9, bool), np.zeros(9, int), seed) for seed in range(2)]
        with pytest.raises(WorkbenchError, match="nothing but their seeds"):
            ablate(results)


class TestRobustness:
    @pytest.mark.parametrize("kind", ["noise", "blur", "contrast", "jpeg"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_corruptions_of_images_grow_with_their_strength(self, kind: str, channels: int) -> None:
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (3, 16, 16, channels), np.uint8)
        changed = [corrupt_images(images, kind, strength, seed=1) for strength in range(6)]
        distances = [np.abs(each.astype(int) - images).mean() for each in changed]
        assert distances[0] == 0
        assert distances == sorted(distances)
        assert distances[5] > distances[1] > 0
        assert all(each.dtype == np.uint8 and each.shape == images.shape for each in changed)
        np.testing.assert_array_equal(changed[4], corrupt_images(images, kind, 4, seed=1))

    @pytest.mark.parametrize("kind", ["typos", "word dropout"])
    def test_corruptions_of_texts_grow_with_their_strength(self, kind: str) -> None:
        texts = [" ".join(["wonderful", "pictures", "of", "nothing"] * 25)] * 20
        changed = [corrupt_texts(texts, kind, strength, seed=1) for strength in range(6)]
        assert list(changed[0]) == texts
        known = set(texts[0].split())
        damage = [
            np.mean(
                [sum(word not in known for word in text.split()) + 100 - len(text.split()) for text in each]
            )
            for each in changed
        ]
        assert damage == sorted(damage)
        assert damage[5] > 1.5 * damage[1] > 0
        assert list(changed[3]) == list(corrupt_texts(texts, kind, 3, seed=1))

    def test_word_dropout_leaves_a_word(self) -> None:
        assert all(corrupt_texts(["film"] * 50, "word dropout", 5))
        assert corrupt_texts([""], "typos", 5).tolist() == [""]

    @staticmethod
    def make_brightness_data(samples: int = 200) -> Dataset:
        """Return images whose class is whether they are light, some of them hardly."""
        random = np.random.default_rng(0)
        shades = random.integers(0, 256, samples)
        images = np.broadcast_to(shades[:, None, None, None], (samples, 8, 8, 1)).astype(np.uint8)
        labels = (shades + random.normal(0, 30, samples) > 128).astype(int)
        return make_dataset(images[:9], images, (labels[:9], labels), "image")

    @staticmethod
    def predict_above(threshold: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: np.eye(2)[(x.mean(axis=(1, 2, 3)) > threshold).astype(int)]

    def test_interval_over_several_seeds_joins_both_variances(self) -> None:
        data = self.make_brightness_data()
        predicts = [self.predict_above(threshold) for threshold in (90, 130, 170)]
        single = [measure_robustness(each, data, ["blur"]) for each in predicts]
        table = measure_robustness(predicts, data, ["blur"])
        assert table["seeds"].tolist() == [3] * 6
        expected = np.mean([each["accuracy"] for each in single], axis=0)
        np.testing.assert_allclose(table["accuracy"], expected)
        widths = [(each["high"] - each["low"]).iloc[0] for each in (table, *single)]
        assert widths[0] > max(widths[1:]), "these seeds differ by more than the samples' noise"
        assert (table["low"] < table["accuracy"]).all()
        assert table["high"].max() <= 1
        again = measure_robustness(predicts, data, ["blur"])
        assert again.equals(table)

    def test_interval_of_equal_seeds_is_about_that_of_one(self) -> None:
        data = self.make_brightness_data()
        one = measure_robustness(self.predict_above(128), data, ["blur"]).iloc[0]
        three = measure_robustness([self.predict_above(128)] * 3, data, ["blur"]).iloc[0]
        assert three["high"] - three["low"] == pytest.approx(one["high"] - one["low"], rel=0.1)

    def test_without_any_mistake_leaves_room_for_one(self) -> None:
        data = self.make_brightness_data(50)
        labels = (data.test.x.mean(axis=(1, 2, 3)) > 128).astype(int)
        data = make_dataset(data.train.x, data.test.x, (data.train.y, labels), "image")
        row = measure_robustness([self.predict_above(128)] * 3, data, ["blur"]).iloc[0]
        assert row["accuracy"] == row["high"] == 1 > row["low"]

    def test_without_a_model_is_refused(self) -> None:
        with pytest.raises(WorkbenchError, match="0 models and 200 test samples"):
            measure_robustness([], self.make_brightness_data())

    def test_curve_begins_with_the_accuracy_of_the_test(self) -> None:
        digits = load_digits()
        images = np.repeat(np.repeat((digits.images * 15).astype(np.uint8), 2, 1), 2, 2)[..., None]
        model = LogisticRegression(max_iter=30).fit(
            images[:1200].reshape(1200, -1) / 255, digits.target[:1200]
        )
        names = tuple("0123456789")
        data = make_dataset(images[:9], images[1200:], (digits.target[:9], digits.target[1200:]), "image")
        data = dataclasses.replace(data, class_names=names)
        table = measure_robustness(
            lambda x: model.predict_proba(x.reshape(len(x), -1) / 255), data, ["noise"]
        )
        clean = model.score(images[1200:].reshape(len(images) - 1200, -1) / 255, digits.target[1200:])
        assert table[table["strength"] == 0]["accuracy"].unique() == pytest.approx([clean])
        assert table["low"].le(table["accuracy"]).all()
        noise = table[table["corruption"] == "noise"]["accuracy"].to_numpy()
        assert noise[5] < noise[0]

    @pytest.mark.parametrize(("kind", "strength"), [("rain", 1), ("noise", 6)])
    def test_unknown_corruptions_are_refused(self, kind: str, strength: int) -> None:
        with pytest.raises(WorkbenchError, match="no corruption"):
            corrupt_images(np.zeros((1, 4, 4, 1), np.uint8), kind, strength)
        with pytest.raises(WorkbenchError, match="no corruption"):
            corrupt_texts(["x"], kind, strength)

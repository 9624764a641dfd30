"""Predictions, measures, baselines and the checks that make models comparable."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

import workbench as wb
from workbench.datasets import Dataset, Split
from workbench.errors import WorkbenchError
from workbench.evaluation import Predictions, baselines

ROOT = Path(__file__).parents[1]


def make_split(inputs: np.ndarray, labels: Any, name: str = "image", prefix: str = "") -> Split:
    ids = np.array([f"{prefix}{number}" for number in range(len(labels))])
    return Split({name: inputs}, {"label": np.asarray(labels, np.int64)}, ids)


def make_dataset(train: Split, test: Split, names: tuple[str, ...], task: str = "image") -> Dataset:
    return Dataset(
        name="made",
        task=f"{task}-classification",
        train=train,
        val=test,
        test=test,
        class_names=names,
        fingerprint="0" * 32,
        recipe={},
        card={},
    )


def make_predictions(labels: Any, probabilities: Any, names: tuple[str, ...] | None = None) -> Predictions:
    values = np.asarray(probabilities, np.float32)
    ids = np.array([str(number) for number in range(len(labels))])
    names = names or tuple(f"class {number}" for number in range(values.shape[1]))
    return Predictions(ids, np.asarray(labels, np.int64), values, names)


def one_hot(guesses: Any, classes: int) -> np.ndarray:
    return np.eye(classes)[np.asarray(guesses)]


@pytest.fixture
def bright_and_dark() -> Dataset:
    """Two classes of images that a linear model can tell apart."""
    random = np.random.default_rng(0)
    labels = np.arange(80) % 2
    images = (labels[:, None, None, None] * 120 + random.integers(0, 100, (80, 8, 8, 1))).astype(np.uint8)
    return make_dataset(
        make_split(images[:60], labels[:60]), make_split(images[60:], labels[60:]), ("dark", "bright")
    )


class TestPredictions:
    def test_come_back_as_written(self, project: Path) -> None:
        names = ("猫", "<script>alert(1)</script>", 'a "quoted" name')
        split = make_split(np.zeros((4, 2, 2, 1), np.uint8), [0, 2, 1, 0], prefix="train/猫/")
        values = softmax(np.random.default_rng(0).normal(size=(4, 3)), axis=1).astype(np.float32)
        run = wb.start_run("runs/one")
        wb.write_predictions(run, split, values, names)
        found = wb.read_predictions("runs/one")
        assert found.class_names == names
        assert found.ids.tolist() == split.ids.tolist()
        np.testing.assert_array_equal(found.labels, split.y)
        np.testing.assert_array_equal(found.probabilities, values)

    def test_have_the_documented_columns(self, project: Path) -> None:
        import pyarrow.parquet as pq

        run = wb.start_run("runs/one")
        path = wb.write_predictions(run, make_split(np.zeros(2), [0, 1]), one_hot([0, 1], 2), ("a", "b"))
        schema = pq.read_schema(path)
        assert schema.names == ["id", "label", "p_0", "p_1"]
        assert [str(kind) for kind in schema.types] == ["string", "int64", "float", "float"]

    @pytest.mark.parametrize(
        ("probabilities", "message"),
        [
            (np.full((3, 2), 0.5), r"shape \(3, 2\).*2 samples"),
            (np.full((2, 3), 1 / 3), r"shape \(2, 3\).*2 classes"),
            (np.array([[0.5, 0.5], [np.nan, 0.5]]), "NaN"),
            (np.array([[4.0, -3.0], [0.5, 0.5]]), "softmax"),
            (np.array([[0.5, 0.4], [0.5, 0.5]]), "sum"),
        ],
    )
    def test_that_are_no_probabilities_are_refused(
        self, project: Path, probabilities: np.ndarray, message: str
    ) -> None:
        run = wb.start_run("runs/one")
        with pytest.raises(WorkbenchError, match=f"(?s){message}"):
            wb.write_predictions(run, make_split(np.zeros(2), [0, 1]), probabilities, ("a", "b"))
        assert not (run.path / "artifacts/predictions.parquet").exists()

    def test_of_samples_with_one_id_are_refused(self, project: Path) -> None:
        split = dataclasses.replace(make_split(np.zeros(2), [0, 1]), ids=np.array(["a", "a"]))
        with pytest.raises(WorkbenchError, match="different ids"):
            wb.write_predictions(wb.start_run("runs/one"), split, one_hot([0, 1], 2), ("a", "b"))

    def test_with_labels_beyond_the_class_names_are_refused(self, project: Path) -> None:
        split = make_split(np.zeros(2), [0, 5])
        with pytest.raises(WorkbenchError, match="labels from 0 to 5"):
            wb.write_predictions(wb.start_run("runs/one"), split, one_hot([0, 1], 2), ("a", "b"))
        with pytest.raises(WorkbenchError, match="labels from -1 to 0"):
            make_predictions([-1, 0], one_hot([0, 1], 2))

    def test_missing_from_a_run_are_reported_with_its_path(self, project: Path) -> None:
        wb.start_run("runs/one").finish()
        with pytest.raises(WorkbenchError, match=r"runs/one holds no artifacts/predictions\.parquet"):
            wb.read_predictions("runs/one")

    def test_in_a_damaged_file_are_reported(self, project: Path) -> None:
        run = wb.start_run("runs/one")
        (run.artifacts / "predictions.parquet").write_bytes(b"PAR1 torn")
        with pytest.raises(WorkbenchError, match="not a file of predictions"):
            wb.read_predictions("runs/one")


class TestMeasures:
    def test_agree_with_numbers_worked_by_hand(self) -> None:
        labels = [0, 0, 0, 1]
        probabilities = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]]
        found = wb.evaluation.evaluate_predictions(make_predictions(labels, probabilities))
        assert found["accuracy"] == pytest.approx(3 / 4)
        # class 0: precision 1, recall 2/3, F1 0.8; class 1: precision 1/2, recall 1, F1 2/3
        assert found["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
        assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.2, 0.7]).mean(), rel=1e-6)

    def test_average_f1_over_the_classes_that_occur(self) -> None:
        found = wb.evaluation.evaluate_predictions(make_predictions([0, 1], one_hot([0, 1], 4)))
        assert found["macro_f1"] == 1

    def test_count_a_probability_of_zero_as_the_smallest_step(self) -> None:
        found = wb.evaluation.evaluate_predictions(make_predictions([0], [[0.0, 1.0]]))
        assert found["log_loss"] == pytest.approx(-np.log(np.finfo(np.float32).eps), rel=1e-3)

    def test_of_an_empty_test_set_are_refused(self) -> None:
        for measure in (wb.evaluation.evaluate_predictions, wb.evaluation.measure_classes):
            with pytest.raises(WorkbenchError, match="no sample"):
                measure(make_predictions([], np.zeros((0, 2))))

    def test_of_a_single_class_that_there_is_are_perfect(self) -> None:
        found = wb.evaluation.measure_predictions(make_predictions([0, 0], np.ones((2, 1))))
        assert (found["accuracy"], found["log_loss"]) == (1, 0)
        assert np.isnan(found["roc_auc"])

    def test_confusions_are_counted_by_true_and_predicted_class(self) -> None:
        predictions = make_predictions([0, 0, 2, 2, 2], one_hot([0, 2, 2, 2, 0], 3))
        expected = [[1, 0, 1], [0, 0, 0], [1, 0, 2]]
        np.testing.assert_array_equal(wb.evaluation.count_confusions(predictions), expected)

    def test_of_a_class_are_nan_where_they_do_not_exist(self) -> None:
        table = wb.evaluation.measure_classes(make_predictions([0, 0, 2], one_hot([0, 2, 2], 3)))
        assert table["support"].tolist() == [2, 0, 1]
        np.testing.assert_allclose(table["precision"], [1, np.nan, 0.5])
        np.testing.assert_allclose(table["recall"], [0.5, np.nan, 1])


class TestSelection:
    def test_takes_the_classes_in_turn(self) -> None:
        labels = np.array([0, 0, 0, 1, 1, 2])
        chosen = wb.evaluation.spread_over_classes(labels, 5)
        assert labels[chosen].tolist() == [0, 1, 2, 0, 1]
        assert len(set(chosen.tolist())) == 5

    def test_of_fewer_samples_than_classes_spans_them(self) -> None:
        chosen = wb.evaluation.spread_over_classes(np.arange(100), 3)
        assert chosen.tolist() == [0, 49, 99]

    def test_of_more_than_there_are_takes_all(self) -> None:
        assert sorted(wb.evaluation.spread_over_classes(np.array([1, 0]), 9)) == [0, 1]

    def test_of_mistakes_has_the_highest_loss_first(self) -> None:
        probabilities = [[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.3, 0.7]]
        predictions = make_predictions([0, 1, 1, 1], probabilities, ("cat", "dog"))
        table = wb.evaluation.find_worst_mistakes(predictions, 9)
        assert table["sample"].tolist() == [2, 1]
        assert table["true"].tolist() == ["dog", "dog"]
        assert table["predicted"].tolist() == ["cat", "cat"]
        np.testing.assert_allclose(table["probability"], [0.8, 0.6])
        np.testing.assert_allclose(table["loss"], -np.log([0.2, 0.4]), atol=1e-3)

    def test_of_mistakes_is_empty_when_there_is_none(self) -> None:
        table = wb.evaluation.find_worst_mistakes(make_predictions([0, 1], one_hot([0, 1], 2)), 5)
        assert table.empty
        assert "id" in table


class TestBaselines:
    def test_majority_gives_the_frequencies_of_the_training_set(self) -> None:
        train = make_split(np.zeros((4, 2, 2, 1), np.uint8), [0, 0, 0, 2])
        test = make_split(np.zeros((2, 2, 2, 1), np.uint8), [1, 1])
        found = baselines.fit_majority(make_dataset(train, test, ("a", "b", "c"))).predictions
        np.testing.assert_allclose(found.probabilities, [[0.75, 0, 0.25]] * 2)

    def test_pixels_tell_bright_from_dark(self, bright_and_dark: Dataset) -> None:
        result = baselines.fit_pixels(bright_and_dark)
        assert result.model == "logistic regression on pixels"
        assert wb.evaluation.evaluate_predictions(result.predictions)["accuracy"] == 1

    def test_pixels_agree_with_scikit_learn_on_its_digits(self) -> None:
        from sklearn.datasets import load_digits
        from sklearn.linear_model import LogisticRegression

        digits = load_digits()
        images = (digits.images * 15).astype(np.uint8)[..., None]
        data = make_dataset(
            make_split(images[:1200], digits.target[:1200]),
            make_split(images[1200:], digits.target[1200:]),
            tuple("0123456789"),
        )
        flat = images.reshape(len(images), -1) / 255
        reference = LogisticRegression(max_iter=2000).fit(flat[:1200], digits.target[:1200])
        found = wb.evaluation.evaluate_predictions(baselines.fit_pixels(data).predictions)
        assert found["accuracy"] == pytest.approx(
            reference.score(flat[1200:], digits.target[1200:]), abs=0.02
        )

    def test_are_fitted_on_the_training_set_alone(self, bright_and_dark: Dataset) -> None:
        swapped = make_split(bright_and_dark.test.x, 1 - bright_and_dark.test.y)
        other = dataclasses.replace(bright_and_dark, val=swapped, test=swapped)
        for one, two in zip(
            wb.evaluation.evaluate_baselines(bright_and_dark),
            wb.evaluation.evaluate_baselines(other),
            strict=True,
        ):
            np.testing.assert_array_equal(one.predictions.probabilities, two.predictions.probabilities)

    def test_give_a_class_without_training_samples_no_probability(self, bright_and_dark: Dataset) -> None:
        data = dataclasses.replace(bright_and_dark, class_names=("dark", "bright", "never"))
        assert not baselines.fit_pixels(data).predictions.probabilities[:, 2].any()

    def test_of_many_images_take_a_part_and_say_so(
        self, bright_and_dark: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(baselines, "MOST_VALUES", 0)
        monkeypatch.setattr(baselines, "FEWEST_IMAGES", 20)
        result = baselines.fit_pixels(bright_and_dark)
        assert result.model == "logistic regression on pixels, 20 of 60 training images"

    def test_part_keeps_the_proportions_of_the_classes(self) -> None:
        labels = np.repeat([0, 1, 2], [700, 200, 100])
        chosen = baselines._stratified_subset(labels, 100)
        assert np.bincount(labels[chosen]).tolist() == [70, 20, 10]
        assert len(set(chosen.tolist())) == 100

    def test_of_large_images_average_squares_and_say_so(self) -> None:
        labels = np.arange(12) % 2
        images = np.broadcast_to(labels[:, None, None, None] * np.uint8(200), (12, 70, 100, 3)).astype(
            np.uint8
        )
        data = make_dataset(make_split(images, labels), make_split(images, labels), ("a", "b"))
        result = baselines.fit_pixels(data)
        assert "averaged over 3 x 3" in result.model
        assert wb.evaluation.evaluate_predictions(result.predictions)["accuracy"] == 1

    def test_averaging_squares_is_their_mean(self) -> None:
        image = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
        found = baselines._pixels(image, np.array([0]), 2)
        np.testing.assert_allclose(found * 255, [[2.5, 4.5, 10.5, 12.5]], rtol=1e-6)

    @pytest.mark.parametrize(
        ("positive", "negative"),
        [("a good film", "a bad film"), ("好的电影", "坏的电影"), ("👍", "👎"), ("!!", "??")],
    )
    def test_words_of_any_script_are_told_apart(self, positive: str, negative: str) -> None:
        texts = np.array([positive, negative] * 10, dtype=object)
        split = make_split(texts, [1, 0] * 10, "text")
        result = baselines.fit_words(make_dataset(split, split, ("-", "+"), "text"))
        assert wb.evaluation.evaluate_predictions(result.predictions)["accuracy"] == 1

    def test_for_another_task_are_refused(self, bright_and_dark: Dataset) -> None:
        other = dataclasses.replace(bright_and_dark, task="speech-recognition")
        with pytest.raises(WorkbenchError, match="speech-recognition"):
            wb.evaluation.evaluate_baselines(other)


def test_evaluation_never_imports_a_deep_learning_framework() -> None:
    script = (
        "import sys, workbench as wb\n"
        "for name in wb.evaluation.__all__:\n    if name != 'explanation': getattr(wb.evaluation, name)\n"
        "print([name for name in ('tensorflow', 'keras', 'torch', 'jax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

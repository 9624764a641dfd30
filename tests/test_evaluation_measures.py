"""All measures by task, from stored predictions, against scikit-learn and numbers worked by hand."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics

import workbench as wb
from workbench.datasets import Split
from workbench.errors import WorkbenchError
from workbench.evaluation import (
    Outputs,
    Predictions,
    bound_calibration_error,
    fit_temperature,
    measure_calibration_error,
    measure_outputs,
    measure_predictions,
    measure_reliability,
    read_outputs,
    scale_temperature,
    write_outputs,
)


def draw_predictions(samples: int, sharpness: float = 1.0, classes: int = 4, seed: int = 0) -> Predictions:
    """Return predictions that are calibrated if the sharpness is 1, and too sure if it is above."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (samples, classes))
    chances = softmax(logits, axis=1)
    labels = (random.random((samples, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(0, classes - 1)
    names = tuple(f"class {number}" for number in range(classes))
    said = softmax(logits * sharpness, axis=1).astype(np.float32)
    return Predictions(np.arange(samples).astype(str), labels, said, names)


class TestClassification:
    def test_agrees_with_scikit_learn(self) -> None:
        run = draw_predictions(500, classes=7)
        found = measure_predictions(run)
        labels, values, guesses = run.labels, run.probabilities, run.probabilities.argmax(1)
        values = values.astype(float) / values.sum(axis=1, keepdims=True, dtype=float)
        assert found == pytest.approx(
            {
                "accuracy": metrics.accuracy_score(labels, guesses),
                "macro_f1": metrics.f1_score(labels, guesses, average="macro"),
                "weighted_f1": metrics.f1_score(labels, guesses, average="weighted"),
                "balanced_accuracy": metrics.balanced_accuracy_score(labels, guesses),
                "log_loss": metrics.log_loss(labels, values),
                "kappa": metrics.cohen_kappa_score(labels, guesses),
                "matthews": metrics.matthews_corrcoef(labels, guesses),
                "roc_auc": metrics.roc_auc_score(labels, values, multi_class="ovr"),
                "pr_auc": metrics.average_precision_score(np.eye(7)[labels], values, average="macro"),
                "top_5": metrics.top_k_accuracy_score(labels, values, k=5),
                "brier": ((values - np.eye(7)[labels]) ** 2).sum(axis=1).mean(),
                "calibration_error": measure_calibration_error(run),
            },
            rel=1e-5,
        )

    def test_of_one_class_marks_what_is_not_defined(self) -> None:
        run = Predictions(np.array(["0", "1"]), np.array([0, 0]), np.eye(2)[[0, 0]], ("a", "b"))
        found = measure_predictions(run)
        assert found["accuracy"] == 1
        assert np.isnan([found[name] for name in ("roc_auc", "pr_auc", "kappa", "matthews")]).all()

    def test_of_predictions_without_a_sample_is_refused(self) -> None:
        empty = Predictions(np.array([], str), np.array([], int), np.zeros((0, 2)), ("a", "b"))
        with pytest.raises(WorkbenchError, match="no sample"):
            measure_predictions(empty)

    def test_can_be_computed_for_the_validation_set_too(self, project: Path) -> None:
        run = wb.start_run("runs/one")
        split = Split({"x": np.zeros(2)}, {"label": np.array([0, 1])}, np.array(["p", "q"]))
        wb.write_predictions(run, split, np.eye(2), ("a", "b"), part="val")
        assert wb.read_predictions("runs/one", "val").ids.tolist() == ["p", "q"]
        with pytest.raises(WorkbenchError, match=r"holds no artifacts/predictions\.parquet"):
            wb.read_predictions("runs/one")
        with pytest.raises(WorkbenchError, match="part 'train'"):
            wb.read_predictions("runs/one", "train")


class TestCalibration:
    def test_error_agrees_with_a_number_worked_by_hand(self) -> None:
        confidence = np.repeat([0.6, 0.9], 10)
        correct = np.array([1] * 5 + [0] * 5 + [1] * 10)
        values = np.stack([confidence, 1 - confidence], axis=1)
        run = Predictions(np.arange(20).astype(str), 1 - correct, values, ("a", "b"))
        assert measure_calibration_error(run, bins=2) == pytest.approx((0.1 + 0.1) / 2)

    def test_bins_hold_equally_many_samples(self) -> None:
        table = measure_reliability(draw_predictions(1500), bins=15)
        assert table["samples"].between(99, 101).all()
        assert table["confidence"].is_monotonic_increasing
        assert (table["low"] <= table["accuracy"]).all()

    def test_of_constant_confidence_is_one_bin(self) -> None:
        run = Predictions(
            np.arange(50).astype(str), np.arange(50) % 2, np.tile([0.7, 0.3], (50, 1)), ("a", "b")
        )
        table = measure_reliability(run)
        assert table["samples"].tolist() == [50]
        assert measure_calibration_error(run) == pytest.approx(0.2)

    def test_interval_of_calibrated_predictions_begins_at_zero(self) -> None:
        low, high = bound_calibration_error(draw_predictions(2000), resamples=500)
        assert low == 0 < high
        low, _ = bound_calibration_error(draw_predictions(2000, sharpness=2.0), resamples=500)
        assert low > 0.05

    @pytest.mark.parametrize("shown", [0, 1], ids=["all right", "all wrong"])
    def test_interval_leaves_room_for_answers_that_no_sample_shows(self, shown: int) -> None:
        values = np.tile([0.99, 0.01], (60, 1))
        run = Predictions(np.arange(60).astype(str), np.full(60, shown), values, ("a", "b"))
        room = 1 - 0.025 ** (1 / 60)  # Clopper and Pearson, 1934
        error = measure_calibration_error(run)
        low, high = bound_calibration_error(run, resamples=100)
        assert low == pytest.approx(max(error - room, 0))
        assert high == pytest.approx(min(error + room, 1))

    def test_interval_is_the_same_to_the_byte_for_the_same_seed(self) -> None:
        run = draw_predictions(300, 1.5)
        assert bound_calibration_error(run, resamples=200) == bound_calibration_error(run, resamples=200)

    def test_temperature_takes_back_what_made_a_model_too_sure(self) -> None:
        temperature = fit_temperature(draw_predictions(20_000, sharpness=2.0, seed=1))
        assert temperature == pytest.approx(2.0, rel=0.03)
        test = draw_predictions(20_000, sharpness=2.0, seed=2)
        scaled = scale_temperature(test, temperature)
        assert (scaled.probabilities.argmax(1) == test.probabilities.argmax(1)).all()
        assert measure_calibration_error(scaled) < 0.02 < measure_calibration_error(test)

    def test_temperature_that_cannot_be_is_refused(self) -> None:
        with pytest.raises(WorkbenchError, match="divides nothing"):
            scale_temperature(draw_predictions(10), 0)


def make_outputs(task: str, targets: object, outputs: object, **options: object) -> Outputs:
    targets, outputs = np.asarray(targets, float), np.asarray(outputs, float)
    names = tuple(f"name {number}" for number in range(targets.shape[1]))
    return Outputs(task, np.arange(len(targets)).astype(str), targets, outputs, names, **options)


class TestOtherTasks:
    def test_several_labels_agree_with_scikit_learn(self) -> None:
        random = np.random.default_rng(0)
        truth = random.integers(0, 2, (200, 5))
        said = np.clip(0.5 * truth + 0.6 * random.random((200, 5)), 0, 1)
        found = measure_outputs(make_outputs("multi-label", truth, said))
        guesses = said >= 0.5
        assert found["macro_f1"] == pytest.approx(metrics.f1_score(truth, guesses, average="macro"))
        assert found["exact_match"] == pytest.approx(metrics.accuracy_score(truth, guesses))
        assert found["hamming_loss"] == pytest.approx(metrics.hamming_loss(truth, guesses))
        assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, said, average="macro"))
        assert found["pr_auc"] == pytest.approx(metrics.average_precision_score(truth, said, average="macro"))

    def test_numbers_agree_with_a_hand(self) -> None:
        found = measure_outputs(make_outputs("regression", [[1], [2], [3]], [[1], [2], [6]]))
        expected = {"mae": 1, "rmse": 3**0.5, "median_error": 0, "r2": 1 - 9 / 2}
        assert found == pytest.approx(expected)

    def test_of_a_constant_number_has_no_share_explained(self) -> None:
        assert np.isnan(measure_outputs(make_outputs("regression", [[1], [1]], [[1], [2]]))["r2"])

    def test_rankings_agree_with_a_hand(self) -> None:
        truth, said = [[0], [1], [1], [0]], [[0.9], [0.8], [0.1], [0.2]]
        groups = np.array(["q", "q", "r", "r"])
        found = measure_outputs(make_outputs("ranking", truth, said, groups=groups))
        # both queries hold their one relevant item at place 2
        assert found["mrr"] == pytest.approx(0.5)
        assert found["average_precision"] == pytest.approx(0.5)
        assert found["ndcg_10"] == pytest.approx(1 / np.log2(3))
        assert found["recall_10"] == 1

    @pytest.mark.parametrize("task", ["multi-label", "regression", "ranking"])
    def test_come_back_as_written(self, project: Path, task: str) -> None:
        width = 1 if task == "ranking" else 3
        groups = np.array(["x", "x", "y"]) if task == "ranking" else None
        written = make_outputs(task, np.eye(3)[:, :width], np.full((3, width), 0.25), groups=groups)
        run = wb.start_run("runs/one")
        write_outputs(run, written)
        found = read_outputs("runs/one")
        assert found.task == task
        assert found.names == written.names
        np.testing.assert_array_equal(found.targets, written.targets)
        np.testing.assert_array_equal(found.outputs, written.outputs)
        assert measure_outputs(found) == pytest.approx(measure_outputs(written), nan_ok=True)

    def test_are_told_from_probabilities_of_classes(self, project: Path) -> None:
        write_outputs(wb.start_run("runs/numbers"), make_outputs("regression", [[1]], [[2]]))
        with pytest.raises(WorkbenchError, match="outputs of the task regression"):
            wb.read_predictions("runs/numbers")
        split = Split({"x": np.zeros(1)}, {"label": np.array([0])}, np.array(["p"]))
        wb.write_predictions(wb.start_run("runs/classes"), split, np.array([[1.0, 0.0]]), ("a", "b"))
        with pytest.raises(WorkbenchError, match="probabilities of classes"):
            read_outputs("runs/classes")

    @pytest.mark.parametrize(
        ("task", "targets", "outputs", "message"),
        [
            ("multi-label", [[0, 1]], [[2.0, -1.0]], "sigmoid, not logits"),
            ("regression", [[0.0]], [[np.nan]], "NaN or infinite"),
            ("regression", [[0.0]], [[1.0, 2.0]], "shape"),
            ("ranking", [[0.0]], [[1.0]], "query of each item"),
            ("poetry", [[0.0]], [[1.0]], "no task 'poetry'"),
        ],
    )
    def test_that_cannot_be_are_refused(self, task: str, targets: list, outputs: list, message: str) -> None:
        with pytest.raises(WorkbenchError, match=message):
            make_outputs(task, targets, outputs)

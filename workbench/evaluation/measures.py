"""Measures of a classifier on a test set, computed by scikit-learn where it has them."""

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn import metrics
from sklearn.exceptions import UndefinedMetricWarning

from workbench.errors import WorkbenchError
from workbench.evaluation.calibration import measure_calibration_error
from workbench.evaluation.predictions import Predictions
from workbench.evaluation.rankings import CUT
from workbench.evaluation.statistics import TOP, compute_measure

MEASURES = ["accuracy", "macro_f1", "log_loss"]  # in the order of tables

# How people write each measure, and whether it is a share, so that differences are told in points.
_NAMES = {
    "accuracy": ("accuracy", True),
    "balanced_accuracy": ("balanced accuracy", True),
    "macro_f1": ("macro-F1", True),
    "weighted_f1": ("weighted F1", True),
    "log_loss": ("log loss", False),
    "brier": ("Brier score", False),
    "kappa": ("Cohen's kappa", False),
    "matthews": ("Matthews correlation", False),
    "roc_auc": ("ROC area", False),
    "pr_auc": ("PR area", False),
    f"top_{TOP}": (f"top-{TOP} accuracy", True),
    "calibration_error": ("expected calibration error", False),
    "exact_match": ("exact match", True),
    "micro_f1": ("micro-F1", True),
    "hamming_loss": ("Hamming loss", False),
    "mae": ("mean absolute error", False),
    "rmse": ("root mean squared error", False),
    "r2": ("R²", False),
    f"ndcg_{CUT}": (f"NDCG@{CUT}", False),
    "mrr": ("mean reciprocal rank", False),
    "average_precision": ("mean average precision", False),
    f"recall_{CUT}": (f"recall@{CUT}", True),
}
_LOWER_IS_BETTER = ("log_loss", "brier", "calibration_error", "hamming_loss", "mae", "rmse")


def describe_measure(measure: str) -> str:
    """Return a measure's name as people write it."""
    return _NAMES[measure][0] if measure in _NAMES else measure.replace("_", " ")


def scale_of(measure: str) -> tuple[float, str]:
    """Return by what a difference of a measure is multiplied, and the unit that it then has."""
    return (100, " points") if _NAMES.get(measure, ("", False))[1] else (1, "")


def is_lower_better(measure: str) -> bool:
    """Tell whether a smaller value of the measure is the better one."""
    return measure in _LOWER_IS_BETTER


def measure_predictions(predictions: Predictions) -> dict[str, float]:
    """Return every measure of a classifier by name.

    The areas under the ROC and the precision-recall curve are means over the classes, each against the
    rest. A measure that these samples do not define is NaN: the areas where the test set holds one class
    only, kappa and the correlation of Matthews where nothing varies. Top-5 accuracy exists from six classes
    on.

    Raises:
        WorkbenchError: There is no sample.
    """
    found = evaluate_predictions(predictions)
    labels, probabilities = predictions.labels, predictions.probabilities
    guesses = probabilities.argmax(axis=1)
    constant = len(np.unique(labels)) == 1 or len(np.unique(guesses)) == 1
    alike = len(np.unique(np.concatenate([labels, guesses]))) == 1
    found["balanced_accuracy"] = float(np.nanmean(measure_classes(predictions)["recall"]))
    found["weighted_f1"] = float(metrics.f1_score(labels, guesses, average="weighted", zero_division=0))
    found["kappa"] = np.nan if alike else float(metrics.cohen_kappa_score(labels, guesses))
    found["matthews"] = np.nan if constant else float(metrics.matthews_corrcoef(labels, guesses))
    found["roc_auc"] = _mean_over_classes(metrics.roc_auc_score, predictions)
    found["pr_auc"] = _mean_over_classes(metrics.average_precision_score, predictions)
    if probabilities.shape[1] > TOP:
        found[f"top_{TOP}"] = float(compute_measure(f"top_{TOP}", [predictions])[0])
    found["brier"] = float(compute_measure("brier", [predictions])[0])
    found["calibration_error"] = measure_calibration_error(predictions)
    return found


def evaluate_predictions(predictions: Predictions) -> dict[str, float]:
    """Return accuracy, macro-F1 and log loss (nats).

    Macro-F1 is the mean over the classes that occur in the test set. A probability of 0 counts as the
    smallest step of float32 (1.2e-7) in the log loss, as it is stored.

    Raises:
        WorkbenchError: There is no sample.
    """
    _require_samples(predictions)
    labels, guesses = predictions.labels, predictions.probabilities.argmax(axis=1)
    present = np.unique(labels)
    return {
        "accuracy": float(metrics.accuracy_score(labels, guesses)),
        "macro_f1": float(
            metrics.f1_score(labels, guesses, labels=present, average="macro", zero_division=0)
        ),
        "log_loss": _log_loss(predictions),
    }


def count_confusions(predictions: Predictions) -> np.ndarray:
    """Return the (k, k) numbers of samples by true class (rows) and predicted class (columns)."""
    classes = range(len(predictions.class_names))
    guesses = predictions.probabilities.argmax(axis=1)
    if not len(predictions):
        return np.zeros((len(classes), len(classes)), np.int64)
    return metrics.confusion_matrix(predictions.labels, guesses, labels=classes)


def measure_classes(predictions: Predictions) -> pd.DataFrame:
    """Return precision, recall, F1 and support (test samples) of every class.

    A precision is NaN for a class that was never predicted, a recall for one that never occurs.

    Raises:
        WorkbenchError: There is no sample.
    """
    _require_samples(predictions)
    with warnings.catch_warnings():  # NaN is the answer that the docstring promises
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        precision, recall, f1, support = metrics.precision_recall_fscore_support(
            predictions.labels,
            predictions.probabilities.argmax(axis=1),
            labels=range(len(predictions.class_names)),
            zero_division=np.nan,
        )
    columns = {"precision": precision, "recall": recall, "f1": f1, "support": support}
    return pd.DataFrame({"class": predictions.class_names, **columns})


def _require_samples(predictions: Predictions) -> None:
    if not len(predictions):
        raise WorkbenchError(
            "The test set has no sample, so nothing can be measured on it.\n"
            "Give a dataset with more samples or a larger test_fraction."
        )


def _mean_over_classes(score: Callable[[np.ndarray, np.ndarray], float], predictions: Predictions) -> float:
    """Return the mean of a score of each class against the rest, over the classes that occur."""
    present = np.unique(predictions.labels)
    if len(present) < 2:
        return np.nan
    return float(
        np.mean([score(predictions.labels == each, predictions.probabilities[:, each]) for each in present])
    )


def _log_loss(predictions: Predictions) -> float:
    """Return the log loss of the probabilities, scaled to sum to 1 where their type rounded them."""
    values = predictions.probabilities
    if values.shape[1] == 1:
        return 0.0  # scikit-learn wants two classes
    values = values / values.sum(axis=1, keepdims=True)
    return float(metrics.log_loss(predictions.labels, values, labels=range(values.shape[1])))

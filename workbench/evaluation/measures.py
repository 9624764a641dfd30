"""Measures of a classifier on a test set, all computed by scikit-learn."""

import warnings

import numpy as np
import pandas as pd
from sklearn import metrics
from sklearn.exceptions import UndefinedMetricWarning

from workbench.errors import WorkbenchError
from workbench.evaluation.predictions import Predictions

MEASURES = ["accuracy", "macro_f1", "log_loss"]  # in the order of tables


def evaluate_predictions(predictions: Predictions) -> dict[str, float]:
    """Return accuracy, macro-F1 and log loss (nats).

    Macro-F1 is the mean over the classes that occur in the test set. A probability of 0 counts as the
    smallest step of float32 (1.2e-7) in the log loss, as it is stored.

    Raises:
        WorkbenchError: There is no sample.
    """
    if not len(predictions):
        raise WorkbenchError(
            "The test set has no sample, so nothing can be measured on it.\n"
            "Give a dataset with more samples or a larger test_fraction."
        )
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
    """
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


def _log_loss(predictions: Predictions) -> float:
    """Return the log loss of the probabilities, scaled to sum to 1 where their type rounded them."""
    values = predictions.probabilities
    values = values / values.sum(axis=1, keepdims=True)
    return float(metrics.log_loss(predictions.labels, values, labels=range(values.shape[1])))

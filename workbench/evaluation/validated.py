"""Whether a validation during a training gave the very numbers of the test set."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.evaluation.measures import evaluate_predictions
from workbench.evaluation.output_measures import measure_outputs
from workbench.evaluation.outputs import Outputs
from workbench.evaluation.predictions import Predictions

_LOSS_TOLERANCE = 1e-4  # relative; Keras adds losses of batches up in float32
_SHARE_TOLERANCE = 1e-6
_KERAS_EPSILON = 1e-7  # to which Keras keeps probabilities off 0 and 1

Measured = dict[str, dict[str, float]]  # quantity → the names that Keras gives it in a log → value


def measure_as_keras(predictions: Predictions | Outputs) -> Measured:
    """Return two independent quantities of a test set under the names that Keras gives them in its logs.

    They are the loss and the accuracy of classes and of several labels, and the squared and the absolute
    error of numbers; a ranking has none that all trainings share.
    """
    if isinstance(predictions, Predictions):
        found = evaluate_predictions(predictions)
        return {"the loss": {"loss": found["log_loss"]}, "the accuracy": {"accuracy": found["accuracy"]}}
    if predictions.task == "multi-label":
        said = np.clip(predictions.outputs, _KERAS_EPSILON, 1 - _KERAS_EPSILON)
        loss = -np.where(predictions.targets > 0, np.log(said), np.log1p(-said)).mean()
        share = 1 - measure_outputs(predictions)["hamming_loss"]
        return {"the loss": {"loss": float(loss)}, "the accuracy": {"binary_accuracy": share}}
    if predictions.task == "regression":
        absolute = measure_outputs(predictions)["mae"]
        squared = float(((predictions.outputs - predictions.targets) ** 2).mean())
        return {
            "the squared error": dict.fromkeys(("loss", "mse", "mean_squared_error"), squared)
            | {"root_mean_squared_error": float(np.sqrt(squared))},
            "the absolute error": dict.fromkeys(("loss", "mae", "mean_absolute_error"), absolute),
        }
    return {}


def find_same_numbers(metrics: Mapping[str, Any], measured: Measured) -> dict[str, str]:
    """Return which quantities of the test set an epoch's validation gave, each with the metric's name.

    Args:
        metrics: Of one epoch, as logged: names of validated ones begin with `val_`.
        measured: From `measure_as_keras`.
    """
    same: dict[str, str] = {}
    for quantity, names in measured.items():
        for name, value in names.items():
            logged = metrics.get(f"val_{name}")
            share = name.endswith("accuracy")
            tolerance = _SHARE_TOLERANCE if share else _LOSS_TOLERANCE * abs(value)
            if isinstance(logged, float) and (share or value) and abs(logged - value) <= tolerance:
                same.setdefault(quantity, f"val_{name}")
    return same

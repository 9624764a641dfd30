"""How good a model is, how far that can be trusted, and where it fails.

Nothing here imports a deep-learning framework but `explanation`, which loads when it is asked for;
scikit-learn loads with the first measure.
"""

import importlib
from typing import Any

_HOME = {
    "MEASURES": "measures",
    "Estimate": "estimates",
    "Outputs": "outputs",
    "Pair": "pairs",
    "Predictions": "predictions",
    "Result": "results",
    "Verdict": "verdicts",
    "ablate": "ablation",
    "average_predictions": "results",
    "bound_calibration_error": "calibration",
    "check_results": "guards",
    "check_splits": "leakage",
    "compare": "verdicts",
    "corrupt_images": "robustness",
    "corrupt_texts": "robustness",
    "count_confusions": "measures",
    "describe_samples": "slices",
    "evaluate_baselines": "baselines",
    "evaluate_predictions": "measures",
    "file_name": "results",
    "find_label_errors": "label_errors",
    "find_near_duplicates": "leakage",
    "find_slices": "slices",
    "find_worst_mistakes": "selection",
    "fit_temperature": "calibration",
    "format_estimate": "rounding",
    "group_by_model": "results",
    "judge": "verdicts",
    "keep_different_seeds": "results",
    "load_test_data": "results",
    "measure_calibration_error": "calibration",
    "measure_classes": "measures",
    "measure_groups": "slices",
    "measure_outputs": "outputs",
    "measure_predictions": "measures",
    "measure_reliability": "calibration",
    "measure_robustness": "robustness",
    "rank_confusions": "label_errors",
    "read_outputs": "outputs",
    "read_predictions": "predictions",
    "read_result_groups": "results",
    "read_results": "results",
    "scale_temperature": "calibration",
    "spread_over_classes": "selection",
    "write_outputs": "outputs",
    "write_predictions": "predictions",
}

_MODULES = ("explanation", "statistics")

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"workbench.evaluation.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"workbench.evaluation.{_HOME[name]}"), name)
    raise AttributeError(f"module 'workbench.evaluation' has no attribute {name!r}")

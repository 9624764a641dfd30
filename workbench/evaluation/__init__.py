"""How good a model is: stored predictions, measures, baselines and mistakes.

Nothing here imports a deep-learning framework; scikit-learn loads with the first measure.
"""

import importlib
from typing import Any

_HOME = {
    "MEASURES": "measures",
    "Predictions": "predictions",
    "Result": "results",
    "average_predictions": "results",
    "count_confusions": "measures",
    "evaluate_baselines": "baselines",
    "evaluate_predictions": "measures",
    "file_name": "results",
    "find_worst_mistakes": "selection",
    "group_by_model": "results",
    "load_test_data": "results",
    "measure_classes": "measures",
    "read_predictions": "predictions",
    "read_results": "results",
    "spread_over_classes": "selection",
    "write_predictions": "predictions",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"workbench.evaluation.{_HOME[name]}"), name)
    raise AttributeError(f"module 'workbench.evaluation' has no attribute {name!r}")

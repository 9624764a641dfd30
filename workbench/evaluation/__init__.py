"""How good a model is: stored predictions, measures, baselines and mistakes.

Nothing here imports a deep-learning framework; scikit-learn loads with the first measure.
"""

import importlib
from typing import Any

_HOME = {
    "Predictions": "predictions",
    "read_predictions": "predictions",
    "write_predictions": "predictions",
    "find_worst_mistakes": "selection",
    "spread_over_classes": "selection",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"workbench.evaluation.{_HOME[name]}"), name)
    raise AttributeError(f"module 'workbench.evaluation' has no attribute {name!r}")

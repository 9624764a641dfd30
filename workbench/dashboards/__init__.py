"""Views of runs and data: live panels, interactive explorers, and what a terminal shows.

Each follows the event log or reads run folders, and knows nothing of training.
"""

import importlib
from typing import Any

_HOME = {
    "compare_runs": "compare",
    "explore": "exploring",
    "live": "watching",
    "study_errors": "mistakes",
    "watch": "watching",
    "watch_pipeline": "watching",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    # Jupyter's server and the command line import modules of this package and need no widgets.
    if name in _HOME:
        return getattr(importlib.import_module(f"workbench.dashboards.{_HOME[name]}"), name)
    raise AttributeError(f"module 'workbench.dashboards' has no attribute {name!r}")

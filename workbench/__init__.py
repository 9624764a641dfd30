"""Workbench: the helper package behind the notebooks.

Importing it is instant: a public name loads its module when it is first used.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "WorkbenchError": "errors",
    "Run": "runs",
    "find_runs": "runs",
    "open_run": "runs",
    "project_root": "runs",
    "start_run": "runs",
    "Dataset": "datasets",
    "Split": "datasets",
    "load_dataset": "datasets",
    "build_model": "models",
    "callbacks": "training",
    "live": "dashboards",
    "compare_runs": "dashboards",
    "explore": "dashboards",
    "study_errors": "dashboards",
    "watch": "dashboards",
    "watch_pipeline": "dashboards",
    "request_control": "controls",
    "Finding": "findings",
    "read_predictions": "evaluation",
    "write_predictions": "evaluation",
    "build_report": "reports",
}
_MODULES = ("datasets", "evaluation", "figures", "models", "runs", "tables", "training")

__all__ = sorted([*_HOME, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"workbench.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"workbench.{name}")
    raise AttributeError(f"module 'workbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

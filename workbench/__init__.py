"""Workbench: the helper package behind the notebooks.

Importing it is instant: a public name loads its module when it is first used.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["datasets", "evaluation", "figures", "models", "runs", "tables", "training"],
    submod_attrs={
        "controls": ["request_control"],
        "dashboards": [
            "compare_runs",
            "explain",
            "explore",
            "live",
            "study_errors",
            "watch",
            "watch_pipeline",
        ],
        "datasets": ["Dataset", "Split", "load_dataset"],
        "errors": ["WorkbenchError"],
        "evaluation": ["read_predictions", "write_predictions"],
        "findings": ["Finding"],
        "models": ["build_model"],
        "pipelines": ["run_pipeline"],
        "reports": ["build_report"],
        "runs": ["Run", "find_runs", "open_run", "project_root", "start_run"],
        "training": ["callbacks", "tune_for_this_machine"],
        "training.diagnosis": ["diagnose"],
    },
)

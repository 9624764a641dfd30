"""Views of runs and data: live panels, interactive explorers, and what a terminal shows.

Each follows the event log or reads run folders, and knows nothing of training.
"""

import lazy_loader

# Jupyter's server and the command line import modules of this package and need no widgets.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "compare": ["compare_runs"],
        "explaining": ["explain"],
        "exploring": ["explore"],
        "mistakes": ["study_errors"],
        "watching": ["live", "watch", "watch_pipeline"],
    },
)

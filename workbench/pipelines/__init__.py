"""Pipelines: notebooks as steps that run when their inputs changed.

A pipeline file (`loading`) becomes steps (`spec`), which are compared with earlier runs (`planning`) by what
they depend on (`fingerprints`, `imports`), and run (`runner`, by `execution`).
"""

import lazy_loader

# Saying that nothing changed needs none of what runs notebooks.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cleaning": ["find_removable", "remove_runs"],
        "loading": ["load_pipeline"],
        "planning": ["plan_pipeline"],
        "runner": ["run_pipeline"],
        "spec": ["Pipeline"],
        "state": ["PipelineState", "StepState"],
    },
)

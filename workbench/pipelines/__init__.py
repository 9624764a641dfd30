"""Pipelines: notebooks as steps that run when their inputs changed.

A pipeline file (`spec`) is checked against its notebooks (`notebooks`), compared with earlier runs
(`fingerprints`), and run (`runner`, by `execution`).
"""

from workbench.pipelines.runner import PipelineState, StepState, plan_pipeline, run_pipeline
from workbench.pipelines.spec import Pipeline, load_pipeline

__all__ = [
    "Pipeline",
    "PipelineState",
    "StepState",
    "load_pipeline",
    "plan_pipeline",
    "run_pipeline",
]

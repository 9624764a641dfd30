"""How far a number can be trusted: intervals, tests and the planning of seeds. Numbers in, numbers out."""

from workbench.evaluation.statistics.crossed import Crossed, cross_difference, cross_mean
from workbench.evaluation.statistics.intervals import (
    percentile_interval,
    t_interval,
    widen_degenerate,
    wilson_interval,
)
from workbench.evaluation.statistics.planning import Plan, plan_seeds
from workbench.evaluation.statistics.resampling import (
    RESAMPLED_MEASURES,
    RESAMPLES,
    compute_measure,
    permute_pairs,
    resample_measure,
)
from workbench.evaluation.statistics.significance import adjust_p_values, fisher, mcnemar

__all__ = [
    "RESAMPLED_MEASURES",
    "RESAMPLES",
    "Crossed",
    "Plan",
    "adjust_p_values",
    "compute_measure",
    "cross_difference",
    "cross_mean",
    "fisher",
    "mcnemar",
    "percentile_interval",
    "permute_pairs",
    "plan_seeds",
    "resample_measure",
    "t_interval",
    "widen_degenerate",
    "wilson_interval",
]

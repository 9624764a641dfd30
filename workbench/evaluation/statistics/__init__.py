"""How far a number can be trusted: intervals, tests and the planning of seeds. Numbers in, numbers out."""

from workbench.evaluation.statistics.class_sums import TOP
from workbench.evaluation.statistics.crossed import Crossed, cross_difference, cross_mean
from workbench.evaluation.statistics.intervals import (
    is_constant,
    percentile_interval,
    t_interval,
    widen_degenerate,
    wilson_interval,
)
from workbench.evaluation.statistics.measured import (
    MEASURES_OF_TASK,
    RESAMPLED_MEASURES,
    Saved,
    count_units,
    score_units,
)
from workbench.evaluation.statistics.planning import Plan, plan_seeds
from workbench.evaluation.statistics.resampling import (
    RESAMPLES,
    compute_measure,
    permute_pairs,
    resample_measure,
)
from workbench.evaluation.statistics.significance import adjust_p_values, fisher, mcnemar

__all__ = [
    "MEASURES_OF_TASK",
    "RESAMPLED_MEASURES",
    "RESAMPLES",
    "TOP",
    "Crossed",
    "Plan",
    "Saved",
    "adjust_p_values",
    "compute_measure",
    "count_units",
    "cross_difference",
    "cross_mean",
    "fisher",
    "is_constant",
    "mcnemar",
    "percentile_interval",
    "permute_pairs",
    "plan_seeds",
    "resample_measure",
    "score_units",
    "t_interval",
    "widen_degenerate",
    "wilson_interval",
]

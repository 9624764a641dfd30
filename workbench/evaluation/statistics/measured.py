"""Which measures can be resampled, by task."""

from collections.abc import Sequence

import numpy as np

from workbench.errors import WorkbenchError
from workbench.evaluation.outputs import THRESHOLD, Outputs
from workbench.evaluation.predictions import TASK, Predictions
from workbench.evaluation.rankings import RANKING_MEASURES, find_queries, measure_queries
from workbench.evaluation.statistics.class_sums import CLASS_MEASURES, class_sums
from workbench.evaluation.statistics.output_sums import (
    LABEL_MEASURES,
    NUMBER_MEASURES,
    label_sums,
    number_sums,
    ranking_sums,
)
from workbench.evaluation.statistics.sums import Sums

Saved = Predictions | Outputs

RESAMPLED_MEASURES = CLASS_MEASURES
MEASURES_OF_TASK = {  # the first one is the task's own
    TASK: CLASS_MEASURES,
    "multi-label": LABEL_MEASURES,
    "regression": NUMBER_MEASURES,
    "ranking": RANKING_MEASURES,
}
_SUMS = {TASK: class_sums, "multi-label": label_sums, "regression": number_sums, "ranking": ranking_sums}


def build_sums(measure: str, saved: Sequence[Saved]) -> Sums:
    """Return a measure of several runs on the same samples.

    Raises:
        WorkbenchError: The task has no such measure, there is no sample, or the samples differ.
    """
    first = saved[0]
    known = MEASURES_OF_TASK[first.task]
    if measure not in known:
        raise WorkbenchError(
            f"The measure {measure!r} cannot be resampled, or is none of the task {first.task}.\n"
            f"Give one of {', '.join(known)}."
        )
    _require_same_samples(saved)
    return _SUMS[first.task](measure, saved)


def count_units(saved: Saved) -> int:
    """Return how many samples a resample draws: of a ranking, its queries with a relevant item."""
    return len(find_queries(saved)) if saved.task == "ranking" else len(saved)


def score_units(saved: Saved) -> np.ndarray:
    """Return how good each sample's prediction is, more being better.

    A class is right (1) or not (0), of several labels a share is right, a number is off by the negative of
    its mean absolute error, and a query has its NDCG.
    """
    if isinstance(saved, Predictions):
        return (saved.probabilities.argmax(axis=1) == saved.labels).astype(np.float64)
    if saved.task == "multi-label":
        return ((saved.outputs >= THRESHOLD) == (saved.targets > 0)).mean(axis=1)
    if saved.task == "regression":
        return -np.abs(saved.outputs - saved.targets).mean(axis=1)
    return measure_queries(saved, RANKING_MEASURES[0])


def _require_same_samples(saved: Sequence[Saved]) -> None:
    first = saved[0]
    if not len(first):
        raise WorkbenchError(
            "The test set has no sample, so nothing can be measured on it.\n"
            "Give a dataset with more samples or a larger test_fraction."
        )
    for other in saved[1:]:
        if other.samples_key != first.samples_key:
            raise WorkbenchError(
                f"The predictions are of different test sets ({first.describe_samples()} and "
                f"{other.describe_samples()}), so they cannot be resampled in pairs.\n"
                "Give predictions of the same samples in the same order."
            )

"""What is known of each model by one measure: its value, how far it can be trusted, and every single run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from workbench.evaluation.results import Result, group_by_model
from workbench.evaluation.rounding import format_estimate
from workbench.evaluation.statistics import (
    RESAMPLES,
    compute_measure,
    count_units,
    cross_mean,
    is_constant,
    percentile_interval,
    resample_measure,
    score_units,
    t_interval,
    wilson_interval,
)

ENOUGH_SEEDS = 3  # from which on the interval over seeds and samples covers what it says


@dataclass(frozen=True)
class Estimate:
    """One measure of one model.

    Args:
        model: Its name.
        kind: "model" or "baseline".
        value: The mean over its runs.
        low: Where the 95 % interval begins; NaN where there is none.
        high: Where it ends.
        deviation: Standard deviation over the runs (n - 1); NaN for a single one.
        values: Of every run.
        seeds: Of every run; None where it has none.
        samples: Test samples.
        method: How the interval was found.
        note: What the reader must know of it; empty if nothing.
        seed_interval: The interval by t over the seeds alone, on these test samples; NaN for a single run.
    """

    model: str
    kind: str
    value: float
    low: float
    high: float
    deviation: float
    values: tuple[float, ...]
    seeds: tuple[int | None, ...]
    samples: int
    method: str
    note: str
    seed_interval: tuple[float, float]

    def __str__(self) -> str:
        return format_estimate(self.value, self.low, self.high)


@dataclass(frozen=True)
class Sample:
    """The runs of several models on one test set, with their measure on bootstrap resamples of it."""

    measure: str
    groups: Mapping[str, Sequence[Result]]
    resamples: int = RESAMPLES
    seed: int = 0

    @cached_property
    def size(self) -> int:
        """How many test samples there are; of a ranking, queries with a relevant item."""
        return count_units(self._predictions()[0])

    @cached_property
    def scores(self) -> dict[str, np.ndarray]:
        """How good each model is on each sample, (samples,) by model: the mean over its runs."""
        return {
            name: np.mean([score_units(result.predictions) for result in results], axis=0)
            for name, results in self.groups.items()
        }

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """The measure of every run, (runs,) by model."""
        return self._split(compute_measure(self.measure, self._predictions())[None])

    @cached_property
    def resampled(self) -> dict[str, np.ndarray]:
        """The measure of every run on the same resamples, (resamples, runs) by model."""
        return self._split(
            resample_measure(self.measure, self._predictions(), self.resamples, self.seed), keep=True
        )

    def _predictions(self) -> list:
        return [result.predictions for results in self.groups.values() for result in results]

    def _split(self, values: np.ndarray, keep: bool = False) -> dict[str, np.ndarray]:
        cuts = np.cumsum([len(results) for results in self.groups.values()])[:-1]
        parts = np.split(values, cuts, axis=1)
        return {name: part if keep else part[0] for name, part in zip(self.groups, parts, strict=True)}


def sample_runs(measure: str, results: Sequence[Result], resamples: int = RESAMPLES, seed: int = 0) -> Sample:
    """Resample a measure of all runs together.

    Args:
        measure: One of `statistics.MEASURES_OF_TASK`.
        results: Of runs on the same test set.
        resamples: How many bootstrap resamples of the test set.
        seed: Of the resamples.
    """
    return Sample(measure, group_by_model(results), resamples, seed)


def estimate_model(sample: Sample, model: str) -> Estimate:
    """Return what is known of one model."""
    results, values = sample.groups[model], sample.values[model]
    low, high, method, note = _interval(sample, model, results[0].kind)
    return Estimate(
        model=model,
        kind=results[0].kind,
        value=float(values.mean()),
        low=low,
        high=high,
        deviation=float(values.std(ddof=1)) if len(values) > 1 else np.nan,
        values=tuple(map(float, values)),
        seeds=tuple(result.seed for result in results),
        samples=sample.size,
        method=method,
        note=note,
        seed_interval=t_interval(values),
    )


def _interval(sample: Sample, model: str, kind: str) -> tuple[float, float, str, str]:
    """Return low, high, the method and a note."""
    values, resampled = sample.values[model], sample.resampled[model]
    undefined = int(np.isnan(resampled).any(axis=1).sum())
    if undefined or np.isnan(values).any():
        share = f"on {undefined:,} of {len(resampled):,} resamples"
        return np.nan, np.nan, "none", f"not defined {share if undefined else 'on these samples'}"
    if is_constant(resampled) and is_constant(values):
        return _degenerate_interval(sample, float(values[0]))
    if len(values) == 1:
        note = "one seed: says nothing of other seeds" if kind == "model" else ""
        if sample.measure in SHARES_OF_SAMPLES:
            low, high = wilson_interval(values[0] * sample.size, sample.size)
            return low, high, "Wilson's interval over test samples", note
        return *percentile_interval(resampled), "bootstrap over test samples", note
    low, high = cross_mean(values, resampled, sample.size).interval()
    bounds = BOUNDS.get(sample.measure, (0.0, 1.0))
    note = "" if len(values) >= ENOUGH_SEEDS else "two seeds: the spread of seeds is hardly known"
    return max(low, bounds[0]), min(high, bounds[1]), "t over seeds and bootstrap over test samples", note


def _degenerate_interval(sample: Sample, value: float) -> tuple[float, float, str, str]:
    """Return an interval where resamples show no variance, because all answers are right, or all wrong."""
    if sample.measure in SHARES_OF_SAMPLES:
        low, high = wilson_interval(value * sample.size, sample.size)
        what = "no mistake" if value == 1 else "no correct answer"
        return low, high, "Wilson's interval over test samples", f"{what} in {sample.size:,} samples"
    return np.nan, np.nan, "none", f"resamples of the {sample.size:,} samples do not vary"


SHARES_OF_SAMPLES = ("accuracy", "exact_match")  # of which each sample is right or wrong
BOUNDS = {  # of measures that can leave the range from 0 to 1
    "kappa": (-1.0, 1.0),
    "matthews": (-1.0, 1.0),
    "brier": (0.0, 2.0),
    "log_loss": (0.0, np.inf),
    "mae": (0.0, np.inf),
    "rmse": (0.0, np.inf),
    "r2": (-np.inf, 1.0),
}

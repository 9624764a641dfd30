"""Two models on the same test set: how far they differ, and whether the data carry the claim."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from workbench.evaluation.estimates import ENOUGH_SEEDS, SHARES_OF_SAMPLES, Sample
from workbench.evaluation.measures import is_lower_better
from workbench.evaluation.predictions import Predictions
from workbench.evaluation.statistics import (
    cross_difference,
    mcnemar,
    percentile_interval,
    permute_pairs,
    widen_degenerate,
)

CROSSED = "t over seeds and paired bootstrap over test samples"
_SAME_SAMPLES = "the test samples are independent draws of what the models will meet"


@dataclass(frozen=True)
class Pair:
    """The difference of two models, the better one first.

    Args:
        better: The model with the better mean.
        worse: The other one.
        difference: By how much the measure of `better` is better, 0 or more.
        low: Where its 95 % interval begins; NaN where there is none.
        high: Where it ends.
        p_value: Of the hypothesis that there is no difference.
        test: The test and the interval, by name.
        seeds: Of the better and of the worse one.
        effect: How large the difference is beside its noise, in words.
        assumptions: What the test takes for granted.
        checks: What of that was looked at, and with what result.
        note: What the reader must know; empty if nothing.
        error_seeds: The part of the variance of the difference that comes from the seeds.
        error_samples: The part that comes from the test samples.
        deviations: Standard deviation of the better and of the worse one over seeds; 0 for a single run.
        adjusted: The p-value adjusted for the number of pairs.
    """

    better: str
    worse: str
    difference: float
    low: float
    high: float
    p_value: float
    test: str
    seeds: tuple[int, int]
    effect: str
    assumptions: tuple[str, ...]
    checks: tuple[str, ...]
    note: str
    error_seeds: float
    error_samples: float
    deviations: tuple[float, float]
    adjusted: float = np.nan

    def separates(self, level: float = 0.95) -> bool:
        """Whether the data carry the claim that one is better: by test and by interval."""
        return self.adjusted < 1 - level and self.low > 0


def compare_pair(sample: Sample, one: str, other: str) -> Pair:
    """Compare two models with the test that the design allows.

    Several seeds of one model at least: both variances together. One run each: McNemar's test for the
    accuracy or the exact match, a paired permutation test for other measures, and the paired bootstrap for
    the interval.
    """
    sign = -1 if is_lower_better(sample.measure) else 1
    better, worse = sorted(
        (one, other), key=lambda name: -sign * sample.values[name].mean()
    )  # stable: the first one leads where they are equal
    values, resampled = (
        [sign * source[name] for name in (better, worse)] for source in (sample.values, sample.resampled)
    )
    found = cross_difference(*values, *resampled, sample.size)
    several = max(map(len, values)) > 1
    low, high, p_value, test = (
        (*found.interval(), found.p_value, CROSSED)
        if several
        else _compare_single(sample, better, worse, resampled[0] - resampled[1])
    )
    note = _note(sample, better, worse)
    if found.error == 0:
        low, high, note = _degenerate(sample, better, worse, found.value, note)
    elif np.isnan(found.error):
        low, high, p_value = np.nan, np.nan, np.nan
        note = "; ".join(filter(None, (note, "not defined on every resample of the test samples")))
    return Pair(
        better=better,
        worse=worse,
        difference=found.value,
        low=low,
        high=high,
        p_value=p_value,
        test=test,
        seeds=(len(values[0]), len(values[1])),
        effect=_effect(sample, better, worse, values),
        assumptions=_assumptions(several),
        checks=_checks(sample, dict(zip((better, worse), values, strict=True))),
        note=note,
        error_seeds=found.seed_variance,
        error_samples=found.sample_variance,
        deviations=tuple(float(v.std(ddof=1)) if len(v) > 1 else 0.0 for v in values),
    )


def _compare_single(
    sample: Sample, better: str, worse: str, differences: np.ndarray
) -> tuple[float, float, float, str]:
    one, other = (sample.groups[name][0].predictions for name in (better, worse))
    interval = percentile_interval(differences)
    if sample.measure in SHARES_OF_SAMPLES:
        p_value, name = mcnemar(*(sample.scores[name] == 1 for name in (better, worse)))
        return *interval, p_value, f"{name}, paired bootstrap over test samples"
    p_value = permute_pairs(sample.measure, one, other, sample.resamples, sample.seed)
    return *interval, p_value, "paired permutation test, paired bootstrap over test samples"


def _degenerate(
    sample: Sample, better: str, worse: str, difference: float, note: str
) -> tuple[float, float, str]:
    """Return the interval of models that no sample tells apart, or that the measure sets apart on none."""
    alike = difference == 0 and np.array_equal(sample.scores[better], sample.scores[worse])
    what = (
        f"no test sample of {sample.size:,} tells the two apart"
        if alike
        else f"the difference does not vary over resamples of the {sample.size:,} test samples"
    )
    note = f"{note}; {what}" if note else what
    if sample.measure not in SHARES_OF_SAMPLES:
        return np.nan, np.nan, note
    room = widen_degenerate(sample.size)
    return max(difference - room, -1.0), min(difference + room, 1.0), note


def _note(sample: Sample, better: str, worse: str) -> str:
    groups = [sample.groups[name] for name in (better, worse)]
    single = [results[0].model for results in groups if len(results) == 1 and results[0].kind == "model"]
    if single:
        return f"one seed of {' and of '.join(single)}: other seeds may turn it round"
    few = [results[0].model for results in groups if 1 < len(results) < ENOUGH_SEEDS]
    return f"two seeds of {' and of '.join(few)}: the spread of seeds is hardly known" if few else ""


def _effect(sample: Sample, better: str, worse: str, values: list[np.ndarray]) -> str:
    if min(map(len, values)) > 1:
        pooled = np.sqrt(np.mean([group.var(ddof=1) for group in values]))
        wins = np.mean(np.sign(values[0][:, None] - values[1][None, :]) / 2 + 0.5)
        size = f"Cohen's d {(values[0].mean() - values[1].mean()) / pooled:.1f}, " if pooled else ""
        return f"{size}better in {wins:.0%} of pairs of seeds"
    gaps = sample.scores[better] - sample.scores[worse]
    if isinstance(sample.groups[better][0].predictions, Predictions):
        gains, losses = np.maximum(gaps, 0).sum(), np.maximum(-gaps, 0).sum()
        return f"{gains:.4g} samples right only by {better}, {losses:.4g} only by {worse}"
    what = {"multi-label": "more labels right on", "regression": "closer on", "ranking": "higher NDCG on"}
    task = sample.groups[better][0].predictions.task
    return f"{better} {what[task]} {(gaps > 0).sum():,} of {len(gaps):,}, {worse} on {(gaps < 0).sum():,}"


def _assumptions(several: bool) -> tuple[str, ...]:
    if not several:
        return (_SAME_SAMPLES, "the claim is about these two trained models, not about other seeds")
    return (
        _SAME_SAMPLES,
        "the seeds are independent draws, of each model by itself",
        "the measure is about normal over seeds",
    )


def _checks(sample: Sample, values: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    checks = [f"both were tested on the same {sample.size:,} samples: pairs are right"]
    for model, group in values.items():
        if len(group) >= ENOUGH_SEEDS and np.ptp(group):
            p_value = stats.shapiro(group).pvalue
            found = "looks normal" if p_value >= 0.05 else "does not look normal"
            what = f"spread of {model} over {len(group)} seeds"
            checks.append(f"{what} {found} (Shapiro-Wilk, p = {p_value:.2g})")
    if min(map(len, values.values())) > 1:
        checks.append("equal spread of the two is not assumed (Welch)")
    return tuple(checks)

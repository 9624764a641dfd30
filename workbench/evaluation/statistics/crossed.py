"""Two sources of variance at once: the seeds of a method and the samples of a test set.

A claim about a method must hold for other seeds and for other test samples (Bouthillier et al. 2021,
https://arxiv.org/abs/2103.03098). Every seed is tested on the same samples, so the two are crossed. The
analysis is that of readers and cases by Obuchowski and Rockette (1995,
https://doi.org/10.1080/03610919508813243), with seeds in the place of readers: the variance between seeds
already holds what a seed adds to the noise of the samples, and the samples add the covariance that two
different seeds have in common, found by the bootstrap.

The degrees of freedom are those of Welch for the seeds and n - 1 for the samples, joined as the harmonic
mean weighted by their parts of the variance. Satterthwaite's rule, which takes the squares of these parts
(Hillis 2007, https://doi.org/10.1002/sim.2532), relies on a variance that three seeds hardly tell: its
intervals cover 91 to 97 in 100 with three seeds, those of this rule 94 to 97. `tests/test_coverage.py`
simulates it.

On few samples seeds can have the very same value by different mistakes, so that both parts are 0 though
resamples vary. Then the variance of the mean over these seeds stands for the samples.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from workbench.evaluation.statistics.intervals import LEVEL, ROUNDING, is_constant


@dataclass(frozen=True)
class Crossed:
    """An estimate with both its variances.

    Args:
        value: The mean over seeds, or a difference of two such means.
        seed_variance: Of `value`, from the seeds.
        sample_variance: Of `value`, from the test samples.
        freedom: Degrees of freedom of their sum; infinity where there is no variance at all.
    """

    value: float
    seed_variance: float
    sample_variance: float
    freedom: float

    @property
    def error(self) -> float:
        """The standard error."""
        return float(np.sqrt(self.seed_variance + self.sample_variance))

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the interval by Student's t."""
        half = float(stats.t.ppf((1 + level) / 2, self.freedom)) * self.error
        return self.value - half, self.value + half

    @property
    def p_value(self) -> float:
        """Of the hypothesis that the value is 0, two-sided; 1 where there is no variance and it is 0."""
        if self.error == 0:
            return float(self.value == 0)
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.freedom))


def cross_mean(values: np.ndarray, resampled: np.ndarray, samples: int) -> Crossed:
    """Return the mean of a method over its seeds.

    Args:
        values: (s,) the measure of each seed on the test set.
        resampled: (r, s) the measures on the same bootstrap resamples of the test set.
        samples: n, of the test set.
    """
    covariance = np.atleast_2d(np.cov(resampled, rowvar=False))
    variance = _settle(_within(covariance), covariance)
    if variance == 0 and is_constant(values):
        variance = _settle(float(covariance.mean()), covariance)
    return _combine(float(values.mean()), [values], variance, samples)


def cross_difference(
    one: np.ndarray, other: np.ndarray, resampled_one: np.ndarray, resampled_other: np.ndarray, samples: int
) -> Crossed:
    """Return the difference of two methods, `one` minus `other`, tested on the same samples.

    The seeds of the two count as independent of one another. That is at worst cautious where a shared seed
    makes two networks alike. A method of one value counts as having no variance over seeds.

    Args:
        one: (s,) the measure of each seed.
        other: (t,) likewise.
        resampled_one: (r, s) the measures on bootstrap resamples of the test set.
        resampled_other: (r, t) on the same resamples.
        samples: n, of the test set.
    """
    covariance = np.cov(np.hstack([resampled_one, resampled_other]), rowvar=False)
    cut = len(one)
    variance = (
        _within(covariance[:cut, :cut]) + _within(covariance[cut:, cut:]) - 2 * covariance[:cut, cut:].mean()
    )
    variance = _settle(variance, covariance)
    if variance == 0 and is_constant(one) and is_constant(other):
        signs = np.repeat([1 / cut, -1 / len(other)], [cut, len(other)])
        variance = _settle(float(signs @ covariance @ signs), covariance)
    return _combine(float(one.mean() - other.mean()), [one, other], variance, samples)


def _within(covariance: np.ndarray) -> float:
    """Return the mean covariance of two different seeds; the variance where there is one seed."""
    seeds = len(covariance)
    if seeds == 1:
        return float(covariance[0, 0])
    return float((covariance.sum() - np.trace(covariance)) / (seeds * (seeds - 1)))


def _settle(variance: float, covariance: np.ndarray) -> float:
    """Return a variance made of covariances; 0 where only their rounding is left, or where it is negative."""
    return 0.0 if variance <= ROUNDING * np.abs(covariance).max() else float(variance)


def _combine(value: float, groups: list[np.ndarray], sample_variance: float, samples: int) -> Crossed:
    least = ROUNDING * max(np.abs(group).max() for group in groups)
    value = 0.0 if abs(value) <= least else value
    sample_variance = 0.0 if sample_variance <= least**2 else sample_variance
    parts = [(group.var(ddof=1) / len(group), len(group) - 1) for group in groups if len(group) > 1]
    seed_variance = float(sum(variance for variance, _ in parts))
    seed_variance = 0.0 if seed_variance <= least**2 else seed_variance
    total = seed_variance + sample_variance
    if total == 0:
        return Crossed(value, 0.0, 0.0, np.inf)
    inverse = sample_variance / total / max(samples - 1, 1)
    if seed_variance:
        welch = seed_variance**2 / sum(variance**2 / freedom for variance, freedom in parts)
        inverse += seed_variance / total / welch
    return Crossed(value, seed_variance, sample_variance, float(1 / inverse))

"""How many seeds a difference needs to be found."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from workbench.errors import WorkbenchError
from workbench.evaluation.statistics.intervals import LEVEL

MOST_SEEDS = 1_000


@dataclass(frozen=True)
class Plan:
    """What it takes to find a difference with a given power.

    Args:
        difference: The true difference, in units of the measure.
        power: The chance to find it.
        seeds: For each of the two methods; None where the test samples alone hide the difference.
        test_samples: How many test samples would do with very many seeds; None where the present ones do.
    """

    difference: float
    power: float
    seeds: int | None
    test_samples: int | None

    def __str__(self) -> str:
        if self.seeds is None:
            return (
                f"No number of seeds finds a difference of {self.difference:.4g}: "
                f"the test set would need about {self.test_samples:,} samples."
            )
        return (
            f"A difference of {self.difference:.4g} is found in {self.power:.0%} of cases with {self.seeds} "
            "seeds for each method."
        )


def plan_seeds(
    difference: float,
    seed_deviations: tuple[float, float],
    sample_variance: float = 0.0,
    samples: int = 0,
    power: float = 0.8,
    level: float = LEVEL,
) -> Plan:
    """Return how many seeds of each of two methods find a true difference between them.

    Args:
        difference: The true difference of the two means, in units of the measure.
        seed_deviations: Standard deviations of the two methods over seeds.
        sample_variance: What the test samples add to the variance of the difference
            (`Crossed.sample_variance`); more seeds do not lower it.
        samples: n, of the test set, if `sample_variance` is given.
        power: The chance to find the difference.
        level: Of the interval that must not hold 0.

    Raises:
        WorkbenchError: The difference is 0.
    """
    if difference == 0:
        raise WorkbenchError("A difference of 0 cannot be found.\nGive the smallest one that would matter.")
    seed_variance = sum(deviation**2 for deviation in seed_deviations)
    for seeds in range(2, MOST_SEEDS + 1):
        if _power(abs(difference), seed_variance, sample_variance, seeds, level) >= power:
            return Plan(difference, power, seeds, None)
    quantiles = stats.norm.ppf([(1 + level) / 2, power]).sum()
    needed = sample_variance * samples / (abs(difference) / quantiles) ** 2
    return Plan(difference, power, None, int(np.ceil(needed)))


def _power(
    difference: float, seed_variance: float, sample_variance: float, seeds: int, level: float
) -> float:
    """Return the power of the two-sided t test, by the noncentral t distribution."""
    from_seeds = seed_variance / seeds
    total = from_seeds + sample_variance
    if total == 0:
        return 1.0
    freedom = 2 * (seeds - 1) * total / from_seeds if from_seeds else np.inf
    critical = stats.t.ppf((1 + level) / 2, freedom)
    shift = difference / np.sqrt(total)
    if not np.isfinite(freedom) or freedom > 1e6:
        return float(stats.norm.sf(critical - shift) + stats.norm.cdf(-critical - shift))
    return float(stats.nct.sf(critical, freedom, shift) + stats.nct.cdf(-critical, freedom, shift))

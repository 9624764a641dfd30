"""Intervals of one number."""

import numpy as np
from scipy import stats

LEVEL = 0.95
ROUNDING = 1e-12  # of the largest value; within it two values that were added up differently are the same


def is_constant(values: np.ndarray) -> bool:
    """Tell whether values differ by no more than the rounding of sums; False where one is NaN."""
    return bool(np.ptp(values) <= ROUNDING * np.abs(values).max())


def t_interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of a mean by Student's t; NaN for a single value.

    With five values it covers what it says if they are about normal; the percentile bootstrap does so in
    only 83 of 100 cases.

    Args:
        values: (s,) independent values, such as one for each seed.
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return np.nan, np.nan
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def percentile_interval(resampled: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval between the percentiles of bootstrap values."""
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def wilson_interval(successes: float, samples: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of a share; it is of use at 0 and 1 too (Wilson 1927, doi:10.2307/2276774)."""
    if not samples:
        return np.nan, np.nan
    z = stats.norm.ppf((1 + level) / 2)
    share = successes / samples
    centre = (share + z**2 / (2 * samples)) / (1 + z**2 / samples)
    half = z / (1 + z**2 / samples) * np.sqrt(share * (1 - share) / samples + z**2 / (4 * samples**2))
    return float(max(0, centre - half)), float(min(1, centre + half))


def widen_degenerate(samples: int, level: float = LEVEL) -> float:
    """Return how large a share may be of which n samples show no case: 0.0037 for n = 1,000.

    The upper end of Clopper and Pearson's interval at zero (1934, doi:10.1093/biomet/26.4.404).
    """
    return float(1 - ((1 - level) / 2) ** (1 / samples))

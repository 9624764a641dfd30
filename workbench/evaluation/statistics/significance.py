"""Tests of hypotheses about two models, and what is left of them when there are many."""

import numpy as np
from scipy import stats

from workbench.errors import WorkbenchError

FEW_DISCORDANT = 25  # below that, McNemar's test is exact


def mcnemar(correct_one: np.ndarray, correct_other: np.ndarray) -> tuple[float, str]:
    """Return the p-value of McNemar's test on paired answers, and which form of it was taken.

    McNemar 1947 (https://doi.org/10.1007/BF02295996): exact by the binomial distribution where fewer than
    25 samples tell the models apart, else by chi-square with Edwards's correction.

    Args:
        correct_one: (n,) bool, whether the first model is right.
        correct_other: (n,) bool, likewise on the same samples.
    """
    only_one = int((correct_one & ~correct_other).sum())
    only_other = int((~correct_one & correct_other).sum())
    discordant = only_one + only_other
    if discordant < FEW_DISCORDANT:
        p_value = min(1.0, 2 * stats.binom.cdf(min(only_one, only_other), discordant, 0.5))
        return float(p_value) if discordant else 1.0, "McNemar's exact test"
    statistic = (abs(only_one - only_other) - 1) ** 2 / discordant
    return float(stats.chi2.sf(statistic, 1)), "McNemar's test"


def fisher(wrong: int, samples: int, wrong_elsewhere: int, samples_elsewhere: int) -> float:
    """Return the p-value of Fisher's exact test that two shares of mistakes are the same."""
    table = [[wrong, samples - wrong], [wrong_elsewhere, samples_elsewhere - wrong_elsewhere]]
    return float(stats.fisher_exact(table).pvalue)


def adjust_p_values(p_values: np.ndarray, method: str = "holm") -> np.ndarray:
    """Return p-values adjusted for their number; NaN stays NaN and counts as no test.

    Args:
        p_values: (m,)
        method: "holm" bounds the chance of any false claim (Holm 1979, https://www.jstor.org/stable/4615733);
            "bh" the share of false ones among the claims (Benjamini & Hochberg 1995,
            https://www.jstor.org/stable/2346101).

    Raises:
        WorkbenchError: There is no such method.
    """
    if method not in ("holm", "bh"):
        raise WorkbenchError(f"There is no correction {method!r}.\nGive holm or bh.")
    p_values = np.asarray(p_values, np.float64)
    adjusted = np.full(p_values.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    rank = np.arange(1, len(order) + 1)
    if method == "holm":
        values = np.maximum.accumulate(p_values[order] * (len(order) - rank + 1))
    else:
        scaled = p_values[order] * len(order) / rank
        values = np.minimum.accumulate(scaled[::-1])[::-1]
    adjusted[order] = np.minimum(values, 1)
    return adjusted

"""What can be said of two numbers, tables or predictions, and how far the seeds' spread goes."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

IDENTICAL = "identical"
WITHIN = "within noise"
DRIFTED = "drifted"
NOT_COMPARABLE = "not comparable"
ALTERED = "altered"  # in the report or in a run folder, since the report was built
VERDICTS = (ALTERED, DRIFTED, NOT_COMPARABLE, WITHIN, IDENTICAL)  # what needs attention comes first
GOOD = (IDENTICAL, WITHIN)
_LEVEL = 0.95


@dataclass(frozen=True)
class Line:
    """One thing that was compared."""

    verdict: str  # one of VERDICTS
    what: str  # "accuracy", "table summary", "predictions"
    step: str  # label of the run
    before: str = ""
    after: str = ""
    note: str = ""  # the size of a drift, the interval of the noise, what changed
    old_run: str = ""  # run folders, relative to the project root
    new_run: str = ""

    def __str__(self) -> str:
        runs = " → ".join(filter(None, (self.old_run, self.new_run)))
        return "  ".join(filter(None, (self.verdict, self.step, self.what, self.note, runs)))


@dataclass(frozen=True)
class Noise:
    """Where one more run of the same model may fall: the seeds' prediction interval."""

    low: float
    high: float
    runs: int

    def __str__(self) -> str:
        return f"{self.low:.6g} to {self.high:.6g}, from {self.runs} seeds"

    def holds(self, value: float) -> bool:
        """Tell whether a value lies inside."""
        return self.low <= value <= self.high


def measure_noise(values: Sequence[float], of_mean: bool = False) -> Noise | None:
    """Return the 95 % prediction interval of one more value, or of the mean of as many more.

    It is mean ± t s √(1/m + 1/n) for n values and the mean of m more, with Student's t of n - 1 degrees of
    freedom and the sample standard deviation s (Geisser, Predictive Inference, 1993, section 2.2).

    Returns:
        None where the spread is unknown: fewer than two values, or one that is not finite.
    """
    n = len(values)
    if n < 2 or not all(map(math.isfinite, values)):
        return None
    from scipy.stats import t

    share = 1 / n if of_mean else 1
    half = t.ppf((1 + _LEVEL) / 2, n - 1) * statistics.stdev(values) * math.sqrt(share + 1 / n)
    middle = statistics.fmean(values)
    return Noise(middle - float(half), middle + float(half), n)


def measure_noise_left_out(before: float, after: float, left_out: Sequence[float]) -> Noise | None:
    """Return the 95 % interval in which a number falls when as many other seeds make it, whatever it is.

    It is before ± t √2 s with Student's t of n - 1 degrees of freedom, where s is the jackknife's standard
    error √((n - 1)/n Σ(θᵢ - θ̄)²) (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, equation
    11.5). For a mean over the seeds that is the interval of `measure_noise(…, of_mean=True)`. A sum over
    the seeds is known by the part that is missing without one of them, and is scaled.

    Args:
        before: The number as it was; the interval lies around it.
        after: The number that is made now with all n seeds.
        left_out: (n,) what it is now without each of the seeds.

    Returns:
        None where the spread is unknown: fewer than two seeds, or a number that is not finite.
    """
    n = len(left_out)
    if n < 2 or not all(map(math.isfinite, (before, *left_out))):
        return None
    from scipy.stats import t

    middle = statistics.fmean(left_out)
    is_sum = after != 0 and math.isclose(middle * n, after * (n - 1), rel_tol=1e-9)
    error = math.sqrt((n - 1) / n * sum((value - middle) ** 2 for value in left_out))
    error *= n / (n - 1) if is_sum else 1
    half = float(t.ppf((1 + _LEVEL) / 2, n - 1)) * math.sqrt(2) * error
    return Noise(before - half, before + half, n)


def judge_number(before: float, after: float, noise: Noise | None) -> tuple[str, str]:
    """Return the verdict on a number that was computed again, and the note that goes with it."""
    if before == after or (math.isnan(before) and math.isnan(after)):
        return IDENTICAL, ""
    size = f"by {after - before:+.3g}"
    if noise is None:
        return DRIFTED, f"{size}; no other seed says what noise would be"
    if noise.holds(after):
        return WITHIN, f"{size}; noise reaches from {noise}"
    return DRIFTED, f"{size}; noise reaches from {noise}"

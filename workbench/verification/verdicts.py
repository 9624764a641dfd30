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

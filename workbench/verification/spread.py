"""How far the seeds spread a number: over runs that differ in their seed, or when each seed is left out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.reports.manifest import same_step
from workbench.verification.verdicts import (
    DRIFTED,
    IDENTICAL,
    WITHIN,
    Noise,
    judge_number,
    measure_noise,
    measure_noise_left_out,
)

Numbers = Sequence[float | None]  # None where a run has no such number


@dataclass(frozen=True)
class Pair:
    """A run as it was and as it came out again, both from `describe_run`."""

    old: Mapping[str, Any]
    new: Mapping[str, Any]
    siblings: Sequence[Mapping[str, Any]]  # runs of the same step that differ in their seed, the old one too
    changed: str  # what makes the two incomparable; empty if nothing does
    left_out: Sequence[Mapping[str, Any]] = ()  # an evaluation made anew without each of its seeds


def differs_in_seed(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two runs are of one step and differ in nothing but their seed, if at all."""
    own, others = (
        {name: value for name, value in run["declared"].items() if name not in ("seed", "run_dir")}
        for run in (one, other)
    )
    return same_step(one, other) and own == others


@dataclass(frozen=True)
class Spread:
    """The same numbers in other runs."""

    siblings: Sequence[Numbers] = ()
    left_out: Sequence[Numbers] = ()
    known: Noise | None = None  # of all of them, whatever other runs say

    def at(self, place: int, before: float, after: float) -> Noise | None:
        """Return how far noise reaches for one of the numbers; None where that is unknown."""
        if self.known:
            return self.known
        if len(self.siblings) > 1:
            return measure_noise(_fill(values[place] for values in self.siblings))
        return measure_noise_left_out(before, after, _fill(values[place] for values in self.left_out))


def find_spread(pair: Pair, read: Callable[[Mapping[str, Any]], Numbers]) -> Spread:
    """Read the same numbers from all runs that tell how far seeds spread them.

    Args:
        pair: Whose numbers they are.
        read: Returns them from the description of a run, always as many.
    """
    return Spread([*map(read, pair.siblings)], [*map(read, pair.left_out)])


def judge_numbers(before: Sequence[float], after: Sequence[float], spread: Spread) -> tuple[str, str]:
    """Return one verdict on many numbers, and a note that tells of the one that is farthest from noise.

    Args:
        before: (n,) numbers as they were.
        after: (n,) the same, computed again.
        spread: Of the same n numbers.
    """
    if len(before) == 1:
        return judge_number(before[0], after[0], spread.at(0, before[0], after[0]))
    judged, farthest = [], (-1.0, "")
    for place, (was, now) in enumerate(zip(before, after, strict=True)):
        noise = spread.at(place, was, now) if was != now else None
        verdict, note = judge_number(was, now, noise)
        judged.append(verdict)
        if verdict != IDENTICAL:
            farthest = max(farthest, (_excess(was, now, noise), f"{was:.6g} → {now:.6g} {note}"))
    differ, outside = len(judged) - judged.count(IDENTICAL), judged.count(DRIFTED)
    if not differ:
        return IDENTICAL, ""
    counts = f"{differ:,} of {len(judged):,} numbers differ, {outside:,} of them by more than noise"
    return DRIFTED if outside else WITHIN, f"{counts}; the farthest: {farthest[1]}"


def _excess(before: float, after: float, noise: Noise | None) -> float:
    """Return a difference in half widths of the noise."""
    if noise is None or not math.isfinite(after) or noise.high <= noise.low:
        return math.inf
    return abs(after - (noise.low + noise.high) / 2) / ((noise.high - noise.low) / 2)


def _fill(values: Any) -> list[float]:
    return [math.nan if value is None else value for value in values]

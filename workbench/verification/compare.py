"""Two runs of one step beside one another: every number, table, figure and prediction."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.events import unspell
from workbench.reports.collect import SUMMARY
from workbench.reports.manifest import hash_text, read_rows, unpack_classes
from workbench.verification.verdicts import (
    DRIFTED,
    IDENTICAL,
    NOT_COMPARABLE,
    WITHIN,
    Line,
    Noise,
    judge_number,
    measure_noise,
)

_MODEL = ("dataset", "model", "kind")  # columns that name the rows of one model in a summary


@dataclass(frozen=True)
class Pair:
    """A run as it was and as it came out again, both from `describe_run`."""

    old: Mapping[str, Any]
    new: Mapping[str, Any]
    siblings: Sequence[Mapping[str, Any]]  # runs of the same step that differ in their seed, the old one too
    changed: str  # what makes the two incomparable; empty if nothing does


def compare_runs(pair: Pair) -> Iterator[Line]:
    """Yield one line for each number, table, figure, curve and for the predictions."""
    for line in _lines(pair):
        if line.verdict != IDENTICAL and pair.changed:
            line = replace(line, verdict=NOT_COMPARABLE, note=f"{pair.changed}. {line.note}".strip())
        runs = {"old_run": pair.old["folder"], "new_run": pair.new["folder"]}
        yield replace(line, step=pair.old["label"], **runs)


def _lines(pair: Pair) -> Iterator[Line]:
    old, new = pair.old, pair.new
    if old["dataset"]:
        yield _compare_data(old["dataset"], new["dataset"])
    for name, value in unspell(old["metrics"]).items():
        noise = _metric_noise(pair, name, value)
        yield _compare_number(name, value, unspell(new["metrics"]).get(name), noise)
    for name in old["history"]:
        yield _compare_curve(pair, name)
    if old["predictions"]:
        yield _compare_predictions(pair)
    same = old["card"] == new["card"]
    yield Line(IDENTICAL if same else DRIFTED, "data card", "", note="" if same else "its facts differ")
    for name, table in old["tables"].items():
        yield from _compare_table(name, table, new["tables"].get(name))
    for name, found in old["figures"].items():
        same = new["figures"].get(name) == found
        note = "" if same else "its data differ" if name in new["figures"] else "the new run has none"
        yield Line(IDENTICAL if same else DRIFTED, f"figure {name}", "", note=note)


def _compare_data(old: Mapping[str, Any], new: Mapping[str, Any] | None) -> Line:
    before, after = old["fingerprint"], (new or {}).get("fingerprint", "")
    verdict = IDENTICAL if before == after else NOT_COMPARABLE
    note = "" if before == after else "the data have changed"
    return Line(verdict, f"data {old['name']}", "", before[:12], after[:12], note)


def _compare_number(name: str, before: float, after: float | None, noise: Noise | None) -> Line:
    if after is None:
        return Line(DRIFTED, name, "", repr(before), "", "the new run has no such number")
    verdict, note = judge_number(before, after, noise)
    return Line(verdict, name, "", repr(before), repr(after), note)


def _metric_noise(pair: Pair, name: str, value: float) -> Noise | None:
    """Return the spread over the seeds of this step, or of the model whose mean an evaluation ended with."""
    if len(pair.siblings) > 1:
        return measure_noise([unspell(run["metrics"]).get(name, math.nan) for run in pair.siblings])
    rows = read_rows(pair.old["tables"].get(SUMMARY, {}).get("csv", ""))
    groups: dict[tuple[str | None, ...], list[float]] = {}
    for row in rows:
        if row.get("seed") and row.get(name):
            groups.setdefault(tuple(map(row.get, _MODEL)), []).append(float(row[name]))
    for values in groups.values():
        if math.isclose(statistics.fmean(values), value, rel_tol=1e-9):
            return measure_noise(values, of_mean=True)
    return None


def _compare_curve(pair: Pair, name: str) -> Line:
    what = f"curve of {name}"
    before, after = unspell(pair.old["history"][name]), unspell(pair.new["history"].get(name, []))
    if len(before) != len(after):
        return Line(DRIFTED, what, "", note=f"{len(before)} epochs before, {len(after)} now")
    if repr(before) == repr(after):
        return Line(IDENTICAL, what, "", f"{len(before)} epochs")
    curves = [unspell(run["history"].get(name, [])) for run in pair.siblings]
    judged = []
    for epoch, (was, now) in enumerate(zip(before, after, strict=True)):
        noise = measure_noise([curve[epoch] if epoch < len(curve) else math.nan for curve in curves])
        judged.append(judge_number(was, now, noise)[0])
    away = judged.count(DRIFTED)
    largest = max(abs(now - was) for was, now in zip(before, after, strict=True))
    note = f"largest difference {largest:.3g}; {away} of {len(judged)} epochs outside the seeds' spread"
    return Line(DRIFTED if away else WITHIN, what, "", f"{len(before)} epochs", note=note)


def _compare_predictions(pair: Pair) -> Line:
    old, new = pair.old["predictions"], pair.new["predictions"]
    what = f"predictions of {old['samples']:,} samples"
    if new is None or new["samples"] != old["samples"]:
        return Line(DRIFTED, what, "", note=f"now {new['samples'] if new else 'no'} samples")
    if old["sha256"] == new["sha256"]:
        return Line(IDENTICAL, what, "")
    classes = unpack_classes(old)
    others = [run["predictions"] for run in pair.siblings if run is not pair.old and run["predictions"]]
    spread = [int((unpack_classes(other) != classes).sum()) for other in others]
    moved = int((unpack_classes(new) != classes).sum())
    note = f"{moved} samples are classified differently"
    if not spread:
        return Line(DRIFTED, what, "", note=f"{note}; no other seed says what noise would be")
    note += f"; another seed does so with {min(spread)} to {max(spread)}"
    return Line(WITHIN if moved <= max(spread) else DRIFTED, what, "", note=note)


def _compare_table(name: str, old: Mapping[str, str], new: Mapping[str, str] | None) -> Iterator[Line]:
    what = f"table {name}"
    if new is None:
        yield Line(DRIFTED, what, "", note="the new run has no such table")
        return
    if "sha256" in old:  # the report shows no single samples
        same = hash_text(new["csv"]) == old["sha256"]
        yield Line(IDENTICAL if same else DRIFTED, what, "", note="" if same else "its rows differ")
        return
    before, after = read_rows(old["csv"]), read_rows(new["csv"])
    if old == new:
        yield Line(IDENTICAL, what, "", f"{len(before)} rows")
        return
    if [list(row) for row in before] != [list(row) for row in after]:
        yield Line(DRIFTED, what, "", f"{len(before)} rows", f"{len(after)} rows", "rows or columns differ")
        return
    differing = [
        (number, column)
        for number, (old, new) in enumerate(zip(before, after, strict=True))
        for column in old
        if old[column] != new[column]
    ]
    for number, column in differing[:20]:
        noise = _table_noise(before, before[number], column)
        yield _compare_cell(f"{what}, row {number + 1}, {column}", before, after, number, column, noise)
    if len(differing) > 20:
        yield Line(DRIFTED, what, "", note=f"and {len(differing) - 20} more of its cells differ")


def _compare_cell(
    what: str,
    before: Sequence[Mapping[str, str]],
    after: Sequence[Mapping[str, str]],
    row: int,
    column: str,
    noise: Noise | None,
) -> Line:
    was, now = before[row][column], after[row][column]
    try:
        return _compare_number(what, float(was), float(now), noise)
    except ValueError:
        return Line(DRIFTED, what, "", was, now, "the texts differ")


def _table_noise(rows: Sequence[Mapping[str, str]], row: Mapping[str, str], column: str) -> Noise | None:
    """Return the spread of a column over the seeds of one model, where a table has one row a seed."""
    if not row.get("seed"):
        return None
    same = [other for other in rows if all(other.get(key) == row.get(key) for key in _MODEL)]
    try:
        return measure_noise([float(other[column]) for other in same])
    except ValueError:
        return None

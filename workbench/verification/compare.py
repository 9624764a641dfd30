"""Two runs of one step beside one another: every number, table, figure and prediction."""

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from workbench.events import unspell
from workbench.reports.collect import SUMMARY
from workbench.reports.figure_data import unpack_numbers
from workbench.reports.manifest import read_rows, unpack_classes
from workbench.verification.spread import Numbers, Pair, find_spread, judge_numbers
from workbench.verification.tables import MODEL, compare_sentence, compare_table
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
        yield _compare_metric(pair, name, value)
    for name in old["history"]:
        yield _compare_curve(pair, name)
    if old["predictions"]:
        yield _compare_predictions(pair)
    same = old["card"] == new["card"]
    yield Line(IDENTICAL if same else DRIFTED, "data card", "", note="" if same else "its facts differ")
    for number in range(max(len(old["verdicts"]), len(new["verdicts"]))):
        yield compare_sentence(pair, number)
    for name, table in old["tables"].items():
        yield from compare_table(pair, name, table)
    for name, figure in old["figures"].items():
        yield _compare_figure(pair, name, figure)


def _compare_data(old: Mapping[str, Any], new: Mapping[str, Any] | None) -> Line:
    before, after = old["fingerprint"], (new or {}).get("fingerprint", "")
    verdict = IDENTICAL if before == after else NOT_COMPARABLE
    note = "" if before == after else "the data have changed"
    return Line(verdict, f"data {old['name']}", "", before[:12], after[:12], note)


def _compare_metric(pair: Pair, name: str, before: float) -> Line:
    after = unspell(pair.new["metrics"]).get(name)
    if after is None:
        return Line(DRIFTED, name, "", repr(before), "", "the new run has no such number")
    spread = find_spread(pair, lambda run: [unspell(run["metrics"]).get(name)])
    noise = _noise_of_model(pair, name, before) if len(pair.siblings) < 2 else None
    verdict, note = judge_number(before, after, noise or spread.at(0, before, after))
    return Line(verdict, name, "", repr(before), repr(after), note)


def _noise_of_model(pair: Pair, name: str, value: float) -> Noise | None:
    """Return the spread over the seeds of the model whose mean an evaluation ended with."""
    rows = read_rows(pair.old["tables"].get(SUMMARY, {}).get("csv", ""))
    groups: dict[tuple[str | None, ...], list[float]] = {}
    for row in rows:
        if row.get("seed") and row.get(name):
            groups.setdefault(tuple(map(row.get, MODEL)), []).append(float(row[name]))
    for values in groups.values():
        if math.isclose(statistics.fmean(values), value, rel_tol=1e-9):
            return measure_noise(values, of_mean=True)
    return None


def _compare_curve(pair: Pair, name: str) -> Line:
    what = f"curve of {name}"
    before, after = (unspell(run["history"].get(name, [])) for run in (pair.old, pair.new))
    if len(before) != len(after):
        return Line(DRIFTED, what, "", note=f"{len(before)} epochs before, {len(after)} now")
    spread = find_spread(pair, lambda run: _as_long(unspell(run["history"].get(name, [])), len(before)))
    verdict, note = judge_numbers(before, after, spread)
    return Line(verdict, what, "", f"{len(before)} epochs", note=note)


def _as_long(values: Numbers, length: int) -> Numbers:
    return [*values[:length], *[None] * (length - len(values))]


def _compare_figure(pair: Pair, name: str, old: Mapping[str, str]) -> Line:
    what, new = f"figure {name}", pair.new["figures"].get(name)
    if new is None:
        return Line(DRIFTED, what, "", note="the new run has none")
    if old["sha256"] == new["sha256"]:
        return Line(IDENTICAL, what, "")
    before, after = unpack_numbers(old), unpack_numbers(new)
    if before is None or after is None:
        return Line(DRIFTED, what, "", note="its data differ; it has too many numbers for the manifest")
    if old["shape"] != new["shape"]:
        return Line(DRIFTED, what, "", note="its data differ, and not in their numbers alone")
    spread = find_spread(
        pair, lambda run: _numbers_of(run["figures"].get(name, {}), old["shape"], len(before))
    )
    verdict, note = judge_numbers(before.tolist(), after.tolist(), spread)
    return Line(verdict, what, "", f"{len(before):,} numbers", note=note)


def _numbers_of(figure: Mapping[str, str], shape: str, length: int) -> Numbers:
    numbers = unpack_numbers(figure) if figure.get("shape") == shape else None
    return [None] * length if numbers is None else numbers.tolist()


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

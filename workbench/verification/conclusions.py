"""Whether what was concluded holds with other seeds: the same comparisons, the same verdicts."""

import io
import itertools
from collections.abc import Iterator, Mapping, Set
from typing import Any

from workbench.reports.collect import SUMMARY
from workbench.reports.manifest import read_rows
from workbench.reports.results import TESTS, ResultTable, read_results
from workbench.verification.verdicts import DRIFTED, IDENTICAL, Line


def compare_conclusions(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Line]:
    """Yield one line for each comparison that an evaluation makes.

    Args:
        old: The evaluation as it was, from `describe_run`.
        new: The same with models of other seeds.
    """
    before, after = _conclusions(old), _conclusions(new)
    for question, (answer, evidence) in before.items():
        now, found = after.get(question, ("not asked any more", ""))
        verdict = IDENTICAL if now == answer else DRIFTED
        note = f"{evidence} before, {found} now"
        yield Line(verdict, question, old["label"], answer, now, note, old["folder"], new["folder"])


def _conclusions(run: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return answer and evidence by question: what the evaluation tested, and ranks where it did not."""
    tests = [row for table in run["tables"].values() for row in _read_tests(table.get("csv", ""))]
    tested = {frozenset((row["better"], row["worse"])) for row in tests}
    found = dict(map(_read_test, tests))
    for table in read_results(io.StringIO(run["tables"][SUMMARY]["csv"])):
        found |= dict(_rank(table, tested))
    return found


def _read_tests(text: str) -> list[dict[str, str]]:
    rows = read_rows(text)
    return rows if rows and rows[0].keys() >= TESTS else []


def _read_test(row: Mapping[str, str]) -> tuple[str, tuple[str, str]]:
    """Return what a pairwise test of the evaluation asked and answered."""
    one, other = sorted((row["better"], row["worse"]))
    separated = row["separated"] == "yes"
    answer = f"{row['better']} is better" if separated else "these data do not separate them"
    return f"{one} or {other}", (answer, row.get("reported", ""))


def _rank(table: ResultTable, tested: Set[frozenset[str]]) -> Iterator[tuple[str, tuple[str, str]]]:
    models = sorted((row for row in table.rows if row.kind == "model"), key=lambda row: row.model)
    baseline = table.best_of("baseline")
    pairs = [(model, baseline) for model in models if baseline] + list(itertools.combinations(models, 2))
    for one, other in pairs:
        if frozenset((one.model, other.model)) in tested:
            continue
        name = "the best baseline" if other is baseline else other.model
        evidence = f"{one.measures['accuracy']} and {other.measures['accuracy']}"
        yield f"{table.dataset}: accuracy of {one.model} beside {name}", (table.compare(one, other), evidence)

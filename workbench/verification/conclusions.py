"""Whether what was concluded holds with other seeds: the same comparisons, the same verdicts."""

import io
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from workbench.reports.collect import SUMMARY
from workbench.reports.results import ResultTable, read_results
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
    """Return the answer and its evidence by question."""
    found: dict[str, tuple[str, str]] = {}
    for table in read_results(io.StringIO(run["tables"][SUMMARY]["csv"])):
        found |= dict(_rank(table))
    return found


def _rank(table: ResultTable) -> Iterator[tuple[str, tuple[str, str]]]:
    models = sorted((row for row in table.rows if row.kind == "model"), key=lambda row: row.model)
    baseline = table.best_of("baseline")
    pairs = [(model, baseline) for model in models if baseline] + list(itertools.combinations(models, 2))
    for one, other in pairs:
        name = "the best baseline" if other is baseline else other.model
        evidence = f"{one.measures['accuracy']} and {other.measures['accuracy']}"
        yield f"{table.dataset}: accuracy of {one.model} beside {name}", (table.compare(one, other), evidence)

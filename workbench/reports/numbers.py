"""The numbers of a report by name, so that text and papers take them from runs and never type them."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from workbench.errors import WorkbenchError
from workbench.reports.collect import SUMMARY, Report
from workbench.reports.rendering import format_number, plain_name
from workbench.reports.results import ResultTable


@dataclass(frozen=True)
class Number:
    """A number with what it is and where it comes from."""

    name: str  # such as digits.cnn.accuracy
    text: str  # as a reader sees it
    value: float
    what: str  # in words
    step: str  # label of the step whose run says it
    place: str  # table or metric of that run

    @property
    def macro(self) -> str:
        """Its name as a LaTeX macro without the backslash: resultDigitsCnnAccuracy."""
        return "result" + "".join(word[:1].upper() + word[1:] for word in _letters(self.name).split())


def collect_numbers(report: Report, results: Mapping[str, Iterable[ResultTable]]) -> dict[str, Number]:
    """Return every number that a text may name.

    Args:
        report: The runs.
        results: The tables of results by the label of the evaluation that made them.
    """
    found: dict[str, Number] = {}
    for step, tables in results.items():
        for table in tables:
            for number in _of_results(step, table):
                found.setdefault(number.name, number)
    for step in report.steps:
        for metric, value in (step.run.metrics if step.run else {}).items():
            name = f"{plain_name(step.label)}.{plain_name(metric)}"
            what = f"{metric.replace('_', ' ')} of {step.label}"
            found.setdefault(
                name, Number(name, format_number(float(value)), value, what, step.label, "metrics")
            )
        for split, size in ((step.run and step.run.dataset) or {}).get("sizes", {}).items():
            name = f"{plain_name(step.run.dataset['name'])}.samples.{split}"
            what = f"{split} samples of {step.run.dataset['name']}"
            found.setdefault(name, Number(name, f"{size:,}", size, what, step.label, "dataset"))
    return found


def _of_results(step: str, table: ResultTable) -> Iterable[Number]:
    for row in table.rows:
        runs = ".".join(map(plain_name, (table.dataset, row.model, "runs")))
        count = len(row.runs)
        yield Number(
            runs, str(count), count, f"runs of {row.model} on {table.dataset}", step, f"table {SUMMARY}"
        )
        for measure in table.measures:
            found = row.measures[measure]
            name = ".".join(map(plain_name, (table.dataset, row.model, measure)))
            what = f"{table.heading(measure)} of {row.model} on {table.dataset}"
            yield Number(name, str(found), found.mean, what, step, f"table {SUMMARY}")


def find_number(numbers: Mapping[str, Number], name: str, where: str) -> Number:
    """Return a number by its name.

    Raises:
        WorkbenchError: There is none.
    """
    if name in numbers:
        return numbers[name]
    near = difflib.get_close_matches(name, numbers, 3, 0.4)
    hint = f"Near are {', '.join(near)}." if near else f"Known: {', '.join(list(numbers)[:8]) or 'none'}."
    raise WorkbenchError(f"{where} names the number {{{name}}}, and no run has it.\n{hint}")


def _letters(name: str) -> str:
    """Return a name as words of Latin letters, which is all that TeX takes in a macro's name."""
    spelled = re.sub(r"\d", lambda digit: f" {_DIGITS[int(digit[0])]} ", name)
    return re.sub(r"[^A-Za-z]+", " ", spelled)


_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

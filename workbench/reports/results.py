"""The heart of a report: every model and baseline with its measures, and what they say in one sentence."""

import csv
import math
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

INTERVALS = {"model", "measure", "reported"}  # columns of a table of intervals
TESTS = {"better", "worse", "separated"}  # of a table of pairwise tests
_NAMES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "log_loss": "log loss"}


@dataclass(frozen=True)
class Measure:
    """A measure over the runs of one model."""

    mean: float
    sd: float  # NaN for a single run
    values: list[float]
    interval: str = ""  # value and 95 % interval as the evaluation reports them, if it does

    def __str__(self) -> str:
        if self.interval:
            return self.interval
        decimals = carried_decimals(self.sd)
        mean = f"{self.mean:.{decimals}f}"
        return mean if math.isnan(self.sd) else f"{mean} ± {self.sd:.{decimals}f}"


@dataclass(frozen=True)
class Row:
    """One model or baseline."""

    model: str
    kind: str
    seeds: list[str]
    runs: list[str]  # run folders, relative to the project root
    measures: dict[str, Measure]


@dataclass(frozen=True)
class ResultTable:
    """What one evaluation found on one dataset, best first."""

    dataset: str
    test_samples: int
    measures: list[str]
    rows: list[Row]
    beaten: dict[str, set[str]] = field(default_factory=dict)  # by model: those it was tested better than

    def heading(self, measure: str) -> str:
        """Return a measure's name as people write it."""
        return _NAMES.get(measure, measure.replace("_", " "))

    @property
    def has_intervals(self) -> bool:
        """Whether the evaluation says how far its numbers can be trusted."""
        return any(measure.interval for row in self.rows for measure in row.measures.values())

    def is_best(self, row: Row) -> bool:
        """Tell whether the evaluation's tests carry that a model is more accurate than every other row."""
        others = {other.model for other in self.rows} - {row.model}
        return bool(others) and others <= self.beaten.get(row.model, set())

    @property
    def scale(self) -> tuple[float, float]:
        """The range of the accuracies, rounded outwards to tenths, for drawing them."""
        values = [value for row in self.rows for value in row.measures["accuracy"].values]
        low, high = math.floor(min(values) * 10) / 10, math.ceil(max(values) * 10) / 10
        return low, max(high, low + 0.1)

    def position(self, value: float) -> float:
        """Return where an accuracy lies in the scale, in percent."""
        low, high = self.scale
        return round(100 * (value - low) / (high - low), 2)

    def compare(self, model: Row, baseline: Row) -> str:
        """Say how the accuracy of a model stands to that of a baseline, to the digits that are shown."""
        difference = round(model.measures["accuracy"].mean - baseline.measures["accuracy"].mean, 4)
        return "more than" if difference > 0 else "less than" if difference < 0 else "as much as"

    def best_of(self, kind: str) -> Row | None:
        """Return the most accurate model, or the most accurate baseline."""
        return next((row for row in self.rows if row.kind == kind), None)


def read_results(summary: Path | IO[str], *others: Path) -> list[ResultTable]:
    """Read the `summary.csv` of an evaluation: one table for each dataset.

    Args:
        summary: The file; its columns stand in `workbench.tables.table_summary`.
        others: Further tables of the evaluation. Those with the columns of intervals (model, measure,
            reported) or of tests (better, worse, separated) are taken up.
    """
    if isinstance(summary, Path):
        with open(summary, encoding="utf-8", newline="") as file:
            return read_results(file, *others)
    table = list(csv.DictReader(summary))
    columns = list(table[0]) if table else []
    measures = columns[columns.index("seed") + 1 : -1] if table else []
    intervals: dict[tuple[str, str], str] = {}
    beaten: dict[str, set[str]] = {}
    for path in others:
        rows = _read_rows(path)
        columns = set(rows[0]) if rows else set()
        if columns >= INTERVALS:
            intervals |= {(row["model"], row["measure"]): row["reported"] for row in rows}
        elif columns >= TESTS:
            for row in rows:
                if row["separated"] == "yes":
                    beaten.setdefault(row["better"], set()).add(row["worse"])
    datasets: dict[str, list[dict[str, str]]] = {}
    for row in table:
        datasets.setdefault(row["dataset"], []).append(row)
    return [_result_table(name, rows, measures, intervals, beaten) for name, rows in datasets.items()]


def carried_decimals(spread: float) -> int:
    """Return after how many decimals a number with this spread is noise; four where none is known."""
    if not math.isfinite(spread) or spread <= 0:
        return 4
    return min(max(1 - math.floor(math.log10(spread)), 0), 4)


def _read_rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _result_table(
    dataset: str,
    table: list[dict[str, str]],
    measures: list[str],
    intervals: dict[tuple[str, str], str],
    beaten: dict[str, set[str]],
) -> ResultTable:
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in table:
        groups.setdefault((row["model"], row["kind"]), []).append(row)
    rows = []
    for (model, kind), own in groups.items():
        values = {name: [float(row[name] or "nan") for row in own] for name in measures}
        found = {
            name: Measure(*_mean_and_deviation(numbers), numbers, intervals.get((model, name), ""))
            for name, numbers in values.items()
        }
        rows.append(Row(model, kind, [row["seed"] for row in own], [row["run"] for row in own], found))
    rows.sort(key=lambda row: _worst_if_unknown(row.measures["accuracy"].mean), reverse=True)
    return ResultTable(dataset, int(table[0]["test_samples"]), measures, rows, beaten)


def _mean_and_deviation(values: list[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation of the values that are numbers; NaN where too few are."""
    known = [value for value in values if not math.isnan(value)]
    mean = statistics.fmean(known) if known else math.nan
    return mean, statistics.stdev(known) if len(known) > 1 else math.nan


def _worst_if_unknown(accuracy: float) -> float:
    return -math.inf if math.isnan(accuracy) else accuracy

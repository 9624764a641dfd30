"""The heart of a report: every model and baseline with its measures, and what they say in one sentence."""

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from workbench.tables import table_means

_NAMES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "log_loss": "log loss"}


@dataclass(frozen=True)
class Measure:
    """A measure over the runs of one model."""

    mean: float
    sd: float  # NaN for a single run
    values: list[float]

    def __str__(self) -> str:
        return f"{self.mean:.4f}" if math.isnan(self.sd) else f"{self.mean:.4f} ± {self.sd:.4f}"


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

    def heading(self, measure: str) -> str:
        """Return a measure's name as people write it."""
        return _NAMES.get(measure, measure.replace("_", " "))

    @property
    def best(self) -> dict[str, Row]:
        """The best row by each measure."""
        return {
            name: min(self.rows, key=lambda row: row.measures[name].mean * (1 if "loss" in name else -1))
            for name in self.measures
        }

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


def read_results(summary: Path) -> list[ResultTable]:
    """Read the `summary.csv` of an evaluation: one table for each dataset.

    Args:
        summary: The file; its columns stand in `workbench.tables.table_summary`.
    """
    text = dict.fromkeys(("dataset", "model", "kind", "run", "seed"), str)
    table = pd.read_csv(summary, dtype=text, keep_default_na=False, na_values={"log_loss": ["", "nan"]})
    measures = list(table.columns[table.columns.get_loc("seed") + 1 : -1])
    return [
        _result_table(str(dataset), rows, measures) for dataset, rows in table.groupby("dataset", sort=False)
    ]


def _result_table(dataset: str, table: pd.DataFrame, measures: list[str]) -> ResultTable:
    rows = []
    for mean in table_means(table).to_dict("records"):
        own = table[(table["model"] == mean["model"]) & (table["kind"] == mean["kind"])]
        rows.append(
            Row(
                model=mean["model"],
                kind=mean["kind"],
                seeds=own["seed"].tolist(),
                runs=own["run"].tolist(),
                measures={
                    name: Measure(mean[name], mean[f"{name}_sd"], own[name].tolist()) for name in measures
                },
            )
        )
    return ResultTable(dataset, int(table["test_samples"].iloc[0]), measures, rows)

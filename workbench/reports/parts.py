"""What the page shows of each step: results, figures, tables, data card, executed notebook."""

import csv
import html
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.figures import plot_learning_curves
from workbench.reports.collect import SUMMARY, Report, ReportedStep
from workbench.reports.exhibits import Exhibit, Origin, PageTable
from workbench.reports.figures import FigureStore
from workbench.reports.notebook import NotebookView, read_view
from workbench.reports.privacy import lists_samples, shows_samples
from workbench.reports.results import ResultTable, read_results

_LONG_TABLE = 12  # rows; a longer table is folded


@dataclass(frozen=True)
class StepPart:
    """What the page shows of one step."""

    step: ReportedStep
    results: list[ResultTable]
    card: dict[str, Any]  # the facts of the data card
    exhibits: list[Exhibit]
    view: NotebookView | None
    left_out: list[str]  # what would have shown samples of the user's own data


def collect_parts(report: Report, figures: FigureStore) -> list[StepPart]:
    """Read what the page shows of every step."""
    return [_part(step, figures, report.settings.share_samples) for step in report.steps]


def order_exhibits(parts: list[StepPart]) -> list[Exhibit]:
    """Return the exhibits of all steps in the order of the page: evaluations, data, the rest."""
    ordered = sorted(parts, key=lambda part: (not part.results, not part.card))
    return [exhibit for part in ordered for exhibit in part.exhibits]


def draw_curves(report: Report, figures: FigureStore) -> list[Exhibit]:
    """Return one figure for each step that trains, with the runs of its whole matrix."""
    groups: dict[str, list[ReportedStep]] = {}
    for step in report.steps:
        if step.is_training:
            groups.setdefault(step.name, []).append(step)
    exhibits = []
    for name, steps in groups.items():
        figure = plot_learning_curves({step.label: step.events for step in steps})
        figure.update_layout(title_text=f"Learning curves of {html.escape(name)}")
        drawn = figures.add(figure.to_json(), name)
        exhibits.append(
            Exhibit("figure", f"curves/{name}", 0, drawn.title, Origin(steps, 0, "events.jsonl"), drawn)
        )
    return exhibits


def _part(step: ReportedStep, figures: FigureStore, share_samples: bool) -> StepPart:
    hide = step.is_private and not share_samples
    view = (
        read_view(step.executed, lambda text: figures.add(text, step.name), hide) if step.executed else None
    )
    tables = step.run.tables() if step.run else {}
    others = [path for name, path in tables.items() if name != SUMMARY]
    card = step.data_card or {}
    nested = {key: value for key, value in card.items() if _is_nested(value)}
    left_out: list[str] = ["outputs of the executed notebook"] if hide and view else []
    exhibits = [*_figures(step, figures, view, left_out if hide else None)]
    exhibits += [_nested_table(step, key, value) for key, value in nested.items()]
    exhibits += _tables(step, tables, view, left_out if hide else None)
    return StepPart(
        step=step,
        results=read_results(tables[SUMMARY], *others) if step.is_evaluation else [],
        card={
            key: value
            for key, value in card.items()
            if key not in nested and not (hide and key == "left_out")
        },
        exhibits=exhibits,
        view=view,
        left_out=left_out,
    )


def _figures(
    step: ReportedStep, figures: FigureStore, view: NotebookView | None, hidden: list[str] | None
) -> Iterator[Exhibit]:
    for name, path in (step.run.figures() if step.run else {}).items():
        text = path.read_text(encoding="utf-8")
        if hidden is not None and shows_samples(json.loads(text)):
            hidden.append(f"figure {name}")
            continue
        drawn = figures.add(text, name)
        cell = view.find_cell("save_figure", name) if view else 0
        origin = Origin([step], cell, f"artifacts/figures/{name}.json")
        yield Exhibit("figure", f"{step.label}/{name}", 0, drawn.title, origin, figure=drawn)


def _tables(
    step: ReportedStep, tables: dict[str, Path], view: NotebookView | None, hidden: list[str] | None
) -> Iterator[Exhibit]:
    drawn = step.run.figures() if step.run else {}
    for name, path in tables.items():
        if name == SUMMARY:
            continue
        is_drawn = any(shown.startswith(name) for shown in drawn)
        cell = view.find_cell("save_table", name) if view else 0
        origin = Origin([step], cell, f"artifacts/tables/{name}.csv")
        for suffix, table in _read_tables(name, path, is_drawn):
            if hidden is not None and lists_samples(table.columns):
                hidden.append(f"table {name}{suffix}")
                continue
            yield Exhibit("table", f"{step.label}/{name}{suffix}", 0, table.title, origin, table=table)


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(inner, dict) for inner in value.values())


def _nested_table(step: ReportedStep, name: str, mapping: dict[str, dict[str, Any]]) -> Exhibit:
    """Return a mapping of mappings, such as the samples of each class in each split, as a table."""
    columns = list(dict.fromkeys(key for inner in mapping.values() for key in inner))
    rows = [[key, *(str(inner.get(column, "")) for column in columns)] for key, inner in mapping.items()]
    table = _page_table(name.capitalize(), ["", *columns], rows, is_drawn=True)
    origin = Origin([step], 0, "artifacts/data_card.json")
    return Exhibit("table", f"{step.label}/card.{name}", 0, table.title, origin, table=table)


def _read_tables(name: str, path: Path, is_drawn: bool) -> Iterator[tuple[str, PageTable]]:
    """Yield a saved table, taken apart by model where its first column is that, with what tells it apart."""
    with open(path, encoding="utf-8", newline="") as file:
        columns, *rows = list(csv.reader(file)) or [[]]
    title = name.replace("_", " ").capitalize()
    models = list(dict.fromkeys(row[0] for row in rows)) if columns[:1] == ["model"] else []
    if not models or len(models) == len(rows):
        yield "", _page_table(title, columns, rows, is_drawn)
        return
    for model in models:
        own = [row[1:] for row in rows if row[0] == model]
        yield f":{model}", _page_table(f"{title}: {model}", columns[1:], own, is_drawn)


def _page_table(title: str, columns: list[str], rows: list[list[str]], is_drawn: bool) -> PageTable:
    numeric = [
        any(row[n] for row in rows) and all(_is_number(row[n]) for row in rows if row[n])
        for n in range(len(columns))
    ]
    return PageTable(title, columns, numeric, rows, folded=is_drawn or len(rows) > _LONG_TABLE)


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False

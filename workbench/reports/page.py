"""Build the page: everything that the run folders say, in one HTML file that needs no network."""

import base64
import csv
import datetime
import hashlib
import html
import math
import os
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import jinja2
import plotly.offline

from workbench.figures import plot_learning_curves
from workbench.reports.collect import SUMMARY, Report, ReportedStep, collect_report
from workbench.reports.figures import PageFigure, page_templates, prepare_figure
from workbench.reports.results import ResultTable, read_results
from workbench.reports.trainings import shorten_evidence
from workbench.runs import resolve_path, show_path, write_text

_TEMPLATES = Path(__file__).parent / "templates"
_LONG_TABLE = 12  # rows; a longer table is folded


@dataclass(frozen=True)
class PageTable:
    """A saved table as text, with its columns of numbers known."""

    title: str
    columns: list[str]
    numeric: list[bool]
    rows: list[list[str]]
    folded: bool  # because it is long, or says what a figure shows


@dataclass(frozen=True)
class StepPart:
    """What the page shows of one step."""

    step: ReportedStep
    results: list[ResultTable]
    card: dict[str, Any]  # the facts of the data card
    figures: list[PageFigure]
    tables: list[PageTable]


def build_report(pipeline_state: str | Path, output: str | Path | None = None) -> Path:
    """Write the report of a pipeline as one HTML file that opens without a network.

    Args:
        pipeline_state: `runs/<pipeline>` or its `state.json`, relative to the project root.
        output: The file to write; by default `reports/<pipeline>.html`.

    Returns:
        The path of the file.

    Raises:
        WorkbenchError: There is no readable `state.json`.
    """
    report = collect_report(pipeline_state)
    path = resolve_path(output or f"reports/{report.name}.html")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_page(report, path.parent))
    return path


def render_page(report: Report, folder: Path) -> str:
    """Return the page as HTML.

    Args:
        report: What to show.
        folder: Where the page will lie; links to executed notebooks are relative to it.
    """
    keys = (f"figure-{number}" for number in count(1))
    parts = [_part(step, keys) for step in report.steps]
    scripts = {
        "plotly": plotly.offline.get_plotlyjs().replace("</script", "<\\/script"),
        "page": (_TEMPLATES / "report.js").read_text(encoding="utf-8"),
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "anchor": anchor,
        "duration": format_duration,
        "moment": format_moment,
        "number": format_number,
        "plain": strip_colors,
        "short": shorten_evidence,
    }
    return environment.get_template("report.html").render(
        report=report,
        parts=parts,
        curves=list(_learning_curves(report, keys)),
        built=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        css=(_TEMPLATES / "report.css").read_text(encoding="utf-8"),
        scripts=scripts,
        policy=_content_policy(scripts.values()),
        looks=page_templates(),
        steered=_steered_runs(report, parts),
        link=lambda target: _link(target, folder),
        step_of={show_path(step.folder): step for step in report.steps if step.folder},
    )


def anchor(label: str) -> str:
    """Return an id for a step's place in the page; different labels have different ids."""
    digest = hashlib.sha256(label.encode()).hexdigest()[:6]
    return f"step-{re.sub(r'[^a-z0-9]+', '-', label.lower()).strip('-')}-{digest}"


def format_number(value: str | float) -> str:
    """Return a number with four decimals, or four digits if it is very large or small; text stays."""
    try:
        number = float(value)
    except ValueError:
        return str(value)
    if isinstance(value, str) and value.lstrip("-").isdigit():
        return value
    if isinstance(value, float) and number.is_integer() and number > 1:
        return f"{number:,.0f}"
    return f"{number:.4f}" if 0.001 <= abs(number) < 1000 else f"{number:.4g}"


def format_duration(seconds: float) -> str:
    """Return a time span as people say it: 42 s, 3 min 20 s, 1 h 05 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def format_moment(iso: str) -> str:
    """Return an ISO time as `2025-01-31 14:05 UTC`."""
    moment = datetime.datetime.fromisoformat(iso).astimezone(datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def strip_colors(text: str) -> str:
    """Return terminal output without its escape sequences."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


def _steered_runs(report: Report, parts: list[StepPart]) -> dict[str, ReportedStep | None]:
    """Return the runs behind the page that were steered by hand, with their steps if of this pipeline."""
    own = {show_path(step.folder): step for step in report.steps if step.folder and step.training.steered}
    named = [path for part in parts for table in part.results for row in table.rows for path in row.runs]
    return own | {path: own.get(path) for path in named if report.is_steered(path)}


def _part(step: ReportedStep, keys: Iterator[str]) -> StepPart:
    figures = step.run.figures() if step.run else {}
    tables = step.run.tables() if step.run else {}
    card = step.data_card or {}
    nested = {key for key, value in card.items() if _is_nested(value)}
    return StepPart(
        step=step,
        results=read_results(tables[SUMMARY]) if step.is_evaluation else [],
        figures=[
            prepare_figure(path.read_text(encoding="utf-8"), name, next(keys))
            for name, path in figures.items()
        ],
        card={key: value for key, value in card.items() if key not in nested},
        tables=[_nested_table(key, card[key]) for key in card if key in nested]
        + [
            table
            for name, path in tables.items()
            if name != SUMMARY
            for table in _read_tables(name, path, any(shown.startswith(name) for shown in figures))
        ],
    )


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(inner, dict) for inner in value.values())


def _nested_table(name: str, mapping: dict[str, dict[str, Any]]) -> PageTable:
    """Return a mapping of mappings, such as the samples of each class in each split, as a table."""
    columns = list(dict.fromkeys(key for inner in mapping.values() for key in inner))
    rows = [[key, *(str(inner.get(column, "")) for column in columns)] for key, inner in mapping.items()]
    return _page_table(name.capitalize(), ["", *columns], rows, is_drawn=True)


def _learning_curves(report: Report, keys: Iterator[str]) -> Iterator[PageFigure]:
    """Yield one figure for each step that trains, with the runs of its whole matrix."""
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for step in report.steps:
        if step.is_training:
            groups.setdefault(step.name, {})[step.label] = step.events
    for name, curves in groups.items():
        figure = plot_learning_curves(curves).update_layout(title_text=html.escape(name))
        yield prepare_figure(figure.to_json(), name, next(keys))


def _read_tables(name: str, path: Path, is_drawn: bool) -> Iterator[PageTable]:
    """Yield a saved table, taken apart by model where its first column is that."""
    with open(path, encoding="utf-8", newline="") as file:
        columns, *rows = list(csv.reader(file)) or [[]]
    title = name.replace("_", " ").capitalize()
    if columns[:1] != ["model"]:
        yield _page_table(title, columns, rows, is_drawn)
        return
    for model in dict.fromkeys(row[0] for row in rows):
        own = [row[1:] for row in rows if row[0] == model]
        yield _page_table(f"{title}: {model}", columns[1:], own, is_drawn)


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


def _content_policy(scripts: Any) -> str:
    """Return a policy under which only the page's own scripts run and nothing is fetched."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"


def _link(target: Path, folder: Path) -> str:
    return urllib.parse.quote(os.path.relpath(target, folder).replace(os.sep, "/"))

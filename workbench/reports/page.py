"""Build the page: everything that the run folders say, in one HTML file that needs no network."""

import datetime
import os
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.reports.citations import read_bibliography
from workbench.reports.collect import Report, ReportedStep, collect_report
from workbench.reports.costs import collect_costs
from workbench.reports.exhibits import Exhibits
from workbench.reports.figures import FigureStore, PageFigure, pack_plotly, page_templates
from workbench.reports.manifest import build_manifest
from workbench.reports.methods import write_methods
from workbench.reports.numbers import collect_numbers
from workbench.reports.parts import StepPart, collect_parts, draw_curves, order_exhibits
from workbench.reports.prose import Context, find_shown, link_number, render_text
from workbench.reports.rendering import content_policy, find_template, read_template
from workbench.reports.seal import DIGEST_SLOT, MANIFEST_SLOT, seal_page
from workbench.runs import resolve_path, show_path, write_text

# What run.json holds besides what a notebook records of its own accord, which is shown as it is.
_KNOWN_DETAILS = (
    "name", "status", "parameters", "attempt", "started", "ended", "process", "provenance", "dataset",
    "metrics", "model", "trainable_parameters", "error", "verdicts", "costs",
)  # fmt: skip


@dataclass(frozen=True)
class WrittenReport:
    """A report on disk, and the digest of its manifest for a paper to quote."""

    path: Path
    digest: str


def build_report(
    *pipelines: str | Path,
    output: str | Path | None = None,
    text: str | None = None,
    template: str = "",
    diff: bool = False,
) -> Path:
    """Write the report of one or several pipelines as one HTML file that opens without a network.

    Args:
        pipelines: `runs/<pipeline>` or its `state.json`, relative to the project root.
        output: The file to write; by default `reports/<pipeline>.html`.
        text: A Markdown file with settings and text; by default the one beside the only pipeline.
        template: `paper`, `brief` or a Jinja file of your own; by default what the text's settings say.
        diff: Whether to show what was not committed when the runs were made, as the setting of that name.

    Returns:
        The path of the file.

    Raises:
        WorkbenchError: There is no readable `state.json`, or the text names something that no run has.
    """
    return write_report(*pipelines, output=output, text=text, template=template, diff=diff).path


def write_report(
    *pipelines: str | Path,
    output: str | Path | None = None,
    text: str | None = None,
    template: str = "",
    diff: bool = False,
    strict: bool = True,
) -> WrittenReport:
    """Write a report as `build_report` does, and return its digest too.

    Args:
        pipelines, output, text, template, diff: As there.
        strict: Whether it is an error that the text names something that no run has; else it is marked. It
            is never an error while steps of the pipeline have no result.
    """
    report = collect_report(*pipelines, text=text, diff=diff)
    path = resolve_path(output or f"reports/{report.name}.html")
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest = build_manifest(report) | {"template": template, "diff": report.settings.diff}
    page, digest = seal_page(render_page(report, path, template, strict), manifest)
    write_text(path, page)
    return WrittenReport(path, digest)


def render_page(report: Report, path: Path, template: str = "", strict: bool = True) -> str:
    """Return the page as HTML, with room for its manifest and the manifest's digest.

    Args:
        report: What to show.
        path: Where the page will lie; links to executed notebooks are relative to its folder.
        template: `paper`, `brief` or a file; by default what the report's settings say.
        strict: As in `write_report`.
    """
    settings, store = report.settings, FigureStore()
    curves = draw_curves(report, store)
    parts = collect_parts(report, store)
    where = show_path(settings.file) if settings.file else "the text"
    exhibits = Exhibits([*curves, *order_exhibits(parts)], find_shown(settings.text), where)
    numbers = collect_numbers(report, {part.step.label: part.results for part in parts})
    bibliography = read_bibliography(settings.beside(settings.bibliography), settings.citations)
    environment, name = find_template(template or settings.template, settings.folder)
    complete = all(step.state == "done" for step in report.steps)
    missing: list[str] | None = None if strict and complete else []
    shared = {
        "exhibits": exhibits,
        "numbers": numbers,
        "number_link": link_number,
        "steered": _steered_runs(report, parts),
        "link": lambda target: _link(target, path.parent),
        "step_of": {show_path(step.folder): step for step in report.steps if step.folder},
    }
    context = Context(
        where, numbers, bibliography, exhibits, environment.get_template("exhibit.html"), shared, missing
    )
    return environment.get_template(name).render(
        shared,
        report=report,
        settings=settings,
        parts=parts,
        curves=[exhibits.number(exhibit) for exhibit in curves],
        placed=exhibits.placed,
        body=render_text(settings.text, context),
        missing=missing,
        bibliography=bibliography,
        methods=write_methods(report),
        costs=collect_costs(report),
        known_details=_KNOWN_DETAILS,
        own_path=show_path(path),
        built=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        figures=store.figures,
        **_assets(store.figures),
    )


def _assets(figures: list[PageFigure]) -> dict[str, Any]:
    """Return styles and scripts, the policy that lets only these run, and the places of the seal."""
    script, plotly = read_template("report.js"), pack_plotly(figures)
    return {
        "css": read_template("report.css"),
        "script": script,
        "plotly": plotly,
        "looks": page_templates(),
        "policy": content_policy([script, plotly.source]),
        "manifest_slot": MANIFEST_SLOT,
        "digest_slot": DIGEST_SLOT,
    }


def _steered_runs(report: Report, parts: list[StepPart]) -> dict[str, ReportedStep | None]:
    """Return the runs behind the page that were steered by hand, with their steps if of this pipeline."""
    own = {show_path(step.folder): step for step in report.steps if step.folder and step.training.steered}
    named = [path for part in parts for table in part.results for row in table.rows for path in row.runs]
    return own | {path: own.get(path) for path in named if report.is_steered(path)}


def _link(target: Path, folder: Path) -> str:
    return urllib.parse.quote(os.path.relpath(target, folder).replace(os.sep, "/"))

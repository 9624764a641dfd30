"""Write into a folder what a paper takes from a report."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from workbench.reports.collect import Report, collect_report
from workbench.reports.exhibits import Exhibit, PageTable
from workbench.reports.figures import FigureStore
from workbench.reports.numbers import collect_numbers
from workbench.reports.paper.drawing import WIDTHS, Look, save_figure
from workbench.reports.paper.latex import (
    page_table_of,
    to_bibtex,
    to_csv,
    to_latex,
    to_markdown,
    write_macros,
)
from workbench.reports.parts import StepPart, collect_parts, draw_curves, order_exhibits
from workbench.runs import resolve_path, write_text

_SOFTWARE = {
    "keras": ("Chollet, Fran\\c{c}ois and others", "Keras", "https://keras.io"),
    "tensorflow": ("{TensorFlow Developers}", "TensorFlow", "https://www.tensorflow.org"),
    "jax": ("{The JAX Authors}", "JAX", "https://github.com/jax-ml/jax"),
    "torch": ("{PyTorch Contributors}", "PyTorch", "https://pytorch.org"),
    "keras-hub": ("{The Keras Team}", "KerasHub", "https://keras.io/keras_hub"),
    "scikit-learn": ("{scikit-learn developers}", "scikit-learn", "https://scikit-learn.org"),
    "numpy": ("{NumPy Developers}", "NumPy", "https://numpy.org"),
    "papermill": ("{nteract team}", "papermill", "https://papermill.readthedocs.io"),
    "workbench": ("{The Workbench authors}", "Workbench", ""),
}  # author, title, address


def export_paper(
    *pipelines: str | Path, folder: str | Path, digest: str, style: str = "serif", text: str | None = None
) -> Path:
    """Write figures, tables, numbers and references of a report for a paper.

    Args:
        pipelines: As for `build_report`.
        folder: Where to; relative to the project root. What it held under these names is written over.
        digest: Of the report's manifest.
        style: `serif` or `sans`, the letters in the figures.
        text: As for `build_report`.

    Returns:
        The folder.
    """
    report = collect_report(*pipelines, text=text)
    target, store = resolve_path(folder), FigureStore()
    curves, parts = draw_curves(report, store), collect_parts(report, store)
    for place in ("figures", "tables"):
        (target / place).mkdir(parents=True, exist_ok=True)
    for exhibit in [*curves, *order_exhibits(parts)]:
        if exhibit.figure:
            _write_figure(target / "figures", exhibit, style)
        else:
            _write_table(target / "tables", _file_name(exhibit.name), exhibit.table)
    for part in parts:
        for results in part.results:
            _write_table(target / "tables", _file_name(f"results/{results.dataset}"), page_table_of(results))
    numbers = collect_numbers(report, {part.step.label: part.results for part in parts})
    write_text(target / "numbers.tex", write_macros(numbers.values(), digest))
    write_text(target / "references.bib", "\n".join(_references(report, parts)))
    return target


def _write_figure(folder: Path, exhibit: Exhibit, style: str) -> None:
    figure = json.loads(exhibit.figure.json)
    for name, width in WIDTHS.items():
        for file, content in save_figure(figure, Look(width, style), f"{_file_name(exhibit.name)}-{name}"):
            (folder / file).write_bytes(content)


def _write_table(folder: Path, name: str, table: PageTable) -> None:
    for suffix, convert in (("tex", to_latex), ("csv", to_csv), ("md", to_markdown)):
        write_text(folder / f"{name}.{suffix}", convert(table))


def _references(report: Report, parts: list[StepPart]) -> Iterator[str]:
    """Yield the researcher's own bibliography, then entries of data and software."""
    own = report.settings.beside(report.settings.bibliography)
    if own:
        yield own.read_text(encoding="utf-8")
    seen = set()
    for part in parts:
        card = part.card
        name = card.get("name")
        if name and name not in seen:
            seen.add(name)
            fields = {"title": str(card.get("title", name)), "note": str(card.get("citation", ""))}
            licence = {"howpublished": f"Licence: {card.get('licence', 'not stated')}"}
            yield to_bibtex(f"data:{name}", fields | licence)
    versions: dict[str, list[str]] = {}
    for environment in report.environments:
        for name, version in environment.facts.get("packages", {}).items():
            if name in _SOFTWARE and version not in versions.setdefault(name, []):
                versions[name].append(version)
    for name, found in versions.items():
        author, title, address = _SOFTWARE[name]
        entry = to_bibtex(f"software:{name}", {"title": title, "note": f"Version {', '.join(found)}"})
        extra = f",\n  author = {{{author}}}" + (f",\n  url = {{{address}}}" if address else "")
        yield entry.replace(",\n", f"{extra},\n", 1)


def _file_name(name: str) -> str:
    """Return a name as LaTeX takes it for a file; different names stay different."""
    usual = re.sub(r"[/\[=:]", "-", name).replace("]", "")
    plain = re.sub(r"[^A-Za-z0-9._+-]+", "-", usual).strip("-")
    return plain if plain == usual else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}".strip("-")

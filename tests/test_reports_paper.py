"""What a paper takes from a report: figures without a browser, tables, macros and references for LaTeX."""

import csv
import json
import os
import re
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image

import workbench as wb
from workbench.reports.exhibits import PageTable
from workbench.reports.figures import read_array
from workbench.reports.numbers import Number
from workbench.reports.paper import export_paper
from workbench.reports.paper.drawing import STYLES, WIDTHS, Look, draw_figure, save_figure
from workbench.reports.paper.latex import escape_latex, to_latex, to_markdown, write_macros
from workbench.runs import write_json

EPOCHS = [{"type": "epoch", "epoch": n, "metrics": {"loss": 1 / (n + 1), "val_loss": 0.5}} for n in range(4)]
COUNTS = np.array([[5, 1], [2, 7]])
FIGURES = {
    "curves": wb.figures.plot_learning_curves({"one": EPOCHS, "two <b>": EPOCHS}),
    "no curves": wb.figures.plot_learning_curves({}),
    "confusions": wb.figures.plot_confusion_matrix(COUNTS, ("cat", "a_b $x$ & 50%")),
    "many confusions": wb.figures.plot_confusion_matrix(np.eye(60, dtype=int), [str(n) for n in range(60)]),
    "pictures": wb.figures.plot_images(np.zeros((3, 8, 8, 3), np.uint8), ["a", "b\nc", "<i>"], "Samples"),
    "parallel": wb.figures.plot_parallel_coordinates(
        {"rate": [0.1, 0.2], "model": ["a", None], "loss": [1, 2]}
    ),
    "bars": go.Figure(
        [go.Bar(y=["a", "b"], x=[1, 2], orientation="h", name=name) for name in ("train", "val")]
    ),
}


def saved(name: str) -> dict[str, Any]:
    return json.loads(FIGURES[name].to_json())


class TestFigures:
    @pytest.mark.parametrize("name", FIGURES)
    @pytest.mark.parametrize("style", STYLES)
    def test_are_drawn_in_every_form_with_embedded_fonts(self, name: str, style: str) -> None:
        files = dict(save_figure(saved(name), Look(WIDTHS["column"], style), "f"))
        assert set(files) == {"f.svg", "f.pdf", "f.png"}
        assert b"/Type3" not in files["f.pdf"]
        fonts = b"/FontFile2" in files["f.pdf"]
        assert fonts or name == "no curves"
        assert b"<text" not in files["f.svg"]  # letters are outlines

    def test_have_the_width_of_a_column_or_a_page(self, tmp_path: Path) -> None:
        for width in WIDTHS.values():
            files = dict(save_figure(saved("curves"), Look(width, "serif"), "f"))
            (tmp_path / "f.png").write_bytes(files["f.png"])
            assert Image.open(tmp_path / "f.png").width == pytest.approx(width * 300, abs=1)

    def test_are_the_same_bytes_each_time(self) -> None:
        look = Look(WIDTHS["page"], "sans")
        assert dict(save_figure(saved("curves"), look, "f")) == dict(save_figure(saved("curves"), look, "f"))

    def test_of_curves_hold_the_stored_points(self) -> None:
        figure = saved("curves")
        (left, *_) = draw_figure(figure, Look(6.9, "sans")).axes
        drawn = [line.get_ydata().tolist() for line in left.lines]
        assert drawn == [read_array(trace["y"]).tolist() for trace in figure["data"][:4]]

    def test_of_confusions_hold_the_stored_counts(self) -> None:
        (axes,) = draw_figure(saved("confusions"), Look(3.35, "sans")).axes
        assert [text.get_text() for text in axes.texts] == ["5", "1", "2", "7"]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "a_b $x$ & 50%"]
        np.testing.assert_allclose(
            axes.images[0].get_array(), COUNTS / COUNTS.sum(1, keepdims=True), atol=1e-6
        )
        assert axes.yaxis_inverted()  # the first class on top

    def test_of_stacked_bars_begin_where_the_one_before_ends(self) -> None:
        (axes,) = draw_figure(saved("bars"), Look(3.35, "sans")).axes
        assert [bar.get_x() for bar in axes.patches] == [0, 0, 1, 2]


class TestTexts:
    def test_macros_are_letters_and_different(self) -> None:
        numbers = [Number(name, "91.5 %", 0.9, "a", "s", "p") for name in ("a.b", "a-b", "a1.b")]
        text = write_macros(numbers, "0" * 64)
        names = re.findall(r"\\newcommand\{\\(.*?)\}", text)
        assert names == ["reportManifest", "resultAB", "resultABx", "resultAOneB"]
        assert r"{91.5 \%}" in text

    def test_tables_are_escaped(self) -> None:
        table = PageTable("t", ["class_name", "n"], [False, True], [["a & b|c_{d}", "0.123456"]], False)
        assert r"a \& b|c\_\{d\} & 0.1235 \\" in to_latex(table)
        assert r"| a & b\|c_{d} | 0.1235 |" in to_markdown(table)

    def test_every_special_letter_is_escaped(self) -> None:
        assert escape_latex("5% of #1 & \\x ~^ {$} ± 1\n2") == (
            r"5\% of \#1 \& \textbackslash{}x \textasciitilde{}\textasciicircum{} \{\$\} \ensuremath{\pm} 1 2"
        )


@pytest.fixture
def exported(project: Path) -> Path:
    """The export of a small pipeline with names that LaTeX does not like."""
    run = wb.start_run("runs/small/evaluate")
    rows = [("d_1", "net & co", "model", f"r{n}", str(n), 0.9 + n / 100, 0.9, 0.3, 1200) for n in range(3)]
    columns = ["dataset", "model", "kind", "run", "seed", "accuracy", "macro_f1", "log_loss", "test_samples"]
    run.save_table("summary", pd.DataFrame(rows, columns=columns))
    run.save_table("per_class", pd.DataFrame({"class": ["50% #1", "b_c"], "f1": [0.123456, 1]}))
    for name, figure in FIGURES.items():
        run.save_figure(name.replace(" ", "_"), figure)
    card = {
        "name": "d_1",
        "title": "Data & more",
        "licence": "CC0",
        "citation": "A. Nobody (2020). 100% real.",
    }
    write_json(run.artifacts / "data_card.json", card)
    run.finish(accuracy=0.91)
    step = {"run": "runs/small/evaluate", "state": "done", "notebook": "e.ipynb", "step": "evaluate"}
    state = {"pipeline": "small", "title": "S", "file": "pipelines/small.yaml", "steps": {"evaluate": step}}
    write_json(project / "runs/small/state.json", state)
    (project / "pipelines/refs.bib").write_text("@misc{own, author={Me}, title={Mine}, year={2020}}\n")
    (project / "pipelines/small.md").write_text("---\nbibliography: refs.bib\n---\n")
    return export_paper("runs/small", folder="paper", digest="ab" * 32)


def test_export_holds_every_figure_table_number_and_reference(exported: Path) -> None:
    figures = {path.name for path in (exported / "figures").iterdir()}
    assert {
        f"evaluate-confusions-{width}.{kind}" for width in WIDTHS for kind in ("svg", "pdf", "png")
    } <= figures
    assert len(figures) == len(FIGURES) * 6
    with open(exported / "tables/evaluate-per_class.csv") as file:
        assert list(csv.reader(file)) == [["class", "f1"], ["50% #1", "0.123456"], ["b_c", "1.0"]]
    assert (exported / "tables/results-d_1.tex").read_text().count(r"\\") == 2
    assert (
        r"\resultDOneNetCoAccuracy}{0.910 \ensuremath{\pm} 0.010}" in (exported / "numbers.tex").read_text()
    )
    references = (exported / "references.bib").read_text()
    assert set(re.findall(r"@misc\{([^,]+)", references)) >= {"own", "data:d-1", "software:keras"}


def test_latex_compiles_a_paper_from_the_export(exported: Path) -> None:
    if not (shutil.which("pdflatex") and shutil.which("bibtex")):
        if os.environ.get("CI"):
            pytest.fail("CI is set, and pdflatex is missing")
        pytest.skip("needs LaTeX")
    figures = sorted(path.name for path in (exported / "figures").glob("*.pdf"))
    tables = sorted(path.name for path in (exported / "tables").glob("*.tex"))
    body = "\n\n".join(
        [
            r"The network reaches \resultDOneNetCoAccuracy{} \cite{own,data:d-1,software:keras}.",
            *(rf"\includegraphics[width=\columnwidth]{{figures/{name}}}" for name in figures),
            *(rf"\input{{tables/{name}}}" for name in tables),
        ]
    )
    (exported / "paper.tex").write_text(
        "\\documentclass{article}\n\\usepackage{graphicx,booktabs,url}\n\\input{numbers}\n"
        f"\\begin{{document}}\n{body}\n\\bibliographystyle{{plain}}\n\\bibliography{{references}}\n\\end{{document}}\n"
    )
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for command in (latex, ["bibtex", "paper"], latex, latex):
        done = subprocess.run(command, cwd=exported, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:]
    log = (exported / "paper.log").read_text(errors="replace")
    assert "undefined" not in log
    text = _text_of((exported / "paper.pdf").read_bytes())
    assert text.count(b"Tj") + text.count(b"TJ") > 20


def _text_of(pdf: bytes) -> bytes:
    """Return the unpacked streams of a PDF."""
    streams = re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)
    found = b""
    for stream in streams:
        try:
            found += zlib.decompress(stream)
        except zlib.error:
            continue
    return found

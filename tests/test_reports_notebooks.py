"""Executed notebooks in a report: readable, harmless, and silent about samples of the user's own data."""

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bs4
import nbformat
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.offline
import pytest

import workbench as wb
from workbench.reports.figures import MOST_POINTS, FigureStore, pack_plotly, prepare_figure, read_array
from workbench.reports.notebook import NotebookView, read_view, sanitize
from workbench.runs import write_json

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()

ROOT = Path(__file__).parents[1]


@pytest.fixture
def view(tmp_path: Path) -> Callable[..., NotebookView]:
    """Write an executed notebook from cells (source, outputs) and read it as a report does."""

    def read(*cells: tuple[str, list[Any]], hide: bool = False) -> NotebookView:
        made = [nbformat.v4.new_code_cell(source, outputs=outputs) for source, outputs in cells]
        nbformat.write(nbformat.v4.new_notebook(cells=made), tmp_path / "executed.ipynb")
        return read_view(tmp_path / "executed.ipynb", lambda text: FigureStore().add(text, "f"), hide)

    return read


def display(**data: Any) -> Any:
    bundle = {name.replace("_", "/").replace("/svg", "/svg+xml"): value for name, value in data.items()}
    return nbformat.v4.new_output("display_data", bundle)


class TestOutputs:
    def test_streams_and_errors_are_text_without_colours(self, view: Callable[..., NotebookView]) -> None:
        outputs = [
            nbformat.v4.new_output("stream", text="\x1b[31m<b>red</b>\x1b[0m"),
            nbformat.v4.new_output("error", ename="E", evalue="v", traceback=["\x1b[1mTrace <i>"]),
        ]
        (cell,) = view(("print()", outputs)).cells
        assert [bs4.BeautifulSoup(text, "html.parser").get_text() for text in cell.outputs] == [
            "<b>red</b>", "Trace <i>"
        ]  # fmt: skip

    def test_the_richest_safe_form_is_shown(self, view: Callable[..., NotebookView]) -> None:
        figure = go.Figure(go.Scatter(x=[1], y=[2])).to_plotly_json()
        plotly = nbformat.v4.new_output(
            "display_data",
            {
                "application/vnd.plotly.v1+json": json.loads(json.dumps(figure, default=str)),
                "text/plain": "f",
            },
        )
        (cell,) = view(
            (
                "x",
                [
                    plotly,
                    display(image_png=PIXEL, text_plain="p"),
                    display(text_html="<table><tr><td>1</td></tr></table>"),
                ],
            )
        ).cells
        assert 'class="canvas"' in cell.outputs[0]
        assert f'src="data:image/png;base64,{PIXEL}"' in cell.outputs[1]
        assert "<td>1</td>" in cell.outputs[2]

    def test_pictures_in_svg_cannot_run(self, view: Callable[..., NotebookView]) -> None:
        (cell,) = view(
            ("x", [display(image_svg="<svg onload='window.ran=1'><script>1</script></svg>")])
        ).cells
        page = bs4.BeautifulSoup(cell.outputs[0], "html.parser")
        assert page.img["src"].startswith("data:image/svg+xml;base64,")
        assert not page.select("svg, script")

    def test_base64_of_pictures_cannot_leave_its_attribute(self, view: Callable[..., NotebookView]) -> None:
        (cell,) = view(("x", [display(image_png='A"><script>window.ran=1</script>')])).cells
        assert not bs4.BeautifulSoup(cell.outputs[0], "html.parser").select("script")

    @pytest.mark.parametrize(
        ("hostile", "left"),
        [
            ("<script>window.ran=1</script>a", "a"),
            ("<img src=x onerror=window.ran=1>", "<img>"),
            ("<img src='https://example.org/x.png'>", "<img>"),
            ("<img src='data:image/svg+xml,<svg onload=1>'>", "<img>"),
            ("<a href='javascript:window.ran=1'>a</a>", '<a rel="noopener noreferrer">a</a>'),
            ("<b style='color:red;background:url(https://example.org)'>a</b>", '<b style="color:red">a</b>'),
            ("<b class='banner' id='results'>a</b>", "<b>a</b>"),
            ("<iframe src='https://example.org'></iframe><form action=x><input></form>", ""),
            ("<style>body{display:none}</style>a", "a"),
        ],
    )
    def test_html_keeps_only_what_is_allowed(self, hostile: str, left: str) -> None:
        assert sanitize(hostile) == left

    def test_source_is_coloured_and_escaped(self, view: Callable[..., NotebookView]) -> None:
        (cell,) = view(("import a  # <script>", [])).cells
        assert '<span class="kn">import</span>' in cell.source
        assert "&lt;script&gt;" in cell.source

    def test_of_no_notebook_is_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "broken.ipynb").write_text("{")
        assert read_view(tmp_path / "broken.ipynb", lambda text: None, False) is None


class TestCells:
    @pytest.mark.parametrize(
        ("source", "name", "found"),
        [
            ('run.save_figure("a", f)', "a", True),
            ('run.save_figure("a", f)', "b", False),
            ('run.save_figure(f"confusion_{model}", f)', "confusion_cnn", True),
            ('name = f"c_{m}"\nrun.save_figure(name, f)', "c_x", True),
            ('save_figure("a")', "a", False),
            ("%matplotlib inline", "a", False),
        ],
    )
    def test_that_made_a_figure_are_found(
        self, view: Callable[..., NotebookView], source: str, name: str, found: bool
    ) -> None:
        assert view(("first = 1", []), (source, [])).find_cell("save_figure", name) == (2 if found else 0)


class TestPrivacy:
    @pytest.fixture
    def build(self, project: Path) -> Callable[..., str]:
        """Build the report of one run on some data, with samples wherever there can be some."""

        def make(spec: str, share: bool = False, labels: tuple[str, ...] = ("prepare",)) -> str:
            run = wb.start_run("runs/small/prepare", parameters={}, name="prepare")
            run.record(dataset={"name": "d", "fingerprint": "0" * 32, "recipe": {"spec": spec}, "sizes": {}})
            image = wb.figures.plot_images(np.zeros((1, 4, 4, 3), np.uint8), ["a caption of mine"], "Samples")
            run.save_figure("samples", image)
            run.save_table("texts", pd.DataFrame({"class": ["a"], "text": ["a secret text"]}))
            run.save_table("sizes", pd.DataFrame({"split": ["train"], "samples": [3]}))
            write_json(
                run.artifacts / "data_card.json", {"title": "Mine", "left_out": {"secret.png": "broken"}}
            )
            output = nbformat.v4.new_output("stream", text="a secret text")
            cell = nbformat.v4.new_code_cell("print(texts[0])", outputs=[output])
            nbformat.write(nbformat.v4.new_notebook(cells=[cell]), run.path / "executed.ipynb")
            run.finish()
            step = {"run": "runs/small/prepare", "state": "done", "notebook": "n.ipynb", "step": "prepare"}
            state = {
                "pipeline": "small",
                "title": "S",
                "file": "pipelines/small.yaml",
                "steps": dict.fromkeys(labels, step),
            }
            write_json(project / "runs/small/state.json", state)
            if share:
                (project / "pipelines/small.md").write_text("---\nshare_samples: true\n---\n")
            return wb.build_report("runs/small").read_text()

        return make

    @pytest.mark.parametrize("spec", ["folder:/home/me/animals", "csv:mine.csv", "run:runs/gone"])
    def test_samples_of_own_data_are_left_out_and_that_is_said(
        self, build: Callable[..., str], spec: str
    ) -> None:
        page = build(spec)
        for secret in ("a secret text", "secret.png", "a caption of mine"):
            assert secret not in page
        said = " ".join(bs4.BeautifulSoup(page, "html.parser").select_one(".notice").get_text().split())
        assert "leaves out outputs of the executed notebook, figure samples, table texts of prepare" in said
        assert "print" in page
        assert "Sizes" in page

    def test_what_is_left_out_of_a_matrix_is_said_once(self, build: Callable[..., str]) -> None:
        page = build("csv:mine.csv", labels=("prepare[seed=0]", "prepare[seed=1]"))
        said = " ".join(bs4.BeautifulSoup(page, "html.parser").select_one(".notice").get_text().split())
        assert said.count("figure samples") == 1
        assert "of prepare (2 runs)." in said

    @pytest.mark.parametrize(("spec", "share"), [("folder:/home/me/animals", True), ("digits", False)])
    def test_samples_are_shown_where_that_is_asked_for_or_data_are_public(
        self, build: Callable[..., str], spec: str, share: bool
    ) -> None:
        page = build(spec, share)
        for shown in ("a secret text", "secret.png", "a caption of mine"):
            assert shown in page
        assert "Samples are left out" not in page


class TestFigures:
    @pytest.mark.parametrize(("kind", "small"), [("heatmap", True), ("scatter3d", False)])
    def test_are_drawn_by_the_smallest_plotly_that_can(self, kind: str, small: bool) -> None:
        if f"plotly=={plotly.__version__}\n" not in (ROOT / "requirements.lock").read_text():
            pytest.skip("the bundle comes in the version of the locked plotly, and another one is installed")
        figures = [{"data": [{"y": [1]}]}, {"data": [{"type": kind}]}]
        prepared = [prepare_figure(json.dumps(figure), "figure", "f") for figure in figures]
        source = pack_plotly(prepared).source
        assert f"v{plotly.offline.get_plotlyjs_version()}\n" in source[:200]
        assert (len(source) < 2_000_000) is small

    def test_with_many_points_are_thinned_and_kept_in_full(self) -> None:
        y = np.sin(np.arange(100_000) / 1000)
        y[12_345] = 9  # a spike must survive
        found = prepare_figure(go.Figure(go.Scatter(x=np.arange(100_000), y=y)).to_json(), "f", "figure-1")
        shown = json.loads(found.json)["data"][0]
        assert len(shown["x"]) == len(shown["y"]) <= MOST_POINTS + 2
        assert max(shown["y"]) == 9
        assert shown["x"][shown["y"].index(9)] == 12_345
        full = json.loads(gzip.decompress(base64.b64decode(found.full)))
        np.testing.assert_array_equal(read_array(full["data"][0]["y"]), y)

    def test_of_a_curve_without_places_get_some(self) -> None:
        figure = go.Figure(go.Scatter(y=np.arange(10_000.0), x0=5, dx=2))
        shown = json.loads(prepare_figure(figure.to_json(), "f", "figure-1").json)["data"][0]
        assert [5 + 2 * value for value in shown["y"]] == shown["x"]

    def test_with_few_points_are_as_they_were(self) -> None:
        found = prepare_figure(go.Figure(go.Scatter(x=[1, 2], y=[3, 4])).to_json(), "f", "figure-1")
        assert found.full == ""
        assert json.loads(found.json)["data"][0]["y"] == [3, 4]

    def test_of_equal_content_are_kept_once(self) -> None:
        store = FigureStore()
        text = go.Figure(go.Scatter(x=[1], y=[2])).to_json()
        assert store.add(text, "a") is store.add(text, "b")
        assert len(store.figures) == 1

    def test_lose_links_and_pictures_from_elsewhere(self) -> None:
        figure = {
            "data": [
                {
                    "type": "scatter",
                    "text": ["<a href='javascript:1'>x</a><b style='background:url(//e)'>y</b>"],
                }
            ],
            "layout": {"images": [{"source": "https://example.org/x.png"}]},
        }
        shown = json.loads(prepare_figure(json.dumps(figure), "f", "figure-1").json)
        assert shown["data"][0]["text"] == ["x<b>y</b>"]
        assert shown["layout"]["images"] == [{}]

"""The report in a real browser, without a network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.datasets import Dataset, Split
from workbench.findings import Finding
from workbench.runs import write_json

pytestmark = pytest.mark.browser

HOSTILE = "</script><script>window.ran = 1</script><img src=x onerror='window.ran = 1'>猫"
CLASSES = (HOSTILE, "<a href='javascript:window.ran=1'>b</a>", "犬", 'd "e" & f')
BIBTEX = "@misc{bad, author={<script>window.ran = 1</script>}, title={<img src=x onerror='window.ran = 1'>}}"
TEXT = f"""---
authors: ["{HOSTILE}"]
abstract: "{HOSTILE}"
bibliography: small.bib
---
{HOSTILE} [@bad] $<script>window.ran = 1</script>$ [a](javascript:window.ran=1) \\<iframe src=x>

$$\\frac{{a}}{{b}} \\href{{javascript:window.ran=1}}{{x}}$$

![{HOSTILE}](figure:class_balance)
"""
MARKUP = (
    "<script>window.ran = 1</script><img src=x onerror='window.ran = 1'><svg onload='window.ran = 1'></svg>"
    "<img src='https://example.org/x.png'><iframe src='https://example.org'></iframe>"
    "<a href='javascript:window.ran=1'>a</a><b style='background:url(https://example.org/y.png)'>b</b>"
    "<style>@import 'https://example.org/z.css'; main { display: none }</style><form action='https://example.org'>"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A report with every kind of figure, and hostile text wherever text comes from data."""
    project = tmp_path_factory.mktemp("project")
    (project / "workbench.toml").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        yield _build(project)


def _build(project: Path) -> Path:
    steps = {}
    for label, fill in (("prepare", _prepare), (f"train {HOSTILE}", _train), ("evaluate", _evaluate)):
        folder = f"runs/small/{label.partition(' ')[0]}"
        run = wb.start_run(folder, parameters={"note": HOSTILE}, name=label)
        fill(run)
        nbformat.write(_hostile_notebook(), run.path / "executed.ipynb")
        run.finish(accuracy=0.5)
        steps[label] = {"run": folder, "state": "done", "notebook": "n.ipynb", "step": label, "error": None}
    failure = {"error": HOSTILE, "cell": 1, "cells": 2, "source": HOSTILE, "output": HOSTILE}
    steps["broken"] = {"run": "", "state": "failed", "notebook": HOSTILE, "step": "broken", "error": failure}
    state = {"pipeline": "small", "title": f"Title {HOSTILE}", "file": "pipelines/small.yaml", "steps": steps}
    write_json(project / "runs/small/state.json", state)
    (project / "pipelines").mkdir()
    (project / "pipelines/small.bib").write_text(BIBTEX)
    (project / "pipelines/small.md").write_text(TEXT)
    return wb.build_report("runs/small")


def _hostile_notebook() -> nbformat.NotebookNode:
    """A notebook whose prose, source and outputs of every kind want to run and to fetch something."""
    new = nbformat.v4.new_output
    plotly = {
        "data": [{"type": "scatter", "x": [1], "y": [1], "mode": "text", "text": [MARKUP], "name": MARKUP}],
        "layout": {"title": {"text": MARKUP}, "images": [{"source": "https://example.org/p.png"}]},
    }
    outputs = [
        new("stream", text=MARKUP),
        new("error", ename="E", evalue=MARKUP, traceback=[MARKUP]),
        new("display_data", {"text/html": MARKUP}),
        new("display_data", {"text/markdown": MARKUP + "\n\n![x](https://example.org/m.png)"}),
        new("display_data", {"image/svg+xml": f"<svg xmlns='http://www.w3.org/2000/svg'>{MARKUP}</svg>"}),
        new("display_data", {"image/png": f'AAAA">{MARKUP}'}),
        new("display_data", {"application/vnd.plotly.v1+json": plotly}),
        new("display_data", {"application/javascript": "window.ran = 1"}),
        new("execute_result", {"text/plain": MARKUP}),
    ]
    cells = [nbformat.v4.new_markdown_cell(MARKUP), nbformat.v4.new_code_cell(MARKUP, outputs=outputs)]
    return nbformat.v4.new_notebook(cells=cells)


def _prepare(run: wb.Run) -> None:
    images = np.random.default_rng(0).integers(0, 255, (8, 8, 8, 3)).astype(np.uint8)
    ids = np.array([str(number) for number in range(8)])
    split = Split({"image": images}, {"label": np.arange(8) % 4}, ids)
    texts = Split({"text": np.array([HOSTILE] * 8, dtype=object)}, {"label": np.arange(8) % 4}, ids)
    data = Dataset("d", "image-classification", split, split, split, CLASSES, "0" * 32, {}, {})
    words = Dataset("d", "text-classification", texts, texts, texts, CLASSES, "0" * 32, {}, {})
    run.save_figure("samples", wb.figures.plot_samples(split, CLASSES))
    run.save_figure("class_balance", wb.figures.plot_class_balance(data))
    run.save_figure("text_lengths", wb.figures.plot_text_lengths(words))
    run.save_table("texts", wb.tables.table_text_samples(texts, CLASSES))
    write_json(run.artifacts / "data_card.json", {"title": HOSTILE, "classes": {HOSTILE: {"train": 1}}})


def _train(run: wb.Run) -> None:
    for epoch in range(3):
        metrics = {"loss": 1 / (epoch + 1), "val_loss": float("nan"), HOSTILE: 0.5}
        run.log.write("epoch", epoch=epoch, metrics=metrics, seconds=1)
    noted = Finding(HOSTILE, "error", HOSTILE, HOSTILE, {HOSTILE: [0.5] * 40}, HOSTILE, epoch=1)
    run.log.write("finding", **noted.as_event())
    asked = {"request": "a", "action": "learning_rate", "value": 1e-4, "old": 1e-3, "by": HOSTILE}
    run.log.write("control", **asked, epoch=1, step=9)


def _evaluate(run: wb.Run) -> None:
    for classes in (4, 100):
        names = [*CLASSES, *map(str, range(4, classes))]
        figure = wb.figures.plot_confusion_matrix(np.eye(classes, dtype=int), names, HOSTILE)
        run.save_figure(f"confusion_{classes}", figure)
    row = {"dataset": HOSTILE, "model": HOSTILE, "kind": "model", "run": "runs/small/train", "seed": 0}
    row |= {"accuracy": 0.5, "macro_f1": 0.5, "log_loss": 0.5, "test_samples": 8}
    run.save_table("summary", pd.DataFrame([row]))


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    """The report, opened offline; what went wrong since is in `page.problems`."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    opened.problems = []
    opened.on("console", lambda message: opened.problems.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: opened.problems.append(str(error)))
    opened.on("requestfailed", lambda request: opened.problems.append(f"failed: {request.url[:200]}"))
    opened.on("request", lambda request: _note_foreign(opened.problems, request.url))
    opened.goto(report.as_uri())
    yield opened
    context.close()


def _note_foreign(problems: list[str], url: str) -> None:
    if not url.startswith(("file:", "data:", "blob:")):
        problems.append(f"request: {url}")


def wait_until(page: Any, condition: str, seconds: float = 30) -> None:
    """Wait until a JavaScript expression is true; the page's policy forbids playwright's own way."""
    for _ in range(round(seconds * 10)):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"never true: {condition}")


def wait_for_figures(page: Any) -> int:
    """Wait until every figure is drawn that can be seen when scrolled to, and return how many there are."""
    seen = "[...document.querySelectorAll('.canvas')].filter((each) => each.checkVisibility())"
    wait_until(page, f"{seen}.every((each) => each.querySelector('.main-svg'))")
    return page.evaluate(f"{seen}.length")


def unfold(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")


def test_draws_every_figure_without_a_request_or_an_error(page: Any) -> None:
    assert wait_for_figures(page) == 6
    assert page.problems == []


def test_hostile_text_is_shown_and_does_not_run(page: Any) -> None:
    wait_for_figures(page)
    unfold(page)
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    assert wait_for_figures(page) == 9  # with those of the notebooks
    page.wait_for_timeout(500)
    assert page.evaluate("window.ran") is None
    assert HOSTILE in page.inner_text("h1")
    assert page.locator("svg a, iframe, form, main style, [onerror], [onload]").count() == 0
    assert page.evaluate("[...document.images].every((each) => !each.src || each.src.startsWith('data:'))")
    assert page.evaluate("[...document.links].some((each) => each.protocol === 'javascript:')") is False
    assert "犬" in page.locator("#data .canvas, #text .canvas").first.inner_text()
    assert page.problems == []


def test_tables_are_sorted_by_a_click_on_a_head(page: Any) -> None:
    table = page.locator("#data table.sortable").last
    page.evaluate("document.querySelectorAll('#data details').forEach((each) => each.open = true)")
    head = table.locator("th").nth(0)
    before = table.locator("tbody tr td:first-child").all_inner_texts()
    head.click()
    rising = table.locator("tbody tr td:first-child").all_inner_texts()
    head.press("Enter")
    falling = table.locator("tbody tr td:first-child").all_inner_texts()
    assert sorted(before) == sorted(rising)
    assert falling == sorted(falling, key=rising.index, reverse=True) != rising
    assert head.get_attribute("aria-sort") == "descending"


def test_source_of_a_notebook_can_be_copied(page: Any) -> None:
    unfold(page)
    page.evaluate(
        "navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }"
    )
    page.locator(".notebook .copy").first.click()
    assert page.evaluate("window.copied").strip() == MARKUP


def test_fits_windows_of_any_width(page: Any) -> None:
    wait_for_figures(page)
    unfold(page)
    for width in (1600, 600, 360):
        page.set_viewport_size({"width": width, "height": 800})
        wait_until(page, f"document.documentElement.scrollWidth <= {width}", seconds=5)


def test_figures_follow_the_colours_of_the_page(page: Any) -> None:
    wait_for_figures(page)
    ink = "getComputedStyle(document.querySelector('.canvas .xtitle')).fill"
    light = page.evaluate(ink)
    page.emulate_media(color_scheme="dark")
    wait_until(page, f"{ink} != '{light}'")
    assert page.problems == []


def test_link_to_a_run_opens_it(page: Any) -> None:
    page.locator("#data .links a").first.click()
    assert page.evaluate("document.querySelector(location.hash).open")


def test_prints_with_its_figures(page: Any) -> None:
    wait_for_figures(page)
    page.emulate_media(color_scheme="dark")
    printed = page.pdf()
    assert printed.count(b"/Subtype /Image") >= 1
    assert page.problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_printed_figures_fit_the_paper_and_keep_their_pictures(page: Any, scheme: str) -> None:
    wait_for_figures(page)
    page.emulate_media(color_scheme=scheme)
    pictures = (
        "[...document.querySelectorAll('.canvas image')].filter((each) => each.getAttribute('href')).length"
    )
    wait_until(page, f"{pictures} > 0")
    widths = "[...document.querySelectorAll('.main-svg')].map((each) => each.getBoundingClientRect().width)"
    widest = f"Math.max(...{widths})"
    shown, width = page.evaluate(pictures), page.evaluate(widest)
    found = f"(dispatchEvent(new Event('beforeprint')), [{pictures}, {widest}])"
    printed = page.evaluate(found)
    assert printed[0] == shown
    assert printed[1] <= 661 < width
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(widest) == width

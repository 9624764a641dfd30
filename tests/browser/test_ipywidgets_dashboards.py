"""The dashboards of widgets in JupyterLab: with the keyboard, and when the notebook is opened again."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

import workbench as wb

pytestmark = pytest.mark.browser

IMPORT = """
from workbench.dashboards.compare import compare_runs
from workbench.dashboards.exploring import explore
from workbench.dashboards.mistakes import study_errors
"""
LIVE, SAVED = ".workbench-live", "[id^=workbench-]"


@pytest.fixture(scope="module")
def runs(lab: Any) -> None:
    """Two finished runs in the project, whose model takes every second test text for the other class."""
    words = (("good", "+"), ("bad", "-"))
    lines = [f"{word} film {n} for $5 or $6,{label}" for n in range(30) for word, label in words]
    (lab.project / "reviews.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(lab.project)
        data = wb.load_dataset("csv:reviews.csv")
        guesses = data.test.y ^ (np.arange(len(data.test)) % 2)
        for seed in (0, 1):
            with wb.start_run(f"dashboards/{seed}", name="train", parameters={"seed": seed}) as run:
                run.record(dataset=data.reference(), model="guess", started=f"2026-01-01T00:0{seed}:00")
                run.log.write("epoch", epoch=0, metrics={"loss": 1.0, "val_loss": 2.0}, seconds=1.0)
                wb.write_predictions(run, data.test, 0.2 + 0.6 * np.eye(2)[guesses], data.class_names)


@pytest.fixture(scope="module")
def notebook(lab: Any, runs: None) -> Iterator[Any]:
    """A notebook whose kernel has imported everything; its second cell is for a dashboard."""
    with lab.run("dashboards", IMPORT, "pass") as opened:
        yield opened


@pytest.fixture
def show(notebook: Any) -> Callable[[str, str], Any]:
    """Show a dashboard and return the page once its heading is there."""

    def run(code: str, heading: str) -> Any:
        notebook.run_cell(1, code)
        notebook.page.wait_for_selector(f"{LIVE} h4:has-text('{heading}')")
        notebook.wait_for_kernel()
        return notebook.page

    return run


def test_cell_of_the_matrix_is_pressed_with_the_keyboard(show: Callable[[str, str], Any]) -> None:
    page = show("study_errors('dashboards/0')", "Errors on the test set")
    cell = page.locator('.workbench-grid button[title^="true -, predicted +"]')
    count = cell.inner_text()
    cell.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(f"text={count} samples, page 1 of 1")
    assert page.locator(f"{LIVE} .workbench-text").count() == int(count)
    assert "for $5 or $6" in page.locator(f"{LIVE} .workbench-text").first.inner_text()


def test_tabs_are_changed_with_the_keyboard(show: Callable[[str, str], Any]) -> None:
    page = show("explore('csv:reviews.csv')", "Explore")
    page.locator(f"{LIVE} .lm-TabBar-tab").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{LIVE} >> text=Shares differ most between splits")


def test_curves_are_drawn_and_the_table_is_downloaded(show: Callable[[str, str], Any]) -> None:
    page = show("compare_runs('dashboards')", "Compare runs")
    page.wait_for_selector(f"{LIVE} .main-svg")
    page.locator(f"{LIVE} .lm-TabBar-tab", has_text="Export").click()
    with page.expect_download() as download:
        page.locator("a[download]").click()
    assert pd.read_csv(download.value.path())["seed"].tolist() == [1, 0]


def test_static_view_takes_the_place_of_dead_widgets(
    lab: Any, notebook: Any, show: Callable[[str, str], Any]
) -> None:
    saved = show("study_errors('dashboards/1')", "Errors on the test set").locator(SAVED)
    assert saved.count() == 1
    assert not saved.is_visible()
    notebook.save()
    again = lab.open("notebooks/dashboards.ipynb", kernel=False)
    again.page.wait_for_selector(SAVED)
    text = again.page.locator(".jp-OutputArea").last.inner_text()
    assert "3 of 6 test samples wrong" in text
    assert "for $5 or $6" in text
    assert "widget" not in text
    again.close()

"""The dashboards of widgets in JupyterLab: with the keyboard, and when the notebook is opened again."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import workbench as wb

pytestmark = pytest.mark.browser

IMPORT = """
from workbench.dashboards.compare import compare_runs
from workbench.dashboards.explaining import explain
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


@pytest.fixture
def network(lab: Any) -> str:
    """A finished run that kept a small convolutional network of images."""
    import keras

    random = np.random.default_rng(0)
    for name in ("dark", "light"):
        for number in range(20):
            pixels = random.integers(0, 100, (16, 16), dtype=np.uint8) + 120 * (name == "light")
            path = lab.project / f"shades/{name}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(lab.project)
        data = wb.load_dataset("folder:shades")
        net = wb.build_model("cnn", data.input_shape, 2)
        with wb.start_run("networks/0", name="train", parameters={"seed": 0}) as run:
            run.record(dataset=data.reference(), model="net")
            net.save(run.artifacts / "model.keras")
            wb.write_predictions(run, data.test, net.predict(data.test.x, verbose=0), data.class_names)
    keras.backend.clear_session()
    return "networks/0"


def test_sample_is_explained_with_the_keyboard(
    lab: Any, network: str, show: Callable[[str, str], Any]
) -> None:
    page = show(f"explain('{network}')", "What net looks at")
    page.locator(f"{LIVE} select").first.select_option("all samples")
    button = page.locator(f'{LIVE} button[title^="Explain test"]').nth(2)
    button.wait_for(state="visible")
    wanted = button.get_attribute("title").removeprefix("Explain ")
    button.focus()
    page.keyboard.press("Enter")
    explained = page.locator(f"{LIVE} .widget-html", has_text="Sanity check").last
    explained.locator(f"text='{wanted}'").wait_for()
    assert explained.locator("img").count() == 3


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

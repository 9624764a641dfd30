"""The live panel in JupyterLab: it follows and steers a `fit` that blocks the kernel in a plain cell."""

import contextlib
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from lab_driver import Notebook
from nbconvert import HTMLExporter

import workbench as wb
from workbench.errors import WorkbenchError

pytestmark = pytest.mark.browser

SETUP = """\
import keras
from sklearn.datasets import load_digits
import workbench as wb
x, y = load_digits(return_X_y=True)
x = x / 16
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
"""
TRAIN = """\
model.optimizer.learning_rate = 0.01
run = wb.start_run({folder!r}, parameters=dict(batch_size=8))
wb.live(run)
history = model.fit(
    x, y, epochs={epochs}, batch_size=8, validation_split=0.2, verbose=0,
    callbacks=wb.callbacks(run, [keras.callbacks.EarlyStopping(patience=500)], probe=(x[:64], y[:64])),
)
run.finish()
print("trained", len(history.epoch), "epochs")
"""
ENDLESS = 2000  # epochs: more than any test waits for


def export(path: Path) -> Path:
    """Export a notebook as HTML."""
    html, _ = HTMLExporter().from_filename(str(path))
    # The template of nbconvert itself loads scripts from the network; these are not ours.
    exported = path.with_suffix(".html")
    exported.write_text(re.sub(r'<script[^>]* src="https?:[^>]*></script>', "", html))
    return exported


def tag_parameters(path: Path) -> None:
    """Make the first cell the one of the parameters."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, path)


class Training:
    """A notebook whose second cell trains, and the run that it writes."""

    def __init__(self, notebook: Any, run: Path) -> None:
        self.notebook = notebook
        self.run = run

    @property
    def panel(self) -> Any:
        return self.notebook.page.locator(".wb-panel")

    def events(self, kind: str) -> list[dict[str, Any]]:
        path = self.run / "events.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [event for event in map(json.loads, lines) if event["type"] == kind]

    def wait_for(self, condition: Callable[[], Any], what: str, seconds: float = 90) -> Any:
        for _ in range(round(10 * seconds)):
            if found := condition():
                return found
            time.sleep(0.1)
        pytest.fail(f"never happened: {what}; the panel says {self.panel.all_inner_texts()}")

    def wait_for_panel(self, text: str) -> None:
        self.wait_for(lambda: text in "".join(self.panel.all_inner_texts()), f"the panel says {text!r}")

    def wait_for_epochs(self, count: int) -> None:
        self.wait_for(lambda: len(self.events("epoch")) >= count, f"{count} epochs")

    def press(self, name: str, by: str = "key") -> None:
        """Use a button of the panel."""
        button = self.panel.get_by_role("button", name=name)
        if by == "click":
            button.click()
        else:
            button.focus()
            button.press("Enter")

    def shown_epoch(self) -> int:
        """Return the epoch that the panel's head shows."""
        words = self.panel.inner_text().split()
        return int(words[words.index("/") - 1]) if "/" in words else 0

    def stop(self, by: str = "click") -> None:
        self.press("Stop now", by)
        self.notebook.wait_for_kernel()


@pytest.fixture(scope="module")
def notebook(lab: Any) -> Iterator[Any]:
    """A notebook whose kernel has imported everything; its second cell is for the training."""
    with lab.run("live", SETUP, "pass") as opened:
        yield opened


@pytest.fixture
def train(lab: Any, notebook: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Training]]:
    """Start a training in the second cell and wait until its panel shows that it runs, or its end."""
    folder = lab.project / "runs" / request.node.name

    def start(epochs: int = ENDLESS) -> Training:
        training = Training(notebook, folder)
        notebook.run_cell(1, TRAIN.format(folder=f"runs/{request.node.name}", epochs=epochs))
        training.wait_for_epochs(2)
        training.wait_for_panel("running" if epochs == ENDLESS else "finished")
        return training

    yield start
    with contextlib.suppress(WorkbenchError):  # the test has ended it
        wb.request_control(folder, "stop", "now")
    notebook.wait_for_kernel()


def test_curves_move_while_fit_blocks_the_kernel(train: Callable[..., Training]) -> None:
    training = train()
    shown = training.shown_epoch()
    picture = training.panel.locator("canvas").first.screenshot()
    training.wait_for(lambda: training.shown_epoch() > shown, "the next epoch is shown")
    chart = training.panel.locator("canvas").first
    training.wait_for(lambda: chart.screenshot() != picture, "another curve is drawn")
    assert "trained" not in training.notebook.text(1)
    training.stop()


@pytest.mark.parametrize("by", ["click", "key"])
def test_stop_now_ends_training(train: Callable[..., Training], by: str) -> None:
    training = train()
    training.stop(by)
    (end,), (control,) = training.events("fit_end"), training.events("control")
    assert (control["action"], control["value"], control["by"]) == ("stop", "now", "panel")
    assert (end["stopped"], end["reason"]) == (True, "by hand")
    training.wait_for_panel("stopped by hand")


@pytest.mark.parametrize("by", ["click", "key"])
def test_stop_after_this_epoch_finishes_the_epoch(train: Callable[..., Training], by: str) -> None:
    training = train()
    training.press("Stop after this epoch", by)
    training.notebook.wait_for_kernel()
    (end,) = training.events("fit_end")
    assert end["reason"] == "by hand"
    assert "restored" not in end
    assert not any("step" in event for event in training.events("epoch"))


@pytest.mark.parametrize("by", ["click", "key"])
def test_pause_holds_training_until_it_is_resumed(train: Callable[..., Training], by: str) -> None:
    training = train()
    training.press("Pause", by)
    training.wait_for_panel("paused")
    count = len(training.events("epoch"))
    time.sleep(1.5)
    assert len(training.events("epoch")) == count
    training.press("Resume", by)
    training.wait_for_epochs(count + 2)
    training.stop()


@pytest.mark.parametrize("by", ["click", "key"])
def test_learning_rate_and_patience_are_changed_from_their_fields(
    train: Callable[..., Training], by: str
) -> None:
    training = train()
    for label, value in (("Learning rate", "0.005"), ("Patience", "321")):
        field = training.panel.get_by_role("textbox", name=label)
        field.fill(value)
        if by == "key":
            field.press("Enter")
        else:
            form = training.panel.locator("form", has=training.notebook.page.get_by_label(label, exact=True))
            form.get_by_role("button", name="Apply").click()
    training.wait_for(lambda: len(training.events("control")) == 2, "both changes")
    training.wait_for_epochs(len(training.events("epoch")) + 2)
    rate, patience = training.events("control")
    assert (rate["old"], rate["value"]) == (pytest.approx(0.01), 0.005)
    assert (patience["old"], patience["value"]) == (500, 321)
    assert training.events("epoch")[-1]["learning_rate"] == pytest.approx(0.005)
    training.stop()


@pytest.mark.parametrize("by", ["click", "key"])
def test_checkpoint_and_layers_on_request(train: Callable[..., Training], by: str) -> None:
    training = train()
    training.press("Save a checkpoint", by)
    training.press("Measure layers", by)
    training.wait_for(lambda: training.events("checkpoint") and training.events("layers"), "both events")
    assert (training.run / training.events("checkpoint")[0]["file"]).is_file()
    (group,) = training.events("layers")[0]["groups"]
    assert group["gradient_norm"] > 0
    assert 0 < group["update_ratio"] < 1
    training.stop()


def test_a_tab_closed_and_reopened_in_mid_training_shows_the_whole_history(lab: Any) -> None:
    fit = TRAIN.format(folder="runs/reopened", epochs=ENDLESS)
    training = Training(lab.open(lab.write("reopened", SETUP, fit)), lab.project / "runs/reopened")
    training.notebook.run_all()
    training.wait_for_panel("running")
    training.notebook.save()
    training.notebook.close()
    training.wait_for_epochs(len(training.events("epoch")) + 3)
    again = Training(lab.open("notebooks/reopened.ipynb"), training.run)
    known = len(training.events("epoch"))
    again.wait_for(lambda: again.shown_epoch() >= known, "all epochs are shown again")
    assert "trained" not in again.notebook.text(1)  # `fit` has blocked the kernel all the time
    again.press("Stop now", "click")
    again.wait_for_panel("stopped by hand")
    again.notebook.shut_down()


def test_an_interrupted_fit_is_told_and_can_be_started_again(train: Callable[..., Training]) -> None:
    training = train()
    training.notebook.page.evaluate("jupyterapp.commands.execute('notebook:interrupt-kernel')")
    training.notebook.wait_for_kernel()
    training.wait_for_panel("interrupted")
    assert training.panel.get_by_role("button", name="Stop now").is_disabled()
    (broken,) = training.events("broken")
    assert broken["error"] == "KeyboardInterrupt"
    again = TRAIN.format(folder="", epochs=ENDLESS).replace("run = wb.start_run", "#")
    training.notebook.run_cell(1, again)
    training.wait_for_panel("running")
    training.stop()
    training.wait_for_panel("stopped by hand")


def test_a_saved_notebook_shows_the_curves_without_kernel_and_run_folder(
    lab: Any, train: Callable[..., Training]
) -> None:
    training = train(epochs=3)
    training.notebook.wait_for_kernel()
    training.notebook.save()
    shutil.copy(lab.project / "notebooks/live.ipynb", lab.project / "notebooks/saved.ipynb")
    training.run.rename(training.run.with_name("moved away"))
    again = Training(lab.open("notebooks/saved.ipynb", kernel=False), training.run)
    again.wait_for(lambda: again.shown_epoch() == 3, "the snapshot is drawn")
    assert again.panel.locator("canvas").count() >= 2
    again.notebook.close()


def test_exported_html_draws_the_curves_without_a_request(
    lab: Any, browser: Any, train: Callable[..., Training]
) -> None:
    training = train(epochs=3)
    training.notebook.wait_for_kernel()
    training.notebook.save()
    page = browser.new_context(offline=True).new_page()
    page.goto(export(lab.project / "notebooks/live.ipynb").as_uri())
    offline = Training(Notebook(page), training.run)
    offline.wait_for(lambda: offline.shown_epoch() == 3, "the snapshot is drawn")
    assert offline.panel.get_by_role("button", name="Stop now").count() == 0
    page.context.close()


def test_a_killed_kernel_is_told(lab: Any) -> None:
    folder = lab.project / "runs/killed"
    opened = lab.open(lab.write("killed", SETUP, TRAIN.format(folder="runs/killed", epochs=ENDLESS)))
    training = Training(opened, folder)
    opened.run_all()
    training.wait_for_epochs(2)
    training.wait_for_panel("running")
    os.kill(json.loads((folder / "run.json").read_text())["process"]["pid"], signal.SIGKILL)
    training.wait_for_panel("killed")
    opened.shut_down()


def test_a_pipeline_shows_its_steps_and_the_curves_of_the_one_that_is_chosen(lab: Any) -> None:
    (lab.project / "pipelines").mkdir(exist_ok=True)
    fit = TRAIN.format(folder="FOLDER", epochs=4).replace("'FOLDER'", "run_dir")
    for name, cells in (("look", ["print('nothing to train')"]), ("train", [SETUP, fit])):
        lab.write(name, "run_dir: str = ''" if name == "train" else "note: str = ''", *cells)
        tag_parameters(lab.project / f"notebooks/{name}.ipynb")
    (lab.project / "pipelines/small.yaml").write_text(
        "name: small\ntitle: A small pipeline\nsteps:\n"
        "  first: {notebook: notebooks/look.ipynb}\n  second: {notebook: notebooks/train.ipynb}\n"
    )
    start = "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'workbench', 'run', 'small'])"
    opened = lab.open(lab.write("watch", "import workbench as wb\nwb.watch_pipeline('small')", start))
    opened.run_all()
    training = Training(opened, lab.project / "runs/small")
    training.wait_for_panel("running")
    opened.wait_for_idle(240)
    training.wait_for_panel("done")
    training.panel.get_by_role("button", name="second").first.click()
    training.wait_for(lambda: training.panel.locator("canvas").count() >= 2, "the step's curves")
    opened.shut_down()

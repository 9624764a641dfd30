import base64
import logging
import subprocess
import sys
import time

import nbclient
import nbformat
import numpy as np
import pytest

import workbench as wb
from workbench.dashboards.live import Follower, PlainView
from workbench.dashboards.status import describe_epoch, describe_training

pytestmark = pytest.mark.usefixtures("project")

PLOTLY = "application/vnd.plotly.v1+json"

FIT = {"type": "fit", "time": 100.0, "epochs": 4, "batches": 50, "initial_epoch": 0}


def step(epoch, step, seconds, **metrics):
    return {"type": "step", "time": 100.0 + seconds, "epoch": epoch, "step": step, "metrics": metrics}


def epoch(epoch, seconds, **metrics):
    return {
        "type": "epoch", "time": 100.0 + seconds, "epoch": epoch, "seconds": 5.0, "metrics": metrics,
    }  # fmt: skip


def log_training(run, epochs=2):
    run.log.write("fit", epochs=epochs, batches=10, initial_epoch=0)
    for number in range(epochs):
        metrics = {"loss": 1.0 / (number + 1), "val_loss": 2.0 / (number + 1)}
        run.log.write("epoch", epoch=number, metrics=metrics, seconds=1.5)
    run.log.write("fit_end", epochs=epochs, stopped=False)


class RecordingView:
    """A view that notes what it was shown."""

    def __init__(self):
        self.shown = []

    def show(self, events, new, at_once):
        self.shown.append([event["type"] for event in new])


class BrokenView:
    """A view that fails."""

    def show(self, events, new, at_once):
        raise RuntimeError("no display")


def follow(run, view):
    follower = Follower(run.log.path, view)
    follower.start()
    return follower


def values_of(array):
    """Decode plotly's typed array; a plain list stays as it is."""
    if isinstance(array, dict):
        return np.frombuffer(base64.b64decode(array["bdata"]), array["dtype"]).tolist()
    return array


def execute(*cells):
    """Execute code cells in a Jupyter kernel and return the notebook."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    return notebook


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ([], "waiting for training to begin"),
        ([FIT], "epoch 1/4"),
        ([FIT, step(0, 25, 2, loss=0.5)], "epoch 1/4 · loss 0.5 · 12 batches/s · 0:14 left"),
        (
            [FIT, epoch(0, 5, loss=0.5, val_loss=0.6), step(1, 10, 6, loss=0.25)],
            "epoch 2/4 · loss 0.25 · val_loss 0.6 · 10 batches/s · 0:14 left",
        ),
        ([FIT | {"batches": None}, epoch(1, 10, loss=1)], "epoch 3/4 · loss 1 · 0:10 left"),
        (
            [FIT | {"initial_epoch": 2}, epoch(2, 5, loss=1)],
            "epoch 4/4 · loss 1 · 10 batches/s · 0:05 left",
        ),
        (
            [FIT, epoch(3, 20, loss=1), {"type": "fit_end", "time": 180.0, "epochs": 4, "stopped": False}],
            "4 epochs, 1:20 · loss 1",
        ),
        (
            [FIT, epoch(1, 9, loss=1), {"type": "fit_end", "time": 3800.0, "epochs": 2, "stopped": True}],
            "stopped after 2 of 4 epochs, 1:01:40 · loss 1",
        ),
        (
            [FIT, epoch(0, 5, loss=1), {"type": "end", "time": 106.0, "status": "failed", "error": "Oom"}],
            "failed: Oom · loss 1",
        ),
        ([FIT, epoch(0, 5, loss=float("nan")), FIT | {"epochs": 9}], "epoch 1/9"),
    ],
)  # fmt: skip
def test_one_line_tells_how_far_training_has_come(events, line):
    assert describe_training(events) == line


def test_line_of_an_epoch_has_its_metrics_and_seconds():
    assert describe_epoch(epoch(1, 9, loss=0.12345, val_loss=1), 4) == (
        "epoch 2/4  loss 0.1235  val_loss 1  5.0 s"
    )


def test_view_is_shown_every_event_once_and_let_go_at_the_end_of_the_run():
    run = wb.start_run("runs/one")
    view = RecordingView()
    follower = follow(run, view)
    assert view.shown == [["start"]]
    log_training(run, epochs=1)
    follower.catch_up()
    assert view.shown[-1] == ["fit", "epoch", "fit_end"]
    run.finish()
    follower.catch_up()
    assert view.shown[-1] == ["end"]
    follower.catch_up()
    assert view.shown[-1] == ["end"]


def test_thread_shows_what_is_logged_without_being_asked():
    run = wb.start_run("runs/one")
    view = RecordingView()
    follower = follow(run, view)
    run.log.write("fit", epochs=1, batches=1, initial_epoch=0)
    deadline = time.monotonic() + 20
    while ["fit"] not in view.shown and time.monotonic() < deadline:
        time.sleep(0.05)
    follower.stop()
    assert ["fit"] in view.shown


def test_view_that_fails_is_given_up_and_the_run_goes_on(caplog):
    run = wb.start_run("runs/one")
    with caplog.at_level(logging.ERROR):
        follower = follow(run, BrokenView())
        log_training(run)
        follower.catch_up()
    (record,) = caplog.records
    assert "training goes on" in record.getMessage()
    assert "no display" in record.exc_text
    run.finish(loss=0.5)
    assert wb.open_run("runs/one").status == "finished"


def test_plain_lines_leave_out_what_an_earlier_attempt_printed(capsys):
    log_training(wb.start_run("runs/one"), epochs=1)
    run = wb.start_run("runs/one")
    run.log.write("fit", epochs=3, batches=10, initial_epoch=1)
    run.log.write("epoch", epoch=1, metrics={"loss": 0.5}, seconds=1.0)
    follow(run, PlainView(run.attempt)).stop()
    assert capsys.readouterr().out == "epoch 2/3  loss 0.5  1.0 s\n"


def test_script_prints_one_line_an_epoch_even_if_it_ends_at_once():
    code = """
import sys
import workbench as wb
sys.path.insert(0, sys.argv[1])
from test_dashboards import log_training
run = wb.start_run("runs/one")
wb.live(run)
log_training(run)
run.finish()
"""
    here = __file__.rpartition("/")[0]
    done = subprocess.run([sys.executable, "-c", code, here], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout == ("epoch 1/2  loss 1  val_loss 2  1.5 s\nepoch 2/2  loss 0.5  val_loss 1  1.5 s\n")


def test_executed_notebook_holds_the_finished_curves_once():
    notebook = execute(
        "import sys\n"
        f"sys.path.insert(0, {__file__.rpartition('/')[0]!r})\n"
        "import workbench as wb\n"
        "from test_dashboards import log_training",
        "run = wb.start_run('runs/one', name='nb')",
        "wb.live(run)",
        "log_training(run)",
        "run.finish()",
    )
    outputs = [cell.outputs for cell in notebook.cells]
    assert [len(output) for output in outputs] == [0, 0, 2, 0, 0]
    status, figure = (output.data for output in outputs[2])
    assert status["text/plain"] == "2 epochs, 0:00 · loss 0.5 · val_loss 1"
    drawn = [values_of(trace["y"]) for trace in figure[PLOTLY]["data"]]
    assert [1, 0.5] in drawn
    assert [2, 1] in drawn


def test_cell_that_fails_leaves_the_curves_up_to_there():
    cells = (
        "import workbench as wb\nrun = wb.start_run('runs/one')\nwb.live(run)",
        "run.log.write('fit', epochs=3, batches=10, initial_epoch=0)\n"
        "run.log.write('epoch', epoch=0, metrics={'loss': 1.0}, seconds=1.0)\n"
        "raise MemoryError",
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3")
    with pytest.raises(nbclient.exceptions.CellExecutionError):
        client.execute()
    status, figure = notebook.cells[0].outputs
    assert status.data["text/plain"].startswith("epoch 2/3 · loss 1")
    assert PLOTLY in figure.data


def test_second_view_of_a_run_takes_the_place_of_the_first():
    notebook = execute(
        "import workbench as wb\nrun = wb.start_run('runs/one')\nwb.live(run)",
        "wb.live(run)",
        "run.log.write('fit', epochs=3, batches=10, initial_epoch=0)",
    )
    first, second = (notebook.cells[number].outputs[0].data["text/plain"] for number in (0, 1))
    assert (first, second) == ("waiting for training to begin", "epoch 1/3")

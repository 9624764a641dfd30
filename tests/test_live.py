"""What a notebook or a script shows of a run: while it goes, when a cell ends, and afterwards."""

import base64
import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest

import workbench as wb
from workbench.dashboards.panel import MIME
from workbench.dashboards.watching import Follower
from workbench.errors import WorkbenchError
from workbench.events import EventReader
from workbench.runs import process_identity, write_json

pytestmark = pytest.mark.usefixtures("project")

PLOTLY = "application/vnd.plotly.v1+json"


def log_training(run, epochs=2):
    run.log.write(
        "fit", epochs=epochs, batches=10, initial_epoch=0, batch_size=None, monitor=None, patience=None
    )
    for number in range(epochs):
        metrics = {"loss": 1.0 / (number + 1), "val_loss": 2.0 / (number + 1)}
        run.log.write("epoch", epoch=number, metrics=metrics, seconds=1.5, learning_rate=0.1)
    run.log.write("fit_end", epochs=epochs, stopped=False, reason="", seconds=3.0)


class RecordingFollower(Follower):
    """Notes what came."""

    def __init__(self, run):
        super().__init__()
        self.reader = EventReader(run.log.path)
        self.seen = []

    def show(self, at_once):
        new = [event["type"] for event in self.reader.read()]
        self.seen += new
        return "end" in new


class BrokenFollower(Follower):
    """Fails."""

    def show(self, at_once):
        raise RuntimeError("no display")


def values_of(array):
    """Decode plotly's typed array; a plain list stays as it is."""
    if isinstance(array, dict):
        return np.frombuffer(base64.b64decode(array["bdata"]), array["dtype"]).tolist()
    return array


def execute(*cells):
    """Execute code cells in a Jupyter kernel and return the notebook; it may fail."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True)
    client.execute()
    return notebook


SETUP = f"""
import sys
sys.path.insert(0, {__file__.rpartition("/")[0]!r})
import workbench as wb
from test_live import log_training
run = wb.start_run("runs/one", name="nb")
"""


def test_thread_shows_what_is_logged_without_being_asked():
    run = wb.start_run("runs/one")
    follower = RecordingFollower(run)
    follower.start()
    log_training(run, epochs=1)
    deadline = time.monotonic() + 20
    while "fit_end" not in follower.seen and time.monotonic() < deadline:
        time.sleep(0.05)
    follower.stop()
    assert follower.seen == ["start", "fit", "epoch", "fit_end"]


def test_view_that_fails_is_given_up_and_the_run_goes_on(caplog):
    run = wb.start_run("runs/one")
    with caplog.at_level(logging.ERROR):
        follower = BrokenFollower()
        follower.start()
        log_training(run)
        follower.look()
    (record,) = caplog.records
    assert "training goes on" in record.getMessage()
    assert "no display" in record.exc_text
    run.finish(loss=0.5)
    assert wb.open_run("runs/one").status == "finished"


def test_script_prints_how_training_went_even_if_it_ends_at_once():
    code = SETUP + "wb.live(run)\nlog_training(run)\nrun.finish()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.startswith("2 epochs")
    assert "val_loss 1" in done.stdout


def test_executed_notebook_holds_the_finished_curves_once():
    notebook = execute(SETUP, "wb.live(run)", "log_training(run)", "run.finish()")
    assert [len(cell.outputs) for cell in notebook.cells] == [0, 1, 0, 0]
    data = notebook.cells[1].outputs[0].data
    drawn = [values_of(trace["y"]) for trace in data[PLOTLY]["data"]]
    assert [1, 0.5] in drawn
    assert [2, 1] in drawn
    assert data["text/plain"].startswith("2 epochs")
    (events,) = data[MIME]["snapshot"].values()
    assert [event["type"] for event in events] == ["start", "fit", "epoch", "epoch", "fit_end", "end"]
    assert "mountRuns(place" in data["text/html"]


def test_cell_that_fails_leaves_the_curves_up_to_there():
    notebook = execute(
        SETUP + "wb.live(run)",
        "run.log.write('fit', epochs=3, batches=10, initial_epoch=0)\n"
        "run.log.write('epoch', epoch=0, metrics={'loss': 1.0}, seconds=1.0)\n"
        "raise MemoryError",
    )
    (output,) = notebook.cells[0].outputs
    assert "loss 1" in output.data["text/plain"]
    assert PLOTLY in output.data
    run = wb.open_run("runs/one")
    assert (run.status, run.details["error"]) == ("failed", "MemoryError: ")


def test_second_view_of_a_run_takes_the_place_of_the_first():
    notebook = execute(SETUP + "wb.live(run)", "wb.live(run)", "log_training(run)")
    first, second = (notebook.cells[number].outputs[0].data["text/plain"] for number in (0, 1))
    assert "epochs" not in first
    assert second.startswith("2 epochs")


def test_watching_again_and_again_leaves_one_thread_and_one_hook():
    notebook = execute(
        SETUP,
        *["wb.watch('runs/one')"] * 3,
        "import threading\n"
        "threads = [thread for thread in threading.enumerate() if thread.name == 'workbench-live']\n"
        "for thread in threads:\n    thread.join(2)\n"
        "hooks = get_ipython().events.callbacks['post_run_cell']\n"
        "print(sum(thread.is_alive() for thread in threads), sum('Follower' in str(hook) for hook in hooks))",
    )
    assert notebook.cells[-1].outputs[0].text == "1 1\n"


def test_watching_shows_finished_runs_over_one_another():
    notebook = execute(
        SETUP
        + "log_training(run)\nrun.finish()\nother = wb.start_run('runs/two', name='nb')\nother.finish()",
        "wb.watch(['runs/one', 'runs/two'])",
    )
    (output,) = notebook.cells[1].outputs
    assert [Path(run["path"]).name for run in output.data[MIME]["runs"]] == ["one", "two"]
    assert len({run["name"] for run in output.data[MIME]["runs"]}) == 2


def test_live_view_draws_earlier_runs_of_the_same_notebook_beside_the_present_one():
    notebook = execute(
        SETUP + "log_training(run)\nrun.finish()\nnew = wb.start_run('runs/two', name='nb')",
        "wb.live(new, beside=['runs/one'])",
        "log_training(new, epochs=3)",
    )
    data = notebook.cells[1].outputs[0].data
    new, old = data[MIME]["runs"]
    assert (new["path"], old["path"]) == (str(Path("runs/two").resolve()), str(Path("runs/one").resolve()))
    assert new["name"] != old["name"]
    assert data["text/plain"].startswith(f"{new['name']}: 3 epochs")


def test_training_prints_lines_where_it_runs_when_nobody_can_click():
    notebook = execute(
        SETUP, "wb.live(run)", "import time\nlog_training(run)\ntime.sleep(2.5)", "run.finish()"
    )
    (lines,) = notebook.cells[2].outputs
    assert lines.text.startswith("2 epochs, 0:03")


def test_step_of_a_pipeline_leaves_the_lines_to_the_pipeline():
    setup = SETUP + "from pathlib import Path\nPath('runs/one/step.json').write_text('{}')\n"
    notebook = execute(setup, "wb.live(run)", "import time\nlog_training(run)\ntime.sleep(2.5)")
    assert not notebook.cells[2].outputs


def test_pipeline_that_the_next_cell_starts_is_followed_to_its_end():
    steps = {"train": {"run": "", "state": "done", "reason": "", "error": None}}
    ended = {"title": "Small", "status": "ended", "process": None, "steps": steps}
    notebook = execute(
        "import json, os\nfrom pathlib import Path\nimport workbench as wb\n"
        "from workbench.runs import process_identity, write_json\n"
        "Path('pipelines/small.yaml').touch()\nwb.watch_pipeline('small')",
        f"state = json.loads({json.dumps(ended)!r})\nPath('runs/small').mkdir(parents=True)\n"
        "alive = {'status': 'running', 'process': process_identity(os.getpid())}\n"
        "state['steps']['train']['state'] = 'running'\n"
        "write_json(Path('runs/small/state.json'), state | alive)",
        f"write_json(Path('runs/small/state.json'), json.loads({json.dumps(ended)!r}))",
    )
    assert notebook.cells[0].outputs[0].data["text/plain"] == "train  done"


def test_watching_a_pipeline_that_nobody_knows_says_so():
    with pytest.raises(WorkbenchError, match=r"no pipeline smal: neither runs/smal nor pipelines/smal\.yaml"):
        wb.watch_pipeline("smal")


def test_script_follows_a_pipeline_until_it_ends(capsys):
    steps = {"train": {"run": "", "state": "done", "reason": "", "error": None}}
    Path("runs/small").mkdir(parents=True)
    state = {"title": "Small", "status": "running", "process": process_identity(os.getpid()), "steps": steps}
    write_json(Path("runs/small/state.json"), state)
    ended = threading.Timer(1.5, write_json, (Path("runs/small/state.json"), state | {"status": "ended"}))
    ended.start()
    wb.watch_pipeline("small")
    assert ended.finished.is_set()
    assert capsys.readouterr().out == "train  done\n"


def test_watching_a_pipeline_shows_its_steps_and_their_curves():
    run = wb.start_run("runs/small/train", name="train")
    log_training(run)
    run.finish()
    step = {
        "run": "runs/small/train",
        "state": "done",
        "reason": "",
        "error": None,
    }
    state = {"title": "Small", "status": "ended", "process": None, "steps": {"train": step}}
    (run.path.parent / "state.json").write_text(json.dumps(state))
    notebook = execute("import workbench as wb\nwb.watch_pipeline('small')")
    data = notebook.cells[0].outputs[0].data
    assert data["text/plain"] == "train  done"
    assert data[MIME]["state"]["steps"][0]["label"] == "train"
    assert len(data[PLOTLY]["data"]) > 1


@pytest.mark.parametrize(("runs", "message"), [("runs/none", "No run in runs/none"), ([], "list is empty")])
def test_watching_what_is_not_there_says_so(runs, message):
    with pytest.raises(WorkbenchError, match=message):
        wb.watch(runs)

"""The panel's output and the state that it shows, read from run folders."""

import json
import os
import re

import pytest

import workbench as wb
from workbench.dashboards.panel import MIME, MOST_IN_SNAPSHOT, STATIC, RunsPanel, full_bundle
from workbench.dashboards.state import CHUNK, read_log, read_pipeline

pytestmark = pytest.mark.usefixtures("project")

HOSTILE = "</script><script>alert(1)</script>"


@pytest.fixture
def run():
    return wb.start_run("runs/one", name=HOSTILE)


def open_panel(run):
    panel = RunsPanel({run.name: run.path})
    assert panel.read()
    return panel


def test_snapshot_keeps_every_epoch_and_thins_the_steps(run):
    for step in range(10 * MOST_IN_SNAPSHOT):
        run.log.write("step", epoch=0, step=step, metrics={"loss": float("nan")})
    run.log.write("epoch", epoch=0, metrics={"loss": 0.5}, seconds=1.0)
    (events,) = open_panel(run).snapshot()["snapshot"].values()
    steps = [event["step"] for event in events if event["type"] == "step"]
    assert len(steps) == MOST_IN_SNAPSHOT
    assert steps[-1] == 10 * MOST_IN_SNAPSHOT - 1
    assert [event["type"] for event in events if event["type"] != "step"] == ["start", "epoch"]
    json.dumps(events, allow_nan=False)


def test_snapshot_of_a_long_training_keeps_its_best_and_its_last_epoch(run):
    epochs = 3 * MOST_IN_SNAPSHOT
    for epoch in range(epochs):
        metrics = {"val_loss": abs(epoch - 501) + 1.0, "val_accuracy": 1 / (abs(epoch - 602) + 1)}
        run.log.write("epoch", epoch=epoch, metrics=metrics, seconds=1.0)
    (events,) = open_panel(run).snapshot()["snapshot"].values()
    kept = [event["epoch"] for event in events if event["type"] == "epoch"]
    assert {0, 501, 602, epochs - 1} <= set(kept)
    assert len(kept) <= MOST_IN_SNAPSHOT + 4


def test_exported_page_is_one_script_that_text_cannot_leave(run):
    bundle = full_bundle(open_panel(run))
    page = bundle["text/html"]
    assert page.count("</script") == 1
    assert page.endswith("</script>")
    assert not [line for line in page.splitlines() if line.startswith(("import ", "export "))]
    assert json.loads(json.dumps(bundle[MIME]))["runs"][0]["name"] == HOSTILE


def test_scripts_stay_small():
    loader = STATIC.parent / "labextension/static/remoteEntry.js"
    assert sum(path.stat().st_size for path in [loader, *STATIC.glob("*.js")]) <= 60_000


def test_panel_has_the_colours_of_the_figures():
    (colors,) = re.findall(r"PALETTE = (\[.+?\]);", (STATIC / "chart.js").read_text())
    assert tuple(json.loads(colors)) == wb.figures.PALETTE


def test_log_is_served_in_whole_lines_from_where_the_last_answer_ended(run):
    first = read_log(run.path, 0)
    assert [json.loads(line)["type"] for line in first["lines"].splitlines()] == ["start"]
    assert first["status"] == "running"
    assert read_log(run.path, first["offset"])["lines"] == ""
    run.log.write("epoch", epoch=0, metrics={}, seconds=1.0)
    with open(run.log.path, "ab") as log:
        log.write(b'{"type": "ep')
    second = read_log(run.path, first["offset"])
    assert [json.loads(line)["type"] for line in second["lines"].splitlines()] == ["epoch"]
    assert second["size"] == second["offset"] + len('{"type": "ep')


def test_long_log_comes_in_bounded_pieces_that_make_it_whole(run):
    for number in range(4000):
        run.log.write("step", epoch=0, step=number, metrics={"loss": 1.0, "accuracy": 0.5})
    lines, offset, sizes = "", 0, []
    while piece := read_log(run.path, offset)["lines"]:
        sizes.append(len(piece))
        lines += piece
        offset += len(piece.encode())
    assert len(sizes) > 1
    assert max(sizes) <= CHUNK
    assert lines == run.log.path.read_text()


def test_log_that_was_replaced_by_a_shorter_one_is_read_anew(run):
    assert read_log(run.path, 10**6)["lines"] == run.log.path.read_text()


@pytest.mark.parametrize(
    ("change", "status"),
    [({}, "running"), ({"status": "failed"}, "failed"), ({"process": {"pid": 1, "started": "0"}}, "killed")],
)
def test_status_of_a_run_says_whether_its_process_lives(run, change, status):
    run.details |= change
    run.record()
    assert read_log(run.path, 0)["status"] == status


def test_folder_that_is_no_run_is_missing_and_nothing_of_it_is_read(project):
    (project / "events.jsonl").write_text('{"type": "start"}\n')
    assert read_log(project, 0) == {"offset": 0, "size": 0, "lines": "", "status": "missing"}


def test_pipeline_is_alive_while_its_runner_is(project):
    folder = project / "runs/small"
    folder.mkdir(parents=True)
    assert read_pipeline(folder) == {"title": "small", "steps": [], "alive": False}
    step = {"run": "runs/small/a", "state": "running", "reason": "never run"}
    state = {
        "title": "Small",
        "status": "running",
        "steps": {"a": step | {"error": {"error": "E: x"}, "seconds": 0.0}},
    }
    for pid, alive in ((os.getpid(), True), (1, False)):
        process = wb.runs.process_identity(os.getpid()) | {"pid": pid}
        (folder / "state.json").write_text(json.dumps(state | {"process": process}))
        shown = read_pipeline(folder)
        assert shown["alive"] is alive
    assert shown["steps"] == [step | {"label": "a", "run": str(folder / "a"), "error": "E: x"}]

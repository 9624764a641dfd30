"""What a terminal shows of a running pipeline."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import workbench as wb
from workbench.dashboards.progress import format_metrics, format_seconds, show_progress
from workbench.events import EventLog
from workbench.pipelines import PipelineState, load_pipeline, plan_pipeline
from workbench.pipelines.failure import Failure

Writer = Callable[..., Path]


@pytest.fixture
def state(write_notebook: Writer, write_pipeline: Writer) -> PipelineState:
    """A pipeline of one step, trained for one of two epochs."""
    write_notebook("train.ipynb", 'run_dir: str = ""', "pass")
    pipeline = load_pipeline(
        write_pipeline({"title": "T", "steps": {"train": {"notebook": "notebooks/train.ipynb"}}})
    )
    planned = plan_pipeline(pipeline)
    step = planned.steps[0]
    wb.start_run(step.folder)
    log(planned, "fit", epochs=2, batches=10, initial_epoch=0)
    log(planned, "epoch", epoch=0, metrics={"loss": 0.5, "val_loss": float("nan")}, seconds=1)
    step.state, step.cell, step.cells, step.seconds = "running", 3, 8, 65.0
    return planned


@pytest.fixture
def steered(state: PipelineState) -> PipelineState:
    """The same with a finding, and with another learning rate by hand."""
    log(
        state,
        "finding",
        rule="a",
        severity="warning",
        message="The gap [bold] widened.",
        advice="Stop earlier.",
    )
    log(state, "control", action="learning_rate", value=0.001, old=0.01, by="panel", epoch=1, step=3)
    return state


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Console:
    """A console that is no terminal."""
    monkeypatch.delenv("CI", raising=False)
    return Console(file=io.StringIO(), force_terminal=False, width=100, color_system=None)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def open_terminal() -> Console:
    return Console(file=Terminal(), force_terminal=True, width=100, color_system=None)


def log(state: PipelineState, type: str, **fields: Any) -> None:
    """Add an event to the log of the only step."""
    EventLog(state.steps[0].folder / "events.jsonl").write(type, **fields)


def shown(state: PipelineState, terminal: bool, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what stands on the console after one look at the pipeline."""
    monkeypatch.delenv("CI", raising=False)
    console = open_terminal() if terminal else Console(file=io.StringIO(), width=100, color_system=None)
    with show_progress(console) as watch:
        watch(state)
    return console.file.getvalue()


def test_table_shows_cell_epoch_metrics_and_time(
    state: PipelineState, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = shown(state, True, monkeypatch)
    for text in ("train", "running", "3/8", "1/2 100 %", "loss 0.5", "val_loss nan", "1 min 05 s"):
        assert text in table


def test_lines_hold_no_control_codes(state: PipelineState, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(state, False, monkeypatch)
    assert "train  started notebooks/train.ipynb (never run)" in lines
    assert "train  epoch 1/2  10 batches/s  0:01 left  val_loss nan  loss 0.5" in lines
    assert not set("\r\x1b") & set(lines)


def test_ci_gets_lines_even_where_it_looks_like_a_terminal(
    state: PipelineState, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = open_terminal()
    monkeypatch.setenv("CI", "true")
    with show_progress(console) as watch:
        watch(state)
    assert "started notebooks/train.ipynb" in console.file.getvalue()


def test_pipe_of_a_notebook_gets_lines_though_it_takes_colours(
    state: PipelineState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as ipykernel sets it for what a cell starts
    console = Console(file=io.StringIO(), width=100)
    with show_progress(console) as watch:
        for _ in range(3):
            watch(state)
    assert console.file.getvalue().count("started notebooks/train.ipynb") == 1


def test_table_counts_findings_and_says_below_what_they_are(
    steered: PipelineState, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = shown(steered, True, monkeypatch).splitlines()
    *_, row, message, advice, intervention, _ = table
    assert "1 finding" in row
    assert message == "train: ! The gap [bold] widened."
    assert advice.strip() == "Stop earlier."
    assert intervention == "train: by hand: learning rate 0.01 → 0.001 (epoch 2, step 3, panel)"


def test_table_tells_of_a_step_that_was_steered_by_hand(
    steered: PipelineState, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "steered by hand" in " ".join(shown(steered, True, monkeypatch).split())


def test_table_leaves_all_findings_behind_when_it_is_interrupted(
    state: PipelineState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    for number in range(6):
        log(state, "finding", rule=str(number), severity="info", message=f"Message {number}.", advice="")
    console = open_terminal()
    with contextlib.suppress(KeyboardInterrupt), show_progress(console) as watch:
        watch(state)
        raise KeyboardInterrupt
    left = console.file.getvalue().rpartition("elapsed")[2]
    assert [number for number in range(6) if f"train: i Message {number}." in left] == list(range(6))


def test_lines_tell_findings_and_interventions_once(steered: PipelineState, pipe: Console) -> None:
    with show_progress(pipe) as watch:
        watch(steered)
        watch(steered)
    lines = pipe.file.getvalue()
    assert lines.count("train  ! The gap [bold] widened.\n") == 1
    assert lines.count("train    Stop earlier.\n") == 1
    assert lines.count("train  by hand: learning rate 0.01 → 0.001 (epoch 2, step 3, panel)\n") == 1


def test_lines_tell_how_training_ended_before_the_step_is_done(state: PipelineState, pipe: Console) -> None:
    with show_progress(pipe) as watch:
        watch(state)
        log(state, "epoch", epoch=1, metrics={"loss": 0.25}, seconds=1)
        watch(state)
        log(state, "fit_end", epochs=2, stopped=False, reason="", seconds=2.0)
        state.steps[0].state = "done"
        watch(state)
        watch(state)
    told = [line.partition("train  ")[2] for line in pipe.file.getvalue().splitlines()]
    assert [line.partition("  ")[0] for line in told] == [
        "started notebooks/train.ipynb (never run)", "epoch 1/2", "2 epochs, 0:02", "done in 1 min 05 s"
    ]  # fmt: skip


def test_failed_step_shows_its_error(state: PipelineState, monkeypatch: pytest.MonkeyPatch) -> None:
    state.steps[0].state, state.steps[0].failure = "failed", Failure("ValueError: bad [bold]\nsecond line")
    assert "ValueError: bad [bold]" in shown(state, True, monkeypatch)


def test_finished_step_shows_final_metrics_also_when_they_are_nan(
    state: PipelineState, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = state.steps[0].folder
    wb.start_run(folder).finish(accuracy=0.75, loss=float("nan"))
    state.steps[0].state = "done"
    assert "accuracy 0.75  loss nan" in shown(state, False, monkeypatch)


def test_metrics_on_held_out_data_come_first() -> None:
    assert (
        format_metrics({"loss": 1.0, "val_loss": 0.123456, "b": 2, "c": 3}) == "val_loss 0.1235  loss 1  b 2"
    )


def test_seconds_read_as_people_say_them() -> None:
    assert [format_seconds(value) for value in (0.4, 59.6, 125)] == ["0 s", "1 min 00 s", "2 min 05 s"]

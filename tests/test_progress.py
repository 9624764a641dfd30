"""What a terminal shows of a running pipeline."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

import workbench as wb
from workbench.pipelines import PipelineState, load_pipeline, plan_pipeline
from workbench.pipelines.failure import Failure
from workbench.pipelines.progress import format_metrics, format_seconds, show_progress

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
    run = wb.start_run(step.folder)
    run.log.write("fit", epochs=2, batches=10, initial_epoch=0)
    run.log.write("epoch", epoch=0, metrics={"loss": 0.5, "val_loss": float("nan")}, seconds=1)
    step.state, step.cell, step.cells, step.seconds = "running", 3, 8, 65.0
    return planned


def shown(state: PipelineState, terminal: bool, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what stands on the console after one look at the pipeline."""
    monkeypatch.delenv("CI", raising=False)
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)
    with show_progress(console) as watch:
        watch(state)
    return console.file.getvalue()


def test_table_shows_cell_epoch_metrics_and_time(
    state: PipelineState, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = shown(state, True, monkeypatch)
    for text in ("train", "running", "3/8", "1/2", "loss 0.5", "val_loss nan", "1 min 05 s"):
        assert text in table


def test_lines_hold_no_control_codes(state: PipelineState, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(state, False, monkeypatch)
    assert "train  started notebooks/train.ipynb (never run)" in lines
    assert "train  epoch 1/2  val_loss nan  loss 0.5" in lines
    assert not set("\r\x1b") & set(lines)


def test_ci_gets_lines_even_where_it_looks_like_a_terminal(
    state: PipelineState, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    monkeypatch.setenv("CI", "true")
    with show_progress(console) as watch:
        watch(state)
    assert "started notebooks/train.ipynb" in console.file.getvalue()


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

"""What a terminal shows of a running pipeline: a live table, or plain lines where it is no terminal."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from workbench.events import EventReader
from workbench.pipelines.runner import PipelineState, StepState, Watch
from workbench.runs import EVENTS_FILE, show_path

SECONDS_BETWEEN_LINES = 5.0  # of epochs, where there is no live table

STYLES = {
    "fresh": "dim",
    "pending": "dim",
    "running": "cyan",
    "done": "green",
    "failed": "bold red",
    "skipped": "yellow",
    "interrupted": "yellow",
}


@contextmanager
def show_progress(console: Console) -> Iterator[Watch]:
    """Yield the view that suits the console, for `run_pipeline`."""
    if console.is_terminal and not os.environ.get("CI"):
        with Live(console=console, refresh_per_second=4, transient=False) as live:
            table = _TableView()
            yield lambda state: live.update(table.render(state))
    else:
        yield _LineView(console).update


def format_metrics(metrics: Mapping[str, float], most: int = 3) -> str:
    """Return the first few metrics as `accuracy 0.981  loss 0.072`; measures on held-out data first."""
    names = sorted(metrics, key=lambda name: (not name.startswith("val_"), list(metrics).index(name)))
    return "  ".join(f"{name} {metrics[name]:.4g}" for name in names[:most])


def format_seconds(seconds: float) -> str:
    """Return a duration as `7 s` or `2 min 05 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@dataclass
class _Training:
    """What the event log of one run has said so far."""

    reader: EventReader
    epochs: int = 0
    epoch: int = 0  # finished
    metrics: dict[str, float] = field(default_factory=dict)

    def follow(self) -> bool:
        """Read the new events; return whether an epoch ended."""
        ended = False
        for event in self.reader.read():
            self._take(event)
            ended = ended or event["type"] == "epoch"
        return ended

    def _take(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "fit":
            self.epochs, self.epoch = event["epochs"], event.get("initial_epoch", 0)
        elif event["type"] == "epoch":
            self.epoch = event["epoch"] + 1
        if event["type"] in ("step", "epoch"):
            self.metrics = event["metrics"]

    @property
    def text(self) -> str:
        return f"{self.epoch}/{self.epochs}" if self.epochs else ""


class _TableView:
    """A table with a line a step, drawn again and again."""

    def __init__(self) -> None:
        self._trainings: dict[str, _Training] = {}

    def render(self, state: PipelineState) -> Table:
        table = Table(title=state.pipeline.title, title_justify="left", box=None, pad_edge=False)
        for name in ("step", "state", "cell", "epoch", "latest metrics"):
            table.add_column(name, no_wrap=name != "latest metrics")
        table.add_column("elapsed", justify="right", no_wrap=True)
        for step in state.steps:
            table.add_row(*self._row(step))
        return table

    def _row(self, step: StepState) -> list[Text]:
        training = self._trainings.setdefault(step.label, _training(step))
        if step.state == "running":
            training.follow()
        metrics = step.metrics() if step.state in ("done", "fresh") else training.metrics
        error = step.failure.error.splitlines()[0] if step.failure else ""
        cells = [
            step.label,
            step.state,
            f"{step.cell}/{step.cells}" if step.cells and step.state == "running" else "",
            training.text,
            error or step.reason * (step.state == "skipped") or format_metrics(metrics),
            format_seconds(step.seconds) if step.seconds else "",
        ]
        return [
            Text(cell, style=STYLES[step.state] if place == 1 else "", overflow="ellipsis")
            for place, cell in enumerate(cells)
        ]


class _LineView:
    """One plain line for each thing that happens, though not for every short epoch; no control codes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seen: dict[str, str] = {}
        self._quiet_until = 0.0
        self._trainings: dict[str, _Training] = {}

    def update(self, state: PipelineState) -> None:
        for step in state.steps:
            training = self._trainings.setdefault(step.label, _training(step))
            if self._seen.get(step.label) != step.state:
                self._seen[step.label] = step.state
                self._print(step.label, _describe(step))
            if step.state == "running" and training.follow() and time.monotonic() > self._quiet_until:
                self._quiet_until = time.monotonic() + SECONDS_BETWEEN_LINES
                self._print(step.label, f"epoch {training.text}  {format_metrics(training.metrics)}")

    def _print(self, label: str, text: str) -> None:
        if text:
            line = f"{time.strftime('%H:%M:%S')}  {label}  {text}"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _describe(step: StepState) -> str:
    """Say in a line what the step's new state is; nothing while it waits."""
    return {
        "pending": "",
        "fresh": "fresh",
        "running": f"started {show_path(step.step.notebook.path)} ({step.reason})",
        "done": f"done in {format_seconds(step.seconds)}  {format_metrics(step.metrics())}".rstrip(),
        "failed": f"failed after {format_seconds(step.seconds)}",
        "skipped": f"skipped: {step.reason}",
        "interrupted": "interrupted",
    }[step.state]


def _training(step: StepState) -> _Training:
    return _Training(EventReader(step.folder / EVENTS_FILE))

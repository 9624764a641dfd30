"""What a terminal shows of a running pipeline: a live table, plain lines where it is no terminal, or JSON."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from workbench.dashboards.status import TrainingStatus, describe_control, describe_finding
from workbench.events import EventReader
from workbench.pipelines import PipelineState, StepState
from workbench.pipelines.state import Watch
from workbench.runs import EVENTS_FILE, show_path

SECONDS_BETWEEN_LINES = 5.0  # of a training, where there is no live table

STYLES = {
    "fresh": "dim",
    "pending": "dim",
    "running": "cyan",
    "done": "green",
    "failed": "bold red",
    "skipped": "yellow",
    "interrupted": "yellow",
}
_MOST_METRICS = 3
_MOST_REMARKS = 3  # below the live table; in the end all of them stand there
_MOST_ROWS = 40  # of the live table: a taller one than the terminal would not move
_LESS_TELLING = ("pending", "fresh", "done")  # steps that are left out first


@contextmanager
def show_progress(console: Console) -> Iterator[Watch]:
    """Yield the view that suits the console, for `run_pipeline`."""
    # not console.is_terminal: a kernel sets FORCE_COLOR, and a notebook would keep every drawing of the table
    if console.file.isatty() and not os.environ.get("CI"):
        table = _TableView()
        with Live(console=console, refresh_per_second=4, transient=False) as live:
            try:
                yield lambda state: live.update(table.render(state))
            finally:
                live.update(table.conclude())
    else:
        yield _LineView(console).update


def format_metrics(metrics: Mapping[str, float], most: int = _MOST_METRICS) -> str:
    """Return the first few metrics as `accuracy 0.981  loss 0.072`; measures on held-out data first."""
    names = sorted(metrics, key=lambda name: (not name.startswith("val_"), list(metrics).index(name)))
    return "  ".join(f"{name} {metrics[name]:.4g}" for name in names[:most])


def format_seconds(seconds: float) -> str:
    """Return a duration as `7 s` or `2 min 05 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@dataclass
class _Training:
    """A step's event log, followed while the step runs."""

    reader: EventReader
    status: TrainingStatus = field(default_factory=TrainingStatus)
    remarks: list[list[str]] = field(default_factory=list)  # what was noticed and done by hand, in lines
    _followed: bool = False

    def follow(self, step: StepState) -> bool:
        """Read the new events while the step runs and once after; return whether a training ended."""
        if step.state != "running" and not self._followed:
            return False
        self._followed = step.state == "running"
        events = self.reader.read()
        self.status.take(events)
        for event in events:
            if event["type"] == "finding":
                self.remarks.append(describe_finding(event))
            elif event["type"] == "control":
                self.remarks.append([describe_control(event)])
        return any(event["type"] == "fit_end" for event in events)


class _TableView:
    """A table with a line a step, drawn again and again, and below it what was noticed."""

    def __init__(self) -> None:
        self._trainings: dict[str, _Training] = {}
        self._table = Table()  # the newest one

    def render(self, state: PipelineState) -> Group:
        """Return the table and the last few remarks."""
        self._table = Table(title=state.pipeline.title, title_justify="left", box=None, pad_edge=False)
        for name in ("step", "state", "cell", "epoch", "latest metrics"):
            self._table.add_column(name, no_wrap=name != "latest metrics")
        self._table.add_column("elapsed", justify="right", no_wrap=True)
        shown = _choose_rows(state.steps)
        for step in state.steps:
            row = self._row(step)
            if step.label in shown:
                self._table.add_row(*row)
        self._table.caption = _describe_rest(state, len(shown))
        return Group(self._table, *self._remarks()[-_MOST_REMARKS:])

    def conclude(self) -> Group:
        """Return the newest table and all remarks, to be left behind."""
        return Group(self._table, *self._remarks())

    def _remarks(self) -> list[Text]:
        """Return what was noticed and what was done by hand, each after its step."""
        return [
            Text("\n    ".join([f"{label}: {lines[0]}", *lines[1:]]))
            for label, training in self._trainings.items()
            for lines in training.remarks
        ]

    def _row(self, step: StepState) -> list[Text]:
        training = self._training(step)
        cells = [
            step.label,
            step.state if step.attempt == 1 else f"{step.state} (attempt {step.attempt})",
            f"{step.cell}/{step.cells}" if step.cells and step.state == "running" else "",
            training.describe_epoch(),
            self._latest(step, training),
            format_seconds(step.seconds) if step.seconds else "",
        ]
        return [
            Text(cell, style=STYLES[step.state] if place == 1 else "", overflow="ellipsis")
            for place, cell in enumerate(cells)
        ]

    def _training(self, step: StepState) -> TrainingStatus:
        """Return how the step's training stands; of a step that waits there is none."""
        if step.folder is None:
            return TrainingStatus()
        training = self._trainings.setdefault(step.label, _Training(EventReader(step.folder / EVENTS_FILE)))
        training.follow(step)
        return training.status

    def _latest(self, step: StepState, status: TrainingStatus) -> str:
        if step.failure:
            return step.failure.error.splitlines()[0]
        if step.state == "skipped":
            return step.reason
        ended = step.state in ("done", "fresh")
        metrics = [format_metrics(step.metrics())] if ended else status.describe_metrics(_MOST_METRICS)
        return "  ".join(filter(None, [*metrics, *status.describe_notes()]))


class _LineView:
    """One plain line for each thing that happens, though not for every short epoch; no control codes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seen: dict[str, str] = {}
        self._quiet_until = 0.0
        self._shown: dict[str, str] = {}  # the last line about each step's training
        self._trainings: dict[str, _Training] = {}

    def update(self, state: PipelineState) -> None:
        for step in state.steps:
            if self._seen.get(step.label) in (None, "pending"):
                self._announce(step)
            if step.folder is None:
                continue
            if step.label not in self._trainings:
                self._trainings[step.label] = _Training(EventReader(step.folder / EVENTS_FILE))
            training = self._trainings[step.label]
            ended = training.follow(step)
            for lines in training.remarks:
                self._print(step.label, *lines)
            training.remarks.clear()
            self._show_training(step.label, training.status, ended)
            self._announce(step)

    def _announce(self, step: StepState) -> None:
        """Print the step's state if it is a new one."""
        if self._seen.get(step.label) != step.state:
            self._seen[step.label] = step.state
            self._print(step.label, _describe(step))

    def _show_training(self, label: str, status: TrainingStatus, ended: bool) -> None:
        if status.fit is None or (not ended and time.monotonic() < self._quiet_until):
            return
        line = status.describe()
        if line != self._shown.get(label):
            self._shown[label] = line
            self._quiet_until = time.monotonic() + SECONDS_BETWEEN_LINES
            self._print(label, line)

    def _print(self, label: str, *lines: str) -> None:
        for text in filter(None, lines):
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


def _choose_rows(steps: Sequence[StepState]) -> set[str]:
    """Return the labels of the steps that the live table has room for: what runs or failed comes first."""
    order = sorted(steps, key=lambda step: step.state in _LESS_TELLING)
    return {step.label for step in order[:_MOST_ROWS]}


def _describe_rest(state: PipelineState, shown: int) -> str | None:
    """Return what stands below the table: how many steps it leaves out, and about how long it still takes."""
    parts = []
    if len(state.steps) > shown:
        ended = sum(step.is_settled for step in state.steps)
        parts.append(f"{len(state.steps) - shown} more steps; {ended} of {len(state.steps)} are done")
    if state.running and state.seconds_left is not None:
        parts.append(f"about {format_seconds(state.seconds_left)} left")
    return "; ".join(parts) or None

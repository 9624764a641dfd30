"""How a pipeline stands while it runs, and the `state.json` that tells others."""

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.pipelines.failure import Failure
from workbench.pipelines.spec import Pipeline, Step
from workbench.runs import STATE_FILE, process_identity, read_json, write_json

SETTLED = ("fresh", "done")  # the run folder holds the result
_WRITING_SHARE = 0.05  # of the time may go into writing the state


@dataclass
class StepState:
    """A step and how it stands; the runner writes it, views read it."""

    step: Step
    state: str = "pending"  # pending, fresh, running, done, failed, skipped or interrupted
    reason: str = ""  # why it is stale or was skipped
    parts: dict[str, Any] = field(default_factory=dict)  # empty until what it needs has run
    fingerprint: str = ""  # likewise
    folder: Path | None = None  # likewise; the run folder
    output: str = ""  # the hash of what it made
    wanted: bool = True  # whether it is among the steps that shall run
    forced: bool = False
    same_as: "StepState | None" = None  # another step that does the same work
    started: float = 0.0  # seconds since the epoch
    seconds: float = 0.0
    expected: float | None = None  # seconds, from earlier runs
    expected_memory: int | None = None  # bytes, likewise
    attempt: int = 1
    cell: int = 0  # code cells started
    cells: int = 0
    memory: int = 0  # bytes, the peak of its kernel
    failure: Failure | None = None

    @property
    def label(self) -> str:
        """The step's name with its matrix values."""
        return self.step.label

    @property
    def is_settled(self) -> bool:
        """Whether the run folder holds the result."""
        return self.state in SETTLED

    def describe(self, word: str) -> str:
        """Say in words whether the step is fresh, else `word` (such as "stale") and why."""
        if self.is_settled:
            return f"fresh: {self.reason}" if self.same_as else "fresh"
        return f"{word} {self.reason}" if self.reason.startswith("if ") else f"{word}: {self.reason}"

    def metrics(self) -> dict[str, float]:
        """Return the final metrics that the run recorded."""
        from workbench.runs import RUN_FILE, open_run

        has_run = self.folder is not None and (self.folder / RUN_FILE).is_file()
        return open_run(self.folder).metrics if has_run else {}


@dataclass
class PipelineState:
    """All steps of a pipeline in running order; `state["train[seed=0]"]` is one of them."""

    pipeline: Pipeline
    steps: list[StepState] = field(default_factory=list)
    running: bool = False
    seconds_left: float | None = None  # about how long it still takes; None while nobody can tell

    @property
    def folder(self) -> Path:
        """The folder that holds the pipeline's run folders and `state.json`."""
        return self.pipeline.folder

    @property
    def is_settled(self) -> bool:
        """Whether every step that shall run has its result."""
        return all(step.is_settled for step in self.steps if step.wanted)

    @property
    def failed(self) -> list[StepState]:
        """The steps that failed."""
        return [step for step in self.steps if step.state == "failed"]

    def __getitem__(self, label: str) -> StepState:
        for step in self.steps:
            if step.label == label:
                return step
        raise KeyError(f"{label!r}; there are {', '.join(step.label for step in self.steps)}")


Watch = Callable[[PipelineState], None]


class StateWriter:
    """Writes `state.json` after changes, though never so often that it takes much of the time."""

    def __init__(self, state: PipelineState) -> None:
        self._state = state
        self._root = state.pipeline.root
        self._due = 0.0

    def write(self, at_once: bool = False) -> None:
        """Write the state unless it was written just now; the next call makes up for it."""
        began = time.monotonic()
        if not at_once and began < self._due:
            return
        write_json(self._state.folder / STATE_FILE, self._content())
        ended = time.monotonic()
        self._due = ended + (ended - began) / _WRITING_SHARE

    def write_if_changed(self) -> None:
        """Write the state of a pipeline of which nothing has to run, if another state stands there."""
        content = self._content()
        old = read_json(self._state.folder / STATE_FILE) or {}
        if any(old.get(key) != content[key] for key in content if key != "process"):
            write_json(self._state.folder / STATE_FILE, content)

    def _content(self) -> dict[str, Any]:
        pipeline = self._state.pipeline
        return {
            "pipeline": pipeline.name,
            "title": pipeline.title,
            "file": self._show(pipeline.file),
            "overrides": {name: _as_typed(value) for name, value in pipeline.overrides.items()},
            "status": "running" if self._state.running else "ended",
            "process": process_identity(os.getpid()),
            "steps": {step.label: self._entry(step) for step in self._state.steps},
        }

    def _entry(self, step: StepState) -> dict[str, Any]:
        has_folder = step.folder is not None and step.state not in ("pending", "skipped")
        return {
            "step": step.step.name,
            "state": "done" if step.state == "fresh" else step.state,
            "run": self._show(step.folder) if has_folder else "",
            "fingerprint": step.fingerprint,
            "notebook": self._show(step.step.notebook.path),
            "reason": "" if step.is_settled else step.reason,
            "started": step.started,
            "seconds": step.seconds,
            "error": dataclasses.asdict(step.failure) if step.failure else None,
        }

    def _show(self, path: Path) -> str:
        return show(path, self._root)


def _as_typed(value: Any) -> str:
    """Return an override as a person types it behind `-p NAME=`."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def show(path: Path, root: Path) -> str:
    """Return `path` relative to the project's root where it lies inside."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def current_folders(folder: Path) -> dict[str, str]:
    """Return the name of each label's run folder, from the `state.json` in a pipeline's folder."""
    steps: Iterable[tuple[str, Any]] = ((read_json(folder / STATE_FILE) or {}).get("steps") or {}).items()
    return {label: Path(entry["run"]).name for label, entry in steps if entry["run"]}

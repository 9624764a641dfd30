"""A running pipeline as JSON, one event a line, for other programs."""

import json
import sys
import time
from typing import Any, TextIO

from workbench.events import EventReader, spell
from workbench.pipelines import PipelineState, StepState
from workbench.pipelines.state import show
from workbench.runs import EVENTS_FILE


class EventLines:
    """Writes an event when a step's state changes, and passes on the events of its training.

    Each line is an object with `time` (seconds since the epoch) and `event`:

        step      `step` (the label), `state`, `attempt`, `reason`, `run` (the folder), `seconds`, `metrics`
                  of a step that is done, and `error`: null, or with cell, source and output
        training  `step` and `of`: an event of the run's log
        report    `path`
        end       `pipeline`, `status` (the exit status) and `states`, how many steps ended in each

    Args:
        stream: Where to write; by default the standard output.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._seen: dict[str, tuple[str, int]] = {}
        self._logs: dict[str, EventReader] = {}

    def update(self, state: PipelineState) -> None:
        """Write what is new; to be called several times a second."""
        for step in state.steps:
            if self._seen.get(step.label) is None or step.state == "running":
                self._announce(state, step)
            self._follow(step)
            self._announce(state, step)

    def write(self, event: str, **fields: Any) -> None:
        """Write one event."""
        line = json.dumps({"time": time.time(), "event": event} | spell(fields), ensure_ascii=False)
        self._stream.write(line + "\n")
        self._stream.flush()

    def end(self, state: PipelineState, status: int) -> None:
        """Write how the pipeline ended."""
        states = [step.state for step in state.steps]
        counts = {name: states.count(name) for name in dict.fromkeys(states)}
        self.write("end", pipeline=state.pipeline.name, status=status, states=counts)

    def _announce(self, state: PipelineState, step: StepState) -> None:
        if self._seen.get(step.label) == (step.state, step.attempt):
            return
        self._seen[step.label] = (step.state, step.attempt)
        self.write(
            "step",
            step=step.label,
            state=step.state,
            attempt=step.attempt,
            reason=step.reason,
            run=show(step.folder, state.pipeline.root) if step.folder else "",
            seconds=round(step.seconds, 3),
            error=vars(step.failure) if step.failure else None,
            metrics=step.metrics() if step.is_settled else {},
        )

    def _follow(self, step: StepState) -> None:
        """Pass on the log of a step from the moment on when it runs."""
        if step.state == "running" and step.label not in self._logs:
            self._logs[step.label] = EventReader(step.folder / EVENTS_FILE)
        if step.label in self._logs:
            for event in self._logs[step.label].read():
                self.write("training", step=step.label, of=event)

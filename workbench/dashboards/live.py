"""Learning curves that follow the event log of a run.

A daemon thread looks at the log once a second and hands it to a view. In a notebook it is also looked
at when a cell ends, before Jupyter, nbclient and papermill take the cell's outputs for complete: so an
executed notebook holds the finished curves, and training need not know that anybody watches.
"""

import atexit
import json
import logging
import math
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from workbench.dashboards.status import describe_epoch, describe_training
from workbench.events import EventReader, drop_replayed
from workbench.runs import EVENTS_FILE, Run

SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_BETWEEN_FIGURES = 4.0  # a figure blinks when it is replaced

Event = dict[str, Any]

_EMPTY = {"text/html": '<div style="height: 373px"></div>', "text/plain": ""}  # as the figure

_followers: dict[Path, "Follower"] = {}  # by run folder: a second view takes the place of the first


class View(Protocol):
    """Something that shows a run."""

    def show(self, events: Sequence[Event], new: Sequence[Event], at_once: bool) -> None:
        """Show all `events` of a run, of which `new` were not there the last time.

        Unless told to do it `at_once`, the view may wait for the next time; there will be one.
        """


def live(run: Run) -> None:
    """Show curves and the state of training below the cell, and keep them up to date.

    Outside a notebook it prints one line an epoch.

    Example:
        run = wb.start_run(run_dir)
        wb.live(run)
        model.fit(x, y, epochs=10, verbose=0, callbacks=wb.callbacks(run))
    """
    if run.path in _followers:
        _followers[run.path].stop()
    shell = _notebook_shell()
    view = NotebookView(run.name) if shell else PlainView(run.attempt)
    _followers[run.path] = Follower(run.path / EVENTS_FILE, view)
    _followers[run.path].start(shell)


class Follower:
    """Shows a view every change of a log until the run ends, whoever writes it.

    A view that raises is given up, with its traceback in the log of Python; the run is not disturbed.
    """

    def __init__(self, path: Path, view: View) -> None:
        self.view = view
        self._reader = EventReader(path)
        self._events: list[Event] = []
        self._lock = threading.Lock()  # the thread and the end of a cell may come together
        self._stopped = threading.Event()

    def start(self, shell: Any = None) -> None:
        """Follow in a thread, and at the end of every cell of an IPython `shell` or else at exit."""
        self._shell = shell
        if shell:
            shell.events.register("post_run_cell", self.catch_up)
        else:
            atexit.register(self.catch_up)
        self.catch_up()
        threading.Thread(target=self._follow, name="workbench-live", daemon=True).start()

    def catch_up(self, *_: Any) -> None:
        """Show what was logged since the last time; returns when it has been shown."""
        self._look(at_once=True)

    def stop(self) -> None:
        """Let go of the log and of the shell."""
        with self._lock:
            self._stop()

    def _follow(self) -> None:
        while not self._stopped.wait(SECONDS_BETWEEN_LOOKS):
            self._look(at_once=False)

    def _look(self, at_once: bool) -> None:
        with self._lock:
            if self._stopped.is_set():
                return
            try:
                new = self._reader.read()
                self._events = drop_replayed(self._events + new)
                ended = any(event["type"] == "end" for event in new)
                self.view.show(self._events, new, at_once or ended)
            except Exception:
                logging.getLogger(__name__).exception("The live view failed; training goes on.")
                ended = True
            if ended:
                self._stop()

    def _stop(self) -> None:
        if self._stopped.is_set():
            return
        self._stopped.set()
        if self._shell:
            self._shell.events.unregister("post_run_cell", self.catch_up)
        else:
            atexit.unregister(self.catch_up)


class NotebookView:
    """A line and a figure below the cell that made this view, replaced as training goes on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._status_id, self._figure_id = uuid.uuid4().hex, uuid.uuid4().hex
        self._shown = False
        self._stale = False  # there is an epoch that the figure does not show
        self._drawn = -math.inf  # when the figure was drawn last

    def show(self, events: Sequence[Event], new: Sequence[Event], at_once: bool) -> None:
        if new or not self._shown:
            self._display({"text/plain": describe_training(events)}, self._status_id)
        if not self._shown:
            self._display(_EMPTY, self._figure_id)
            self._shown = True
        self._stale |= any(event["type"] == "epoch" for event in new)
        rested = time.monotonic() - self._drawn >= SECONDS_BETWEEN_FIGURES
        if self._stale and (at_once or rested):
            # JupyterLab's plotly renderer draws once and ignores updates; another kind of output in
            # between makes it start afresh.
            self._display(_EMPTY, self._figure_id)
            self._display(self._draw(events), self._figure_id)
            self._stale, self._drawn = False, time.monotonic()

    def _draw(self, events: Sequence[Event]) -> dict[str, Any]:
        """Return the curves as a bundle that replaces what is shown; a Figure would be appended."""
        from workbench.figures import plot_learning_curves

        figure = plot_learning_curves({self.name: events})
        return {
            "application/vnd.plotly.v1+json": json.loads(figure.to_json()),
            "text/plain": "Learning curves",
        }

    def _display(self, data: dict[str, Any], display_id: str) -> None:
        from IPython.display import display

        display(data, raw=True, display_id=display_id, update=self._shown)


class PlainView:
    """A line for every epoch of one attempt at the run."""

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt

    def show(self, events: Sequence[Event], new: Sequence[Event], at_once: bool) -> None:
        for event in new:
            if event["attempt"] == self.attempt and event["type"] == "fit":
                self.epochs = event["epochs"]
            elif event["attempt"] == self.attempt and event["type"] == "epoch":
                print(describe_epoch(event, self.epochs), flush=True)


def _notebook_shell() -> Any:
    """Return the IPython shell of the Jupyter kernel that this process is, None if it is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell if hasattr(shell, "kernel") else None

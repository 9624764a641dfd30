"""Saves the executed notebook while it runs, in a bounded share of the time."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from jupyter_core.utils import ensure_event_loop
from papermill.engines import NotebookExecutionManager

from workbench.runs import write_text

SHARE = 0.05  # of the time that saving may take
SHORTEST_REST = 0.5  # seconds between two saves, however short they are


class NotebookSaver:
    """Writes a notebook when it changed, and then rests in proportion to how long that took.

    A long notebook is thus written less often, and one that prints a line a second is not written each time
    for that line. What changes during a rest is written at its end, also while nothing more is printed. All
    saves together, with the one that will come at the end, stay within `SHARE` of the time.

    Args:
        notebook: The notebook, which others change.
        path: Where to write it.
        clock: Seconds that only grow.
    """

    def __init__(self, notebook: Any, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.notebook = notebook
        self.spent = 0.0  # seconds of saving
        self._path = path
        self._clock = clock
        self._began = clock()
        self._due = -float("inf")
        self._timer: Any = None

    def note_change(self) -> None:
        """Write the notebook now or at the end of the rest."""
        if self._timer is not None:
            return
        left = self._due - self._clock()
        if left <= 0:
            self.save()
        else:  # it fires while a cell runs: only then the loop does
            self._timer = ensure_event_loop().call_later(left, self.save)

    def save(self) -> None:
        """Write the notebook at once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        began = self._clock()
        write_text(self._path, nbformat.v4.writes(self.notebook))
        ended = self._clock()
        took = ended - began
        self.spent += took
        rest = max(SHORTEST_REST, took * (1 - SHARE) / SHARE)
        self._due = max(ended + rest, self._began + (self.spent + 2 * took) / SHARE)


class SavingManager(NotebookExecutionManager):
    """Papermill's account of a notebook under way, which is saved by a `NotebookSaver`."""

    def __init__(self, notebook: Any, path: Path) -> None:
        super().__init__(notebook, progress_bar=False)
        self.saver = NotebookSaver(notebook, path)

    def save(self, **_: Any) -> None:
        """Papermill calls it when a cell starts and ends."""
        self.saver.note_change()

    def autosave_cell(self, **_: Any) -> None:
        """Papermill calls it with every message of the kernel."""
        self.saver.note_change()

    def notebook_complete(self, **options: Any) -> None:
        """Papermill calls it at the end, however that came about."""
        super().notebook_complete(**options)
        self.saver.save()

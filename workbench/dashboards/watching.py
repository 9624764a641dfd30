"""Show runs and pipelines while they are under way, and what became of them afterwards.

In a notebook a daemon thread looks at the logs once a second and updates a line below the cell; what
JupyterLab draws, it reads by itself. When a cell ends, before Jupyter, nbclient and papermill take its
outputs for complete, the finished curves are written into the output: so an executed notebook holds them,
and training need not know that anybody watches.
"""

import abc
import atexit
import contextlib
import logging
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.dashboards.panel import Bundle, Panel, PipelinePanel, RunsPanel, brief_bundle, full_bundle
from workbench.dashboards.terminal import TerminalView
from workbench.errors import WorkbenchError
from workbench.evaluation.comparison import name_runs
from workbench.events import EventReader
from workbench.front_end import notebook_shell, somebody_can_click
from workbench.pipelines.suggest import suggest
from workbench.runs import (
    EVENTS_FILE,
    STEP_FILE,
    Run,
    is_running,
    open_run,
    read_details,
    resolve_path,
    show_path,
)

SECONDS_BETWEEN_LOOKS = 1.0

_shown: dict[Any, "Follower"] = {}  # by what they show: a second view of it replaces the first


def live(run: Run, beside: Sequence[str | Path] = ()) -> None:
    """Show the curves and controls of a training below the cell, or in the terminal, while `fit` runs.

    Under papermill by itself the cell that trains prints a line now and then as well, which
    `papermill --log-output` shows. The training needs `callbacks=wb.callbacks(run)`, and never knows who
    watches.

    Args:
        run: The run that is written in this process.
        beside: Folders of other runs to draw with it; three and more make a band.

    Example:
        run = wb.start_run(run_dir)
        wb.live(run)
        model.fit(x, y, epochs=10, verbose=0, callbacks=wb.callbacks(run))
    """
    shell = notebook_shell()
    if shell:
        _replace(run.path, NotebookFollower(RunsPanel(_named_folders([run.path, *beside])), shell))
    if shell is None or not (somebody_can_click() or (run.path / STEP_FILE).exists()):
        follower = TerminalFollower(run.path, run.attempt, shell)
        atexit.register(follower.stop)
        _replace((run.path, "lines"), follower)


def watch(runs: str | Path | Sequence[str | Path]) -> None:
    """Show one or several runs: finished ones, or ones that are under way in any process of this machine.

    Outside a notebook the first run is followed in the terminal until it ends or Ctrl-C is pressed.

    Args:
        runs: A run folder or several, relative to the project root; three and more make a band.

    Raises:
        WorkbenchError: There is no run in a folder.
    """
    folders = _named_folders([runs] if isinstance(runs, str | Path) else runs)
    if not folders:
        raise WorkbenchError("There is no run to watch: the list is empty.\nGive the path of a run folder.")
    shell = notebook_shell()
    if shell:
        _replace(tuple(folders.values()), NotebookFollower(RunsPanel(folders), shell))
    else:
        _watch_in_terminal(next(iter(folders.values())))


def watch_pipeline(name: str) -> None:
    """Show the steps of a pipeline, their states and the curves of those that train, also while it runs.

    Outside a notebook it is followed in the terminal until it ends or Ctrl-C is pressed.

    Args:
        name: The pipeline's name; its runs lie under `runs/<name>/`. It need not have run yet.

    Raises:
        WorkbenchError: There is neither a run of the pipeline nor a file `pipelines/<name>.yaml`.

    Example:
        wb.watch_pipeline("quickstart")
    """
    folder = resolve_path("runs") / name
    file = resolve_path(f"pipelines/{name}.yaml")
    if not folder.is_dir() and not file.is_file():
        raise WorkbenchError(
            f"There is no pipeline {name}: neither {show_path(folder)} nor {show_path(file)} exists.\n"
            + suggest(name, sorted(path.stem for path in file.parent.glob("*.yaml")))
        )
    panel = PipelinePanel(folder)
    shell = notebook_shell()
    if shell:
        _replace(folder, NotebookFollower(panel, shell))
    else:
        _watch_pipeline_in_terminal(panel)


def _replace(subject: Any, follower: "Follower") -> None:
    """Start a view of something, and end the one that there was."""
    if subject in _shown:
        _shown[subject].stop()
    _shown[subject] = follower
    follower.start()


class Follower(abc.ABC):
    """Looks at a log in a thread until there is nothing more to come; subclasses show what is new.

    A view that raises is given up, with its traceback in the log of Python; the run is not disturbed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # the thread and the end of a cell may come together
        self._stopped = threading.Event()

    def start(self) -> None:
        """Show what there is, and go on in a thread."""
        self.look()
        threading.Thread(target=self._follow, name="workbench-live", daemon=True).start()

    def look(self, at_once: bool = False) -> None:
        """Show what was logged since the last time; returns when it has been shown."""
        with self._lock:
            if self._stopped.is_set():
                return
            try:
                over = self.show(at_once)
            except Exception:
                logging.getLogger(__name__).exception("The live view failed; training goes on.")
                over = True
            if over:
                self._let_go()

    def stop(self) -> None:
        """Show the last of it and let go of the log."""
        self.look(at_once=True)
        with self._lock:
            if not self._stopped.is_set():
                self._let_go()

    @abc.abstractmethod
    def show(self, at_once: bool) -> bool:
        """Show what is new; return whether nothing more will come."""

    def _follow(self) -> None:
        while not self._stopped.wait(SECONDS_BETWEEN_LOOKS):
            self.look()

    def _let_go(self) -> None:
        self._stopped.set()


class NotebookFollower(Follower):
    """Keeps the output of a cell up to date.

    Args:
        panel: What to show.
        shell: The IPython shell of the kernel, which says when a cell ends.
    """

    def __init__(self, panel: Panel, shell: Any) -> None:
        super().__init__()
        self._panel = panel
        self._shell = shell
        self._display_id: str | None = None
        self._stale = True  # something was logged that the lasting form of the output does not show

    def start(self) -> None:
        """Show what there is, and go on in a thread and at the end of every cell."""
        self._shell.events.register("post_run_cell", self._end_cell)
        super().start()

    def show(self, at_once: bool) -> bool:
        """Update the output: a line while a cell runs, the curves when it has ended or nothing more comes."""
        ended = self._panel.ended  # asked first: what is logged until then is read below
        changed = self._panel.read()
        self._stale |= changed
        if self._stale and (at_once or ended):
            self._display(full_bundle(self._panel))
            self._stale = False
        elif changed or self._display_id is None:
            self._display(brief_bundle(self._panel))
        return ended and at_once

    def _end_cell(self, *_: Any) -> None:
        self.look(at_once=True)

    def _display(self, bundle: Bundle) -> None:
        from IPython.display import display

        update = self._display_id is not None
        self._display_id = self._display_id or uuid.uuid4().hex
        display(bundle, raw=True, display_id=self._display_id, update=update)

    def _let_go(self) -> None:
        super()._let_go()
        self._shell.events.unregister("post_run_cell", self._end_cell)


class TerminalFollower(Follower):
    """Prints how one attempt at a run goes.

    Args:
        path: The run folder.
        attempt: The attempt that is told of.
        shell: The IPython shell of the kernel, None outside a notebook.
    """

    def __init__(self, path: Path, attempt: int, shell: Any = None) -> None:
        super().__init__()
        self._path = path
        self._reader = EventReader(path / EVENTS_FILE)
        self._view = TerminalView(attempt)
        self._shell = shell

    def show(self, at_once: bool) -> bool:
        """Print what is new, in a notebook as an output of the cell that runs now."""
        if self._shell:
            sys.stdout.set_parent(self._shell.kernel.get_parent("shell"))
        ended = not is_running(self._path)
        self._view.show(self._reader.read(), at_once or ended)
        return ended


def _watch_in_terminal(folder: Path) -> None:
    follower = TerminalFollower(folder, read_details(folder).get("attempt", 1))
    with contextlib.suppress(KeyboardInterrupt):
        while is_running(folder):
            follower.look()
            time.sleep(SECONDS_BETWEEN_LOOKS)
    follower.stop()


def _watch_pipeline_in_terminal(panel: PipelinePanel) -> None:
    """Print the steps, and those that change while a process runs the pipeline."""
    shown: list[str] = []
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            panel.read()
            lines = panel.describe().splitlines()
            for line in lines:
                if line not in shown:
                    print(line, flush=True)
            shown = lines
            if not panel.alive:
                return
            time.sleep(SECONDS_BETWEEN_LOOKS)


def _named_folders(paths: Sequence[str | Path]) -> dict[str, Path]:
    """Return the folders of different runs by the names of the runs, in their order."""
    runs = list({run.path: run for run in map(open_run, paths)}.values())
    return {name: run.path for name, run in zip(name_runs(runs), runs, strict=True)}

"""Execute one notebook with papermill; the only module that imports it."""

import asyncio
import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import papermill
from jupyter_client.kernelspec import NoSuchKernel
from jupyter_core.utils import ensure_event_loop
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines
from papermill.exceptions import PapermillExecutionError
from papermill.iorw import LocalHandler, papermill_io

from workbench.pipelines.failure import Failure, StepFailed
from workbench.runs import write_text

KERNEL_LOG = "kernel.log"  # what the kernel's process printed outside of its cells

_ENGINE = "workbench"
_SCHEME = "atomic://"


@dataclass
class Execution:
    """One notebook under way; other threads may look at `cell` and `cells`, and interrupt or kill it."""

    notebook: Path
    output: Path
    parameters: Mapping[str, Any]
    env: Mapping[str, str]  # added to the environment of the kernel
    cell: int = 0  # code cells started
    cells: int = 0
    interrupted: bool = False
    _client: "_Client | None" = field(default=None, repr=False)

    def run(self) -> None:
        """Execute the notebook in a kernel of its own that starts in the notebook's folder.

        Raises:
            StepFailed: A cell raised, the kernel died or none could be started, or `interrupt` was called.
        """
        _register()
        try:
            papermill.execute_notebook(
                str(self.notebook),
                f"{_SCHEME}{self.output}",
                dict(self.parameters),
                engine_name=_ENGINE,
                progress_bar=False,
                execution=self,
            )
        except PapermillExecutionError as error:
            raise StepFailed(self._failure(f"{error.ename}: {error.evalue}")) from error
        except (DeadKernelError, NoSuchKernel, RuntimeError) as error:
            raise StepFailed(self._failure(f"The kernel died or did not start: {error}")) from error
        except _StoppedBetweenCells as error:
            raise StepFailed(self._failure("Interrupted between two cells")) from error

    def interrupt(self) -> None:
        """Interrupt the running cell as Ctrl-C would in the notebook."""
        self.interrupted = True
        if self._client is not None:
            self._client.send("interrupt_kernel")

    def kill(self) -> None:
        """End the kernel without waiting for it."""
        if self._client is not None:
            self._client.send("shutdown_kernel", now=True)

    def _failure(self, error: str) -> Failure:
        if self._client is None or not self.cell:
            return Failure(error)
        cell = self._client.code_cells()[self.cell - 1]
        printed = "".join(item.text for item in cell.outputs if item.output_type == "stream")
        last = "\n".join(printed.splitlines()[-10:])
        return Failure(error, self.cell, self.cells, cell.source, last)


class _StoppedBetweenCells(Exception):
    pass


class _Engine(NBClientEngine):
    """Papermill's own engine, whose kernel has the environment and folder that the execution says."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: NotebookExecutionManager,
        kernel_name: str,
        *,
        execution: Execution,
        start_timeout: int,
        **_: Any,  # papermill's options for logging, which the runner does not use
    ) -> Any:
        client = _Client(nb_man, kernel_name=kernel_name, startup_timeout=start_timeout)
        client.execution = execution
        execution._client = client
        execution.cells = len(client.code_cells())
        with open(execution.output.with_name(KERNEL_LOG), "wb") as log:
            return client.execute(
                env=os.environ | dict(execution.env),
                cwd=str(execution.notebook.parent),
                stdout=log,
                stderr=log,
            )


class _Client(PapermillNotebookClient):
    execution: Execution
    _loop: asyncio.AbstractEventLoop | None = None

    def code_cells(self) -> list[Any]:
        return [cell for cell in self.nb.cells if cell.cell_type == "code"]

    def execute_cell(self, cell: Any, cell_index: int, **options: Any) -> Any:
        self._loop = ensure_event_loop()
        if cell.cell_type == "code":
            if self.execution.interrupted:
                raise _StoppedBetweenCells
            self.execution.cell += 1
        return super().execute_cell(cell, cell_index, **options)

    def send(self, request: str, **options: Any) -> None:
        """Ask the kernel's manager for something from another thread, while a cell runs."""
        if self._loop is not None and self._loop.is_running():
            asyncio.run_coroutine_threadsafe(getattr(self.km, request)(**options), self._loop)


class _AtomicFile(LocalHandler):
    """Papermill's storage of `atomic://` paths: a local file that is never seen half written."""

    def write(self, buf: str, path: str) -> None:
        write_text(Path(path.removeprefix(_SCHEME)), buf)


@functools.cache
def _register() -> None:
    papermill_engines.register(_ENGINE, _Engine)
    papermill_io.register(_SCHEME, _AtomicFile())

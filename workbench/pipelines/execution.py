"""Execute one notebook with papermill; with `saving`, the only module that imports it."""

import asyncio
import functools
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import papermill
from jupyter_client import KernelManager
from jupyter_client.kernelspec import NoSuchKernel
from jupyter_core.utils import ensure_event_loop
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillException, PapermillExecutionError
from papermill.iorw import LocalHandler, papermill_io

from workbench.pipelines.failure import (
    DIED,
    INTERRUPTED,
    RAISED,
    TIMEOUT,
    UNWRITABLE,
    Failure,
    StepFailed,
    explain_unwritable,
)
from workbench.pipelines.kernel_client import PromptKernelClient
from workbench.pipelines.notebooks import DEFAULT_KERNEL
from workbench.pipelines.processes import kill_process, peak_memory
from workbench.pipelines.saving import SavingManager
from workbench.runs import process_identity, write_text

KERNEL_LOG = "kernel.log"  # what the kernel's process printed outside of its cells
START_TIMEOUT = 180  # seconds that a kernel has to answer
PATIENCE = 10.0  # seconds that an interrupted cell has to end before its kernel is killed

_ENGINE = "workbench"
_SCHEME = "atomic://"


@dataclass
class Execution:
    """One notebook under way; other threads may look at its fields, and interrupt or kill it."""

    notebook: Path
    output: Path
    parameters: Mapping[str, Any]
    env: Mapping[str, str]  # added to the environment of the kernel
    timeout: float | None = None  # seconds
    kernel_name: str = DEFAULT_KERNEL
    started: Callable[[dict[str, Any] | None], None] = lambda process: None  # told the kernel's process
    cell: int = 0  # code cells started
    cells: int = 0
    memory: int = 0  # bytes, the peak so far
    stopped: str = ""  # INTERRUPTED or TIMEOUT once `interrupt` was called
    _began: float = field(default_factory=time.monotonic, repr=False)
    _kill_at: float = field(default=float("inf"), repr=False)
    _client: "_Client | None" = field(default=None, repr=False)

    def run(self) -> None:
        """Execute the notebook in a kernel of its own that starts in the notebook's folder.

        Raises:
            StepFailed: A cell raised, the kernel died or none could be started, the executed notebook
                cannot be written, or `interrupt` was called.
        """
        _register()
        try:
            papermill.execute_notebook(
                str(self.notebook),
                f"{_SCHEME}{self.output}",
                dict(self.parameters),
                engine_name=_ENGINE,
                kernel_name=self.kernel_name,
                language="python",
                progress_bar=False,
                start_timeout=START_TIMEOUT,
                execution=self,
            )
        except PapermillExecutionError as error:
            raise StepFailed(self._failure(f"{error.ename}: {error.evalue}", RAISED)) from error
        except (DeadKernelError, NoSuchKernel, RuntimeError) as error:
            raise StepFailed(self._failure(self._describe_death(error), DIED)) from error
        except (PapermillException, ValueError) as error:
            raise StepFailed(self._failure(f"papermill cannot run the notebook: {error}", RAISED)) from error
        except _StoppedBetweenCells as error:
            raise StepFailed(self._failure("Interrupted between two cells", RAISED)) from error
        except OSError as error:
            text = explain_unwritable(error) or f"{type(error).__name__}: {error}"
            raise StepFailed(self._failure(text, UNWRITABLE)) from error

    def watch(self) -> None:
        """Look after the notebook; to be called several times a second from another thread."""
        now = time.monotonic()
        self.memory = max(self.memory, peak_memory(self._pid()))
        if self.timeout is not None and not self.stopped and now - self._began > self.timeout:
            self.interrupt(TIMEOUT)
        if now > self._kill_at:
            self._kill_at = float("inf")
            self.kill()

    def interrupt(self, why: str = INTERRUPTED) -> None:
        """Interrupt the running cell as Ctrl-C would; `watch` kills its kernel if that takes too long."""
        self.stopped = self.stopped or why
        self._kill_at = time.monotonic() + PATIENCE
        if self._client is not None:
            self._client.interrupt()

    def kill(self) -> None:
        """End the kernel without waiting for it."""
        if pid := self._pid():
            kill_process(pid)

    def _pid(self) -> int | None:
        provisioner = getattr(self._client and self._client.km, "provisioner", None)
        return getattr(provisioner, "pid", None)

    def _describe_death(self, error: Exception) -> str:
        if not self.cell:
            return f"No kernel could be started: {error}"
        used = f" It had used {self.memory / 2**30:.1f} GiB of memory." if self.memory else ""
        return f"The kernel died ({error}): it was killed, crashed or ran out of memory.{used}"

    def _failure(self, error: str, kind: str) -> Failure:
        if self.stopped == TIMEOUT:
            error, kind = f"Timed out after {self.timeout:g} s (`timeout` of the step)", TIMEOUT
        elif self.stopped:
            kind = INTERRUPTED
        if self._client is None or not self.cell:
            return Failure(error, kind=kind)
        cell = self._client.code_cells()[self.cell - 1]
        printed = "".join(item.text for item in cell.outputs if item.output_type == "stream")
        last = "\n".join(printed.splitlines()[-10:])
        return Failure(error, self.cell, self.cells, cell.source, last, kind)


class _StoppedBetweenCells(Exception):
    pass


class _Engine(NBClientEngine):
    """Papermill's own engine, with another way of saving and a kernel as the execution says."""

    @classmethod
    def execute_notebook(
        cls,
        nb: Any,
        kernel_name: str,
        *,
        execution: Execution,
        start_timeout: int,
        **_: Any,  # papermill's options for logging, which the runner does not use
    ) -> Any:
        manager = SavingManager(nb, execution.output)
        manager.notebook_start()
        try:
            cls.execute_managed_notebook(
                manager, kernel_name, execution=execution, start_timeout=start_timeout
            )
        finally:
            manager.notebook_complete()
        return manager.nb

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: SavingManager, kernel_name: str, *, execution: Execution, start_timeout: int
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

    def create_kernel_manager(self) -> KernelManager:
        manager = super().create_kernel_manager()
        manager.client_factory = PromptKernelClient
        return manager

    def start_new_kernel(self, **options: Any) -> None:
        super().start_new_kernel(**options)
        pid = self.execution._pid()
        self.execution.started(process_identity(pid) if pid else None)

    def execute_cell(self, cell: Any, cell_index: int, **options: Any) -> Any:
        self._loop = ensure_event_loop()
        if cell.cell_type == "code":
            if self.execution.stopped:
                raise _StoppedBetweenCells
            self.execution.cell += 1
        return super().execute_cell(cell, cell_index, **options)

    def interrupt(self) -> None:
        """Interrupt the kernel from another thread, while a cell runs."""
        if self._loop is not None and self._loop.is_running() and self.km is not None:
            asyncio.run_coroutine_threadsafe(self.km.interrupt_kernel(), self._loop)


class _AtomicFile(LocalHandler):
    """Papermill's storage of `atomic://` paths: a local file that is never seen half written."""

    def write(self, buf: str, path: str) -> None:
        write_text(Path(path.removeprefix(_SCHEME)), buf)


@functools.cache
def _register() -> None:
    papermill_engines.register(_ENGINE, _Engine)
    papermill_io.register(_SCHEME, _AtomicFile())

"""Run a pipeline: what is fresh stays, what is stale runs, what cannot run is skipped.

`plan_pipeline` says what would happen; `run_pipeline` does it and calls a view several times a second.
"""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.pipelines.failure import Failure, StepFailed
from workbench.pipelines.fingerprints import explain_change, fingerprint, fingerprint_parts
from workbench.pipelines.spec import Pipeline, Step, resolve_parameters
from workbench.runs import (
    RUN_FILE,
    STATE_FILE,
    STEP_FILE,
    open_run,
    process_identity,
    project_root,
    read_json,
    show_path,
    write_json,
)

EXECUTED_FILE = "executed.ipynb"
INTERRUPT_PATIENCE = 10.0  # seconds that an interrupted cell has to end before its kernel is killed


@dataclass
class StepState:
    """A step and how it stands; the runner writes it, views read it."""

    step: Step
    parts: dict[str, Any]
    fingerprint: str
    folder: Path
    state: str  # pending, fresh, running, done, failed, skipped or interrupted
    reason: str = ""  # why it is stale or was skipped
    started: float = 0.0  # seconds since the epoch
    seconds: float = 0.0
    cell: int = 0  # code cells started
    cells: int = 0
    failure: Failure | None = None

    @property
    def label(self) -> str:
        """The step's name with its matrix values."""
        return self.step.label

    def metrics(self) -> dict[str, float]:
        """Return the final metrics that the run recorded."""
        return open_run(self.folder).metrics if (self.folder / RUN_FILE).is_file() else {}


@dataclass
class PipelineState:
    """All steps of a pipeline in running order."""

    pipeline: Pipeline
    steps: list[StepState] = field(default_factory=list)
    running: bool = False

    @property
    def folder(self) -> Path:
        """The folder that holds the pipeline's run folders and `state.json`."""
        return runs_folder(self.pipeline)


Watch = Callable[[PipelineState], None]


def runs_folder(pipeline: Pipeline) -> Path:
    """Return the folder of a pipeline's runs."""
    return project_root() / "runs" / pipeline.name


def plan_pipeline(pipeline: Pipeline) -> PipelineState:
    """Tell for every step whether it is fresh, and if not, why.

    Raises:
        WorkbenchError: The data of a step are not there.
    """
    plan = PipelineState(pipeline)
    fingerprints: dict[str, str] = {}
    for step in pipeline.steps:
        parts = fingerprint_parts(step, {label: fingerprints[label] for label in step.needs})
        mark = fingerprints[step.label] = fingerprint(parts)
        folder = _find_folder(plan.folder / f"{step.folder_name}-{mark[:8]}", step)
        fresh = _is_complete(folder, step)
        reason = "" if fresh else _why_stale(plan.folder, step, parts, mark)
        plan.steps.append(StepState(step, parts, mark, folder, "fresh" if fresh else "pending", reason))
    return plan


def run_pipeline(pipeline: Pipeline, watch: Watch = lambda state: None) -> PipelineState:
    """Run the stale steps one after the other, each notebook in a kernel of its own.

    A failed step stops what depends on it; the rest runs.

    Args:
        pipeline: From `load_pipeline`.
        watch: Called several times a second with how things stand.

    Raises:
        KeyboardInterrupt: Ctrl-C; the kernel has ended and what there is has been saved.
    """
    state = plan_pipeline(pipeline)
    state.folder.mkdir(parents=True, exist_ok=True)
    state.running = True
    try:
        _run_steps(state, watch)
    finally:
        state.running = False
        _write_state(state)
    return state


def _run_steps(state: PipelineState, watch: Watch) -> None:
    _write_state(state)
    for step in state.steps:
        broken = [
            other.label
            for other in state.steps
            if other.label in step.step.needs and other.state not in ("fresh", "done")
        ]
        if broken:
            step.state, step.reason = "skipped", f"{', '.join(broken)} failed or was skipped"
        elif step.state == "pending":
            _run_step(state, step, watch)
        _write_state(state)
        watch(state)


def _run_step(state: PipelineState, step: StepState, watch: Watch) -> None:
    from workbench.pipelines.execution import Execution  # papermill takes seconds to import

    step.state, step.started = "running", time.time()
    _write_step(state, step)
    _write_state(state)
    execution = Execution(
        step.step.notebook.path,
        step.folder / EXECUTED_FILE,
        _parameters(state, step),
        _thread_variables(step.step.threads),
    )
    try:
        _wait(execution, step, lambda: watch(state))
        _refuse_unfinished(step)
        step.state = "done"
        _write_step(state, step)
    except StepFailed as error:
        step.state, step.failure = "failed", error.failure
    except KeyboardInterrupt:
        step.state = "interrupted"
        raise
    finally:
        step.seconds = time.time() - step.started
        _write_state(state)


def _wait(execution: Any, step: StepState, watch: Callable[[], None]) -> None:
    """Run the notebook in a thread; on Ctrl-C interrupt its kernel, and kill it if that takes too long."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(execution.run)
        try:
            while not concurrent.futures.wait([future], timeout=0.2).done:
                step.seconds = time.time() - step.started
                step.cell, step.cells = execution.cell, execution.cells
                watch()
        except KeyboardInterrupt:
            with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C: wait no longer
                execution.interrupt()
                concurrent.futures.wait([future], timeout=INTERRUPT_PATIENCE)
            execution.kill()
            raise
        future.result()


def _parameters(state: PipelineState, step: StepState) -> dict[str, Any]:
    """Return the notebook's parameters with run folders in place of references."""
    folders = {other.label: [show_path(other.folder)] for other in state.steps}
    for name, labels in state.pipeline.labels_of.items():
        folders[name] = [folders[label][0] for label in labels]
    parameters = resolve_parameters(step.step, folders)
    if _records_run(step.step):
        parameters["run_dir"] = show_path(step.folder)
    return parameters


def _thread_variables(threads: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return dict.fromkeys(names, str(threads))


def _refuse_unfinished(step: StepState) -> None:
    if not _records_run(step.step):
        return
    if (read_json(step.folder / RUN_FILE) or {}).get("status") != "finished":
        raise StepFailed(
            Failure(
                "The notebook ran to its end, but its run is not finished: it declares `run_dir`"
                " and must call start_run(run_dir, …) and run.finish()."
            )
        )


def _find_folder(base: Path, step: Step) -> Path:
    """Return the complete folder of this fingerprint, else one that can be written."""
    for number in itertools.count(1):
        folder = base if number == 1 else base.with_name(f"{base.name}-{number}")
        finished = (read_json(folder / RUN_FILE) or {}).get("status") == "finished"
        if _is_complete(folder, step) or not finished:
            return folder
    raise AssertionError("unreachable")


def _is_complete(folder: Path, step: Step) -> bool:
    """Tell whether the notebook ran to its end there and its results are still there."""
    if not (read_json(folder / STEP_FILE) or {}).get("complete"):
        return False
    if not (folder / EXECUTED_FILE).is_file():
        return False
    finished = (read_json(folder / RUN_FILE) or {}).get("status") == "finished"
    return finished or not _records_run(step)


def _records_run(step: Step) -> bool:
    """Tell whether the notebook writes a run; any other notebook only leaves its executed copy."""
    return "run_dir" in step.notebook.parameters


def _why_stale(folder: Path, step: Step, parts: dict[str, Any], mark: str) -> str:
    earlier = [
        record
        for file in folder.glob(f"*/{STEP_FILE}")
        if (record := read_json(file)) and record["label"] == step.label
    ]
    if not earlier:
        return "never run"
    complete = [record for record in earlier if record["complete"]]
    if any(record["fingerprint"] == mark for record in complete):
        return "its run folder is gone or incomplete"
    if any(record["fingerprint"] == mark for record in earlier):
        return "did not finish"
    newest = max(complete or earlier, key=lambda record: record["started"])
    return explain_change(newest["parts"], parts)


def _write_step(state: PipelineState, step: StepState) -> None:
    """Write who the run folder belongs to, before the kernel starts and when it has ended well."""
    step.folder.mkdir(parents=True, exist_ok=True)
    record = {
        "pipeline": state.pipeline.name,
        "step": step.step.name,
        "label": step.label,
        "matrix": step.step.matrix,
        "notebook": show_path(step.step.notebook.path),
        "threads": step.step.threads,
        "fingerprint": step.fingerprint,
        "parts": step.parts,
        "started": step.started,
        "complete": step.state == "done",
    }
    write_json(step.folder / STEP_FILE, record)


def _write_state(state: PipelineState) -> None:
    """Write which run folder is each step's current one."""
    steps = {}
    for step in state.steps:
        steps[step.label] = {
            "step": step.step.name,
            "state": "done" if step.state == "fresh" else step.state,
            "run": show_path(step.folder) if step.state not in ("pending", "skipped") else "",
            "fingerprint": step.fingerprint,
            "notebook": show_path(step.step.notebook.path),
            "reason": step.reason,
            "started": step.started,
            "seconds": step.seconds,
            "error": dataclasses.asdict(step.failure) if step.failure else None,
        }
    write_json(
        state.folder / STATE_FILE,
        {
            "pipeline": state.pipeline.name,
            "title": state.pipeline.title,
            "file": show_path(state.pipeline.file),
            "status": "running" if state.running else "ended",
            "process": process_identity(os.getpid()),
            "steps": steps,
        },
    )

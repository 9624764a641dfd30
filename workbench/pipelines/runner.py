"""Run a pipeline: what is fresh stays, what is stale runs, several at once; what cannot run is skipped."""

import concurrent.futures
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import WorkbenchError
from workbench.kernels.choice import choose_kernel, start_nursery
from workbench.pipelines.capacity import UNKNOWN_MEMORY, Capacity, Demand, step_environment
from workbench.pipelines.estimate import estimate_seconds
from workbench.pipelines.failure import RETRIED, Failure, StepFailed, explain_unwritable
from workbench.pipelines.loading import load_pipeline
from workbench.pipelines.locking import locked
from workbench.pipelines.overrides import Overrides
from workbench.pipelines.planning import Plan
from workbench.pipelines.processes import MARK, end_orphan
from workbench.pipelines.records import EXECUTED_FILE
from workbench.pipelines.spec import Pipeline
from workbench.pipelines.state import PipelineState, StateWriter, StepState, Watch
from workbench.runs import RUN_FILE, read_json

if TYPE_CHECKING:
    from workbench.pipelines.execution import Execution

TICK = 0.1  # seconds between two looks at what runs


def run_pipeline(
    pipeline: str | Path | Pipeline,
    *,
    parameters: Overrides | None = None,
    until: Sequence[str] = (),
    force: Sequence[str] = (),
    jobs: int | None = None,
    cold: bool = False,
    watch: Watch = lambda state: None,
    waiting: Callable[[str], None] = lambda owner: None,
) -> PipelineState:
    """Run the stale steps of a pipeline, each notebook in a kernel of its own, as many at once as fit.

    A failed step stops what depends on it; the rest runs. A step whose result is what it was before does not
    make the steps after it run again.

    Args:
        pipeline: A file, a name in `pipelines/`, or what `load_pipeline` returned.
        parameters: Values over those of the file, as `-p` on the command line.
        until: Run only these steps (`"train"`, `"train[seed=2]"`) and what they need.
        force: Run these steps although nothing changed.
        jobs: Steps at once; by default as many as cores and free memory bear.
        cold: Start every kernel anew; by default one is forked where that gives the same results.
        watch: Called several times a second with how things stand.
        waiting: Called with a description of another process that runs the pipeline, before waiting for it.

    Returns:
        The state and the run folder of every step: `run_pipeline("quickstart")["prepare_digits"].folder`.

    Raises:
        WorkbenchError: The pipeline, its notebooks or data do not work, or `runs/` cannot be written.
        KeyboardInterrupt: Ctrl-C; the kernels have ended and what there is has been saved.
    """
    if not isinstance(pipeline, Pipeline):
        pipeline = load_pipeline(pipeline, parameters)
    plan = Plan(pipeline, until=until, force=force)
    if plan.state.is_settled:
        with contextlib.suppress(OSError):  # a read-only runs/ holds all that was asked for
            StateWriter(plan.state).write_if_changed()
        return plan.state
    try:
        pipeline.folder.mkdir(parents=True, exist_ok=True)
        with locked(pipeline.folder, waiting=waiting):
            plan = Plan(pipeline, until=until, force=force)  # another runner may have finished steps
            _Runner(plan, jobs, cold, watch).run()
    except OSError as error:
        message = explain_unwritable(error)
        if not message:
            raise
        raise WorkbenchError(message) from error
    return plan.state


@dataclass
class _Job:
    """A step under way in a thread of its own."""

    step: StepState
    demand: Demand
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None  # when the notebook had run
    future: "concurrent.futures.Future[None]" = field(init=False)
    execution: "Execution | None" = None  # the present attempt

    def look(self) -> None:
        """Take over how far the notebook is, and look after it."""
        self.step.seconds = (self.ended or time.monotonic()) - self.began
        if self.execution is not None:
            self.execution.watch()
            self.step.cell, self.step.cells = self.execution.cell, self.execution.cells
            self.step.memory = max(self.step.memory, self.execution.memory)


class _Runner:
    """Starts steps when what they need has run and the machine bears them, and collects how they ended."""

    def __init__(self, plan: Plan, jobs: int | None, cold: bool, watch: Watch) -> None:
        self.plan = plan
        self.state = plan.state
        self._watch = watch
        self._cold = cold
        self._capacity = Capacity(jobs)
        self._writer = StateWriter(plan.state)
        self._jobs: list[_Job] = []
        self._stopping = False

    def run(self) -> None:
        """Run what is stale; return when nothing runs and nothing more can."""
        self.state.running = True
        try:
            self._watch(self.state)
            if not self._cold:
                start_nursery(self.state.pipeline.root)  # it imports while papermill is imported here
            with _without_slow_imports():
                from workbench.pipelines.execution import Execution
            self._execution_type = Execution
            with concurrent.futures.ThreadPoolExecutor(max_workers=len(self.state.steps)) as pool:
                try:
                    self._run_all(pool)
                except BaseException:
                    self._stop()
                    raise
        finally:
            self.state.running = False
            self._writer.write(at_once=True)

    def _run_all(self, pool: concurrent.futures.Executor) -> None:
        waiting = [step for step in self.state.steps if step.wanted and not step.is_settled]
        while waiting or self._jobs:
            waiting = [step for step in waiting if not self._start(step, pool)]
            self.state.seconds_left = estimate_seconds(self.state)
            self._writer.write()
            self._watch(self.state)
            if self._jobs:
                futures = [job.future for job in self._jobs]
                concurrent.futures.wait(futures, TICK, return_when=concurrent.futures.FIRST_COMPLETED)
            self._collect()
        self._watch(self.state)

    def _start(self, step: StepState, pool: concurrent.futures.Executor) -> bool:
        """Start a step, or settle it without running; return whether it needs no more attention."""
        needed = [self.plan.by_label[label] for label in step.step.needs]
        broken = [other.label for other in needed if other.state in ("failed", "skipped", "interrupted")]
        if broken:
            step.state, step.reason = "skipped", f"{', '.join(broken)} failed or was skipped"
            return True
        if not all(other.is_settled for other in needed):
            return False
        if not step.fingerprint or (step.same_as and step.same_as.is_settled):
            self.plan.settle(step)
        if step.is_settled:
            return True
        if step.same_as is not None:
            return self._follow(step, step.same_as)
        running = [replace(job.demand, used=job.step.memory) for job in self._jobs]
        demand = self._demand(step, running)
        if demand is None or not self._capacity.admits(demand, running):
            return False
        self._launch(step, demand, pool)
        return True

    def _follow(self, step: StepState, other: StepState) -> bool:
        """Let a step end as the one ends that does the same work."""
        if other.state in ("failed", "skipped", "interrupted"):
            step.state, step.reason = "skipped", f"{other.label}, which does the same work, failed"
            return True
        return False

    def _demand(self, step: StepState, running: Sequence[Demand]) -> Demand | None:
        """Return what a step will take; None while there is no GPU for it."""
        device = self._capacity.free_device(step.parts["packages"], running)
        if device is None:
            return None
        return Demand(step.step.threads, step.expected_memory or UNKNOWN_MEMORY, device=device)

    def _launch(self, step: StepState, demand: Demand, pool: concurrent.futures.Executor) -> None:
        end_orphan(step.folder)
        step.folder.mkdir(parents=True, exist_ok=True)
        step.state, step.started = "running", time.time()
        self.plan.write_record(step, "running")
        job = _Job(step, demand)
        job.future = pool.submit(self._work, job)
        self._jobs.append(job)

    def _work(self, job: _Job) -> None:
        """Execute the notebook, again if its kernel dies and the step says so; seal what it made."""
        step = job.step
        for attempt in range(1, step.step.retries + 2):
            step.attempt = attempt
            try:
                job.execution = self._execution(step, job.demand)
                job.execution.run()
                break
            except StepFailed as error:
                left = attempt <= step.step.retries
                if self._stopping or not left or error.failure.kind not in RETRIED:
                    raise
        _refuse_unfinished(step)
        job.ended = time.monotonic()
        job.look()
        self.plan.complete(step)

    def _execution(self, step: StepState, demand: Demand) -> "Execution":
        return self._execution_type(
            step.step.notebook.path,
            step.folder / EXECUTED_FILE,
            self.plan.parameters(step),
            step_environment(step.step.threads, demand.device) | step.step.env | {MARK: str(step.folder)},
            step.step.timeout,
            choose_kernel(step.step.notebook.path, self._cold) or step.step.notebook.kernel,
            started=lambda process: self.plan.write_record(step, "running", kernel=process),
        )

    def _collect(self) -> None:
        """Note how the steps stand that run, and how those ended that do not any more."""
        for job in list(self._jobs):
            job.look()
            if job.future.done():
                self._jobs.remove(job)
                self._end(job)

    def _end(self, job: _Job) -> None:
        step = job.step
        try:
            job.future.result()
            step.state = "done"
        except StepFailed as error:
            step.state = "interrupted" if self._stopping else "failed"
            step.failure = error.failure
            self.plan.write_record(step, step.state)

    def _stop(self) -> None:
        """Interrupt what runs, and wait until it has ended; its executed notebooks are saved."""
        self._stopping = True
        with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C: wait no longer
            for job in self._jobs:
                if job.execution is not None:
                    job.execution.interrupt()
            while not all(job.future.done() for job in self._jobs):
                time.sleep(TICK)
                for job in self._jobs:
                    job.look()
        for job in self._jobs:
            if job.execution is not None:
                job.execution.kill()
        for job in list(self._jobs):
            concurrent.futures.wait([job.future])
            with contextlib.suppress(OSError):  # what stopped the runner may be a full disk
                self._end(job)
        self._jobs.clear()


def _refuse_unfinished(step: StepState) -> None:
    if not step.step.records_run:
        return
    if (read_json(step.folder / RUN_FILE) or {}).get("status") != "finished":
        raise StepFailed(
            Failure(
                "The notebook ran to its end, but its run is not finished: it declares `run_dir`"
                " and must call start_run(run_dir, …) and run.finish()."
            )
        )


@contextlib.contextmanager
def _without_slow_imports() -> Iterator[None]:
    """Hide two optional libraries while papermill is imported, which is then done in half the time.

    jsonschema would build a grammar for internationalized addresses, and papermill looks for Hadoop.
    """
    hidden: dict[str, Any] = {name: None for name in ("rfc3987_syntax", "pyarrow") if name not in sys.modules}
    sys.modules.update(hidden)
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name, name) is None:
                del sys.modules[name]

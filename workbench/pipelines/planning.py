"""What would run, and why: each step compared with the runs that there are."""

from collections.abc import Sequence
from typing import Any

from workbench.pipelines.contents import hash_output
from workbench.pipelines.fingerprints import INPUTS, Fingerprinter, explain_change, fingerprint
from workbench.pipelines.memory import Memory
from workbench.pipelines.records import DONE, LAYOUT, History, find_place, next_place, seal_files
from workbench.pipelines.spec import Pipeline, StepIndex, find_references, resolve_parameters
from workbench.pipelines.state import PipelineState, StepState, current_folders, show
from workbench.runs import STEP_FILE, write_json

MEMORY_FILE = ".memory.json"  # in runs/


def plan_pipeline(
    pipeline: Pipeline, *, until: Sequence[str] = (), force: Sequence[str] = ()
) -> PipelineState:
    """Tell for every step whether it is fresh, and if not, why.

    Args:
        pipeline: From `load_pipeline`.
        until: Steps (`train`, `train[seed=2]`) that shall run if they are stale, with what they need; the
            others stay as they are.
        force: Steps that shall run although nothing changed.

    Raises:
        WorkbenchError: The data of a step are not there, or there is no such step.
    """
    return Plan(pipeline, until=until, force=force).state


class Plan:
    """The steps of a pipeline beside the runs that there are; kept up to date while steps finish."""

    def __init__(self, pipeline: Pipeline, *, until: Sequence[str] = (), force: Sequence[str] = ()) -> None:
        self.pipeline = pipeline
        self._memory = Memory(pipeline.root / "runs" / MEMORY_FILE)
        self._fingerprinter = Fingerprinter(pipeline.root, self._memory)
        self.history = History(pipeline.folder, current_folders(pipeline.folder))
        self._work: dict[str, StepState] = {}  # by fingerprint
        forced = pipeline.select(force)
        wanted = _needed(pipeline, pipeline.select(until) or {step.label for step in pipeline.steps})
        self.state = PipelineState(
            pipeline,
            [
                StepState(step, wanted=step.label in wanted, forced=step.label in forced & wanted)
                for step in pipeline.steps
            ],
        )
        self._index = StepIndex(pipeline.steps)
        self.by_label = {step.label: step for step in self.state.steps}
        for step in self.state.steps:
            self.settle(step)
        if not self.state.is_settled:
            self._expect()
        self._memory.save()

    def settle(self, step: StepState) -> None:
        """Find out whether a step is fresh, as far as the steps that it needs have run."""
        needed = [self.by_label[label] for label in step.step.needs]
        inputs = [(other.label, other.output) for other in needed]
        parts = self._fingerprinter.parts(step.step, inputs)
        unknown = [other.label for other in needed if not other.is_settled]
        if unknown:
            step.reason = self._explain_waiting(step, parts, unknown)
            return
        step.parts, step.fingerprint = parts, fingerprint(parts)
        base = self.pipeline.folder / f"{step.step.folder_name}-{step.fingerprint[:8]}"
        place = find_place(base, self._memory)
        if place.record and not step.forced:
            step.state, step.reason, step.folder = "fresh", "", place.folder
            step.output, step.started = place.record["output"], place.record["started"]
            step.seconds = place.record["seconds"]
        elif self._share(step):
            return
        elif step.forced:
            step.folder = next_place(base)
            step.reason = "forced"
        else:
            step.folder = place.folder
            step.reason = place.reason or self._explain(step, parts)
        self._work.setdefault(step.fingerprint, step)

    def complete(self, step: StepState) -> None:
        """Seal the run folder of a step whose notebook ran to its end, and note what it made."""
        places = {}
        for text in (str(step.folder), show(step.folder, self.pipeline.root)):
            places[text] = step.label
        for label in step.step.needs:
            folder = self.by_label[label].folder
            places |= {str(folder): label, show(folder, self.pipeline.root): label}
        step.output = hash_output(step.folder, places)
        self.write_record(step, DONE, files=seal_files(step.folder), output=step.output)

    def write_record(self, step: StepState, state: str, **facts: Any) -> None:
        """Write who a run folder belongs to: before the kernel starts, and how it ended."""
        write_json(step.folder / STEP_FILE, self._record(step, state) | facts)

    def parameters(self, step: StepState) -> dict[str, Any]:
        """Return the notebook's parameters with run folders in place of references."""
        folders = {}
        for reference in {name for value in step.step.parameters.values() for name in find_references(value)}:
            needed = [self.by_label[label].folder for label in self._index.find(reference)]
            folders[reference] = [show(folder, self.pipeline.root) for folder in needed]
        parameters = resolve_parameters(step.step, folders)
        if step.step.records_run:
            parameters["run_dir"] = show(step.folder, self.pipeline.root)
        return parameters

    def dynamic_imports(self) -> dict[str, list[str]]:
        """Return the imports that cannot be followed, each with the labels of the steps that reach it."""
        found: dict[str, list[str]] = {}
        for step in self.state.steps:
            for text in self._fingerprinter.dynamic_imports(step.step):
                found.setdefault(text, []).append(step.label)
        return found

    def _expect(self) -> None:
        """Note what earlier runs tell of the time and memory that steps take."""
        for step in self.state.steps:
            notebook = show(step.step.notebook.path, self.pipeline.root)
            record = self.history.finished(step.label, step.step.name, notebook)
            if record:
                step.expected, step.expected_memory = record["seconds"], record["memory"]

    def _share(self, step: StepState) -> bool:
        """Let a step take the run of another one that does the same work."""
        other = self._work.get(step.fingerprint)
        if other is None or other is step:
            return False
        step.folder, step.same_as = other.folder, other
        step.reason = f"the same work as {other.label}"
        if other.is_settled:
            step.state, step.output, step.started = "fresh", other.output, other.started
            step.seconds = other.seconds
        return True

    def _explain(self, step: StepState, parts: dict[str, Any]) -> str:
        record = self.history.newest(step.label)
        if record is None:
            return "its run folder is gone" if self.history.knows(step.label) else "never run"
        return explain_change(record["parts"], parts) or "its run folder is gone"

    def _explain_waiting(self, step: StepState, parts: dict[str, Any], unknown: list[str]) -> str:
        """Say why a step may run that needs steps which have not run yet."""
        if step.forced:
            return "forced"
        waits = f"if {_list(unknown)} {'have' if len(unknown) > 1 else 'has'} a new result"
        record = self.history.newest(step.label)
        if record is None:
            return "never run"
        own = explain_change(record["parts"] | {INPUTS: []}, parts | {INPUTS: []})
        return own or waits

    def _record(self, step: StepState, state: str) -> dict[str, Any]:
        return {
            "layout": LAYOUT,
            "pipeline": self.pipeline.name,
            "step": step.step.name,
            "label": step.label,
            "matrix": step.step.matrix,
            "notebook": show(step.step.notebook.path, self.pipeline.root),
            "threads": step.step.threads,
            "fingerprint": step.fingerprint,
            "parts": step.parts,
            "state": state,
            "started": step.started,
            "seconds": step.seconds,
            "memory": step.memory,
            "error": step.failure.error if step.failure else "",
            "output": "",
            "files": {},
        }


def _needed(pipeline: Pipeline, labels: set[str]) -> set[str]:
    """Return labels with those of all steps before them."""
    needs = {step.label: step.needs for step in pipeline.steps}
    found: set[str] = set()
    waiting = list(labels)
    while waiting:
        label = waiting.pop()
        if label not in found:
            found.add(label)
            waiting += needs[label]
    return found


def _list(labels: list[str]) -> str:
    if len(labels) > 3:
        return f"{', '.join(labels[:2])} and {len(labels) - 2} more"
    return " and ".join([", ".join(labels[:-1]), labels[-1]] if labels[1:] else labels)

"""What a report tells, read back from `state.json` and the run folders of a pipeline."""

import datetime
import json
import shlex
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.reports.privacy import uses_own_data
from workbench.reports.settings import Settings, find_text, read_settings
from workbench.reports.trainings import Training, read_training
from workbench.runs import (
    DIFF_FILE,
    RUN_FILE,
    STATE_FILE,
    RunRecord,
    open_run,
    read_json,
    resolve_path,
    show_path,
)

DATA_CARD = "artifacts/data_card.json"
SUMMARY = "summary"  # the table that makes a run an evaluation
_ENVIRONMENT = ("python", "backend", "packages", "machine", "threads", "deterministic")  # of the provenance


@dataclass(frozen=True)
class ReportedStep:
    """One step of the pipeline with its run, as far as it came."""

    name: str
    label: str  # the name with its matrix values
    pipeline: str
    state: str  # as in state.json
    notebook: str
    folder: Path | None  # the run folder; None when nothing has run
    run: RunRecord | None  # None when the notebook did not get as far as start_run
    error: dict[str, Any] = field(default_factory=dict)
    reason: str = ""  # why it was skipped

    @property
    def executed(self) -> Path | None:
        """The executed notebook, if there is one."""
        path = self.folder / "executed.ipynb" if self.folder else None
        return path if path and path.is_file() else None

    @property
    def data_card(self) -> dict[str, Any] | None:
        """The data card, if the run wrote one."""
        return read_json(self.folder / DATA_CARD) if self.folder else None

    @cached_property
    def is_private(self) -> bool:
        """Whether its data are the user's own."""
        return self.run is not None and uses_own_data(self.run)

    @property
    def diff(self) -> str:
        """What was not committed when the run started; empty if all was."""
        path = self.folder / DIFF_FILE if self.folder else None
        return path.read_text(encoding="utf-8") if path and path.is_file() else ""

    @property
    def is_evaluation(self) -> bool:
        """Whether the run compared models."""
        return self.run is not None and SUMMARY in self.run.tables()

    @property
    def verdicts(self) -> list[str]:
        """What the run says may be claimed, one sentence for each dataset."""
        return self.run.details.get("verdicts", []) if self.run else []

    @property
    def judged(self) -> frozenset[str]:
        """The folders of the runs that the verdicts are about, as far as the run's parameters tell."""
        runs = self.run.parameters.get("runs", []) if self.run else []
        return frozenset(runs if isinstance(runs, list) else [runs])

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """The event log; empty without a run."""
        return self.run.events() if self.run else []

    @property
    def is_training(self) -> bool:
        """Whether the run trained for an epoch at least."""
        return any(event["type"] == "epoch" for event in self.events)

    @cached_property
    def training(self) -> Training:
        """What was noticed and done by hand while it trained, and how that ended."""
        return read_training(self.events)

    @property
    def seconds(self) -> float | None:
        """How long the run took, if it has ended."""
        if self.run is None or "ended" not in self.run.details:
            return None
        times = [datetime.datetime.fromisoformat(self.run.details[key]) for key in ("started", "ended")]
        return (times[1] - times[0]).total_seconds()


@dataclass(frozen=True)
class Environment:
    """Python, packages and machine that some runs have in common."""

    facts: dict[str, Any]
    labels: list[str]


@dataclass(frozen=True)
class Changes:
    """What was not committed when some runs were made."""

    text: str  # a unified diff
    commit: str
    labels: list[str]


@dataclass(frozen=True)
class Report:
    """A pipeline and all its steps, in the order of the pipeline."""

    name: str
    title: str
    pipelines: list[str]  # their names
    files: list[str]  # of the pipelines
    commands: list[str]  # that ran them, for a shell
    steps: list[ReportedStep]
    settings: Settings = field(default_factory=Settings)

    @property
    def runs(self) -> list[RunRecord]:
        """The runs of all steps that got as far as to have one."""
        return [step.run for step in self.steps if step.run]

    @property
    def judging(self) -> list[ReportedStep]:
        """The steps that say what may be claimed, without those whose runs another one judges with more.

        More models make more pairs, and a stricter correction: both verdicts beside one another would
        contradict themselves.
        """
        judging = [step for step in self.steps if step.verdicts]
        return [
            step
            for step in judging
            if not (step.judged and any(step.judged < other.judged for other in judging))
        ]

    @property
    def commits(self) -> list[dict[str, Any]]:
        """The different git states in which the runs were made."""
        states = [run.details["provenance"]["git"] for run in self.runs]
        return _unique(state for state in states if state)

    @property
    def environments(self) -> list[Environment]:
        """The different environments, each with the labels of its steps."""
        labels: dict[str, list[str]] = {}
        for step in self.steps:
            if step.run:
                provenance = step.run.details["provenance"]
                facts = {key: provenance[key] for key in _ENVIRONMENT if provenance.get(key)}
                memory = f"{provenance['machine']['memory'] / 2**30:.1f} GiB"
                facts["machine"] = provenance["machine"] | {"memory": memory}
                labels.setdefault(json.dumps(facts), []).append(step.label)
        return [Environment(json.loads(facts), names) for facts, names in labels.items()]

    @property
    def changes(self) -> list[Changes]:
        """What was not committed when the runs were made, each different one with the labels of its steps."""
        labels: dict[tuple[str, str], list[str]] = {}
        for step in self.steps:
            if step.run and (diff := step.diff):
                commit = step.run.details["provenance"]["git"]["commit"]
                labels.setdefault((diff, commit), []).append(step.label)
        return [Changes(text, commit, names) for (text, commit), names in labels.items()]

    def is_steered(self, run: str) -> bool:
        """Tell whether somebody changed the course of a run, of this pipeline or of another one.

        Args:
            run: The run folder, relative to the project root; empty for what has none.
        """
        folder = resolve_path(run)
        for step in self.steps:
            if step.folder == folder:
                return step.training.steered
        known = bool(run) and (folder / RUN_FILE).is_file()
        return known and read_training(open_run(folder).events()).steered

    @property
    def started(self) -> str:
        """When the first run started, ISO 8601; empty without runs."""
        return min((run.details["started"] for run in self.runs), default="")


def collect_report(*pipelines: str | Path, text: str | None = None, diff: bool = False) -> Report:
    """Read the states of one or several pipelines and every run that they name.

    The labels of several pipelines' steps begin with the name of the pipeline.

    Args:
        pipelines: `runs/<pipeline>` or its `state.json`, relative to the project root.
        text: The Markdown file with settings and text; by default the one beside the only pipeline.
        diff: Whether to show what was not committed, even if the settings do not say so.

    Raises:
        WorkbenchError: There is no readable `state.json`, or the text has a setting that cannot be.
    """
    states = [_read_state(pipeline) for pipeline in pipelines]
    several = len(states) > 1
    steps = [
        _collect_step(f"{state['pipeline']}: {label}" if several else label, state["pipeline"], entry)
        for state in states
        for label, entry in state["steps"].items()
    ]
    files = [state["file"] for state in states]
    settings = read_settings(find_text(files, text))
    settings = replace(settings, diff=settings.diff or diff)
    return Report(
        name="+".join(state["pipeline"] for state in states),
        pipelines=[state["pipeline"] for state in states],
        title=settings.title or " · ".join(state["title"] or state["pipeline"] for state in states),
        files=files,
        commands=[_describe_call(state) for state in states],
        steps=steps,
        settings=settings,
    )


def _read_state(pipeline: str | Path) -> dict[str, Any]:
    path = resolve_path(pipeline)
    path = path / STATE_FILE if path.is_dir() else path
    state = read_json(path)
    if state is None or "steps" not in state:
        raise WorkbenchError(
            f"No pipeline's state in {show_path(path)}: the file is missing or unreadable.\n"
            "Run the pipeline first (workbench run NAME), then give its folder, such as runs/quickstart."
        )
    return state


def _describe_call(state: dict[str, Any]) -> str:
    """Return the command that ran a pipeline, with the parameters that it was called with."""
    set_by_hand = [f"-p {shlex.quote(f'{name}={text}')}" for name, text in state.get("overrides", {}).items()]
    return " ".join(["workbench run", shlex.quote(state["file"]), *set_by_hand])


def _collect_step(label: str, pipeline: str, entry: dict[str, Any]) -> ReportedStep:
    folder = resolve_path(entry["run"]) if entry.get("run") else None
    has_run = folder is not None and (folder / RUN_FILE).is_file()
    return ReportedStep(
        name=entry["step"],
        label=label,
        pipeline=pipeline,
        state=entry["state"],
        notebook=entry["notebook"],
        folder=folder,
        run=open_run(folder) if has_run else None,
        error=entry.get("error") or {},
        reason=entry.get("reason", ""),
    )


def _unique(values: Any) -> list[Any]:
    kept: list[Any] = []
    for value in values:
        if value not in kept:
            kept.append(value)
    return kept

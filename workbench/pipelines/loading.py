"""The pipeline file: YAML → checked steps in the order in which they can run."""

import dataclasses
import graphlib
import heapq
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from workbench.errors import WorkbenchError
from workbench.pipelines.matrix import expand_matrix
from workbench.pipelines.notebooks import Notebook, read_notebook
from workbench.pipelines.overrides import Overrides, check_overrides, override_values
from workbench.pipelines.spec import Pipeline, Step, StepIndex, find_references
from workbench.pipelines.suggest import suggest
from workbench.provenance import DETERMINISM_VARIABLE
from workbench.runs import project_root, show_path

DEFAULT_THREADS = 2
_NAME = re.compile(r"[A-Za-z]\w*")
_PIPELINE_KEYS = ("name", "title", "parameters", "threads", "deterministic", "steps")
_STEP_KEYS = ("notebook", "parameters", "matrix", "threads", "deterministic", "timeout", "retries", "env")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML has it


def load_pipeline(file: str | Path, overrides: Overrides | None = None) -> Pipeline:
    """Read and check a pipeline file before anything runs.

    Args:
        file: A path, or the name of a file in `pipelines/`.
        overrides: Values by parameter, texts as typed (`-p NAME=VALUE`) or plain values. They replace every
            literal value of the parameter, in the pipeline and in its steps, but no reference and no matrix
            value.

    Raises:
        WorkbenchError: Anything about the file, its notebooks or the overrides that cannot work.
    """
    source = _open_file(file, overrides or {})
    name = str(source.data.get("name", source.path.stem))
    if not _NAME.fullmatch(name.replace("-", "_")):
        raise WorkbenchError(
            f"{source.shown} is named {name!r}.\nA name is made of letters, digits, _ and -."
        )
    steps = source.data.get("steps")
    if not isinstance(steps, dict) or not steps:
        raise WorkbenchError(
            f"{source.shown} has no steps.\nIt needs at least\n"
            "  steps:\n    prepare: {notebook: notebooks/01_prepare_data.ipynb}"
        )
    expanded = [step for key, entry in steps.items() for step in _expand(source, key, entry)]
    _check_shared(source, expanded)
    check_overrides(source.shown, source.overrides, expanded)
    index = StepIndex(expanded)
    ordered = _order(source.shown, [_link(source.shown, step, index) for step in expanded])
    title = str(source.data.get("title", name))
    return Pipeline(name, title, source.path, source.root, ordered, dict(source.overrides))


@dataclass
class _Source:
    """A pipeline file that is being read."""

    path: Path
    root: Path
    shown: str  # the path in messages
    data: dict[str, Any]
    overrides: Overrides
    shared: dict[str, Any]  # parameters for every step that declares them
    notebooks: dict[str, Notebook] = field(default_factory=dict)

    def notebook(self, path: str) -> Notebook:
        """Return a notebook of the project, read once however many steps run it."""
        if path not in self.notebooks:
            self.notebooks[path] = read_notebook(self.root / path)
        return self.notebooks[path]


def _open_file(file: str | Path, overrides: Overrides) -> _Source:
    path = _find_file(file)
    shown = show_path(path)
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise WorkbenchError(f"{shown} is not valid YAML.\n{error}") from error
    if not isinstance(data, dict):
        raise WorkbenchError(
            f"{shown} holds no mapping.\nA pipeline file has the keys {', '.join(_PIPELINE_KEYS)}."
        )
    _check_keys(data, _PIPELINE_KEYS, shown)
    return _Source(path, project_root(), shown, data, overrides, _mapping(data, "parameters", shown))


def _find_file(file: str | Path) -> Path:
    given = Path(file)
    folder = project_root() / "pipelines"
    for path in (given, folder / given, folder / f"{given}.yaml"):
        if path.is_file():
            return path.resolve()
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    raise WorkbenchError(
        f"There is no pipeline {str(file)!r}.\n"
        f"Give a path, or one of those in {show_path(folder)}/. {suggest(str(file), known)}"
    )


def _expand(source: _Source, name: str, entry: Any) -> list[Step]:
    """Return the steps of one entry of the file, one for each choice of its matrix values."""
    where = f"step {name!r} of {source.shown}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise WorkbenchError(f"The {where} has no usable name.\nUse letters, digits and _.")
    if not isinstance(entry, dict) or not isinstance(entry.get("notebook"), str):
        raise WorkbenchError(
            f"The {where} names no notebook.\nWrite `{name}: {{notebook: notebooks/….ipynb}}`."
        )
    _check_keys(entry, _STEP_KEYS, where)
    notebook = source.notebook(entry["notebook"])
    settings = _settings(entry, source.data, where)
    shared = {key: value for key, value in source.shared.items() if key in notebook.parameters}
    values = override_values(notebook, shared | _mapping(entry, "parameters", where), source.overrides)
    defaults = {key: item.default for key, item in notebook.parameters.items() if key != "run_dir"}
    steps = []
    for choice in expand_matrix(entry.get("matrix") or {}, where):
        chosen = values | choice.values
        _check_parameters(notebook, chosen, where)
        parameters = defaults | chosen
        steps.append(Step(name, notebook, choice.values, parameters, choice=choice.texts, **settings))
    return steps


def _settings(entry: dict[str, Any], pipeline: dict[str, Any], where: str) -> dict[str, Any]:
    """Return how a step is run: threads, timeout, retries, environment."""
    threads = entry.get("threads", pipeline.get("threads", DEFAULT_THREADS))
    if not _is_count(threads, 1):
        raise WorkbenchError(f"`threads` of {where} is {threads!r}.\nGive a whole number from 1 up.")
    deterministic = entry.get("deterministic", pipeline.get("deterministic", True))
    if not isinstance(deterministic, bool):
        raise WorkbenchError(f"`deterministic` of {where} is {deterministic!r}.\nGive true or false.")
    retries = entry.get("retries", 0)
    if not _is_count(retries, 0):
        raise WorkbenchError(f"`retries` of {where} is {retries!r}.\nGive a whole number from 0 up.")
    timeout = entry.get("timeout")
    if timeout is not None and (
        isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0
    ):
        raise WorkbenchError(f"`timeout` of {where} is {timeout!r}.\nGive seconds, such as `timeout: 3600`.")
    env = {
        key: str(value)
        for key, value in _mapping(entry, "env", where).items()
        if _is_plain(key, value, where)
    }
    env = {DETERMINISM_VARIABLE: str(int(deterministic))} | env
    return {"threads": threads, "timeout": timeout, "retries": retries, "env": env}


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_plain(key: Any, value: Any, where: str) -> bool:
    """Refuse a variable of the environment that is no text or number, or that the runner sets itself."""
    if not isinstance(key, str) or isinstance(value, bool) or not isinstance(value, str | int | float):
        raise WorkbenchError(
            f"`env` of {where} sets {key}: {value!r}.\n"
            "Give texts or numbers, as in `env: {TF_ENABLE_ONEDNN_OPTS: 0}`."
        )
    return True


def _check_parameters(notebook: Notebook, values: Mapping[str, Any], where: str) -> None:
    for key, value in values.items():
        declared = notebook.parameters.get(key)
        if declared is None or key == "run_dir":
            known = [name for name in notebook.parameters if name != "run_dir"]
            raise WorkbenchError(
                f"The {where} sets {key!r}, which {show_path(notebook.path)} does not declare"
                f"{' for you to set' if declared else ''}.\n{suggest(key, known)}"
            )
        referring = declared.type in ("str", "list", "dict") and any(find_references(value))
        if declared.accepts(value) or referring:
            continue
        raise WorkbenchError(
            f"The {where} sets {key} to {value!r}, a {type(value).__name__};"
            f" {show_path(notebook.path)} declares it as {declared.type}.\n"
            f"Give a value of that type, such as its default {declared.default!r}."
        )


def _check_shared(source: _Source, steps: Sequence[Step]) -> None:
    declared = {name for step in steps for name in step.notebook.parameters}
    for key in source.shared:
        if key not in declared:
            raise WorkbenchError(
                f"The parameters of {source.shown} set {key!r}, which none of its notebooks declares.\n"
                f"{suggest(str(key), sorted(declared - {'run_dir'}))}"
            )


def _link(shown: str, step: Step, index: StepIndex) -> Step:
    """Return `step` with the labels that it needs."""
    needs: dict[str, None] = {}
    for key, value in step.parameters.items():
        for reference in find_references(value):
            labels = index.find(reference)
            if not labels:
                raise WorkbenchError(
                    f"Step {step.label!r} of {shown} refers to ${{{reference}}} in {key}, and there"
                    f" is no such step.\n{suggest(reference, index.known())}"
                )
            if len(labels) > 1 and step.notebook.parameters[key].type != "list":
                raise WorkbenchError(
                    f"Step {step.label!r} of {shown} sets {key} to {value!r}, but {reference} stands for"
                    f" {len(labels)} runs and {key} takes one {step.notebook.parameters[key].type}.\n"
                    f"Name one of them: ${{{labels[0]}}}."
                )
            needs |= dict.fromkeys(labels)
    return dataclasses.replace(step, needs=tuple(needs))


def _order(shown: str, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps so that each stands after those that it needs, else in the file's order."""
    place = {step.label: number for number, step in enumerate(steps)}
    sorter = graphlib.TopologicalSorter({step.label: step.needs for step in steps})
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise WorkbenchError(
            f"The steps of {shown} wait for one another in a circle: {circle}.\n"
            "Remove one of these references."
        ) from None
    ordered: list[Step] = []
    ready: list[int] = []
    while sorter.is_active():
        for label in sorter.get_ready():
            heapq.heappush(ready, place[label])
        step = steps[heapq.heappop(ready)]
        ordered.append(step)
        sorter.done(step.label)
    return tuple(ordered)


def _check_keys(entry: Mapping[Any, Any], known: Sequence[str], where: str) -> None:
    for key in entry:
        if key not in known:
            raise WorkbenchError(f"Unknown key {key!r} in {where}.\n{suggest(str(key), known)}")


def _mapping(entry: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = entry.get(key) or {}
    if not isinstance(value, dict):
        raise WorkbenchError(
            f"`{key}` of {where} is {value!r}.\nWrite it as a mapping: `{key}: {{name: value}}`."
        )
    return value

"""The pipeline file: YAML → checked steps in the order in which they can run."""

import contextlib
import difflib
import graphlib
import heapq
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from workbench.errors import WorkbenchError
from workbench.pipelines.notebooks import Notebook, Parameter, read_notebook
from workbench.runs import project_root, show_path

DEFAULT_THREADS = 2
REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z]\w*")
_PIPELINE_KEYS = ("name", "title", "parameters", "threads", "steps")
_STEP_KEYS = ("notebook", "parameters", "matrix", "threads")


@dataclass(frozen=True)
class Step:
    """One execution of a notebook: a step of the file with one choice of its matrix values."""

    name: str
    notebook: Notebook
    matrix: dict[str, Any]
    parameters: dict[str, Any]  # resolved but for references, `run_dir` left out
    threads: int
    needs: tuple[str, ...] = ()  # labels of the steps that are referred to

    @property
    def label(self) -> str:
        """The name with the matrix values: `train[seed=0]`."""
        if not self.matrix:
            return self.name
        return f"{self.name}[{','.join(f'{key}={value}' for key, value in self.matrix.items())}]"

    @property
    def folder_name(self) -> str:
        """The label as the beginning of a folder's name: `train-seed=0`."""
        return re.sub(r"[^\w=.,-]+", "-", self.label).strip("-")


@dataclass(frozen=True)
class Pipeline:
    """A checked pipeline; every step stands after the steps that it needs."""

    name: str
    title: str
    file: Path
    steps: tuple[Step, ...]
    labels_of: dict[str, tuple[str, ...]] = field(default_factory=dict)  # step name → its labels

    def find(self, reference: str) -> tuple[str, ...]:
        """Return the labels that `${reference}` stands for: a step's name or one label."""
        if reference in self.labels_of:
            return self.labels_of[reference]
        return tuple(step.label for step in self.steps if step.label == reference)


def load_pipeline(file: str | Path, overrides: Mapping[str, str] | None = None) -> Pipeline:
    """Read and check a pipeline file before anything runs.

    Args:
        file: A path, or the name of a file in `pipelines/`.
        overrides: Values as typed (`-p NAME=VALUE`). They replace every literal value of the parameter,
            in the pipeline and in its steps, but no reference and no matrix value.

    Raises:
        WorkbenchError: Anything about the file, its notebooks or the overrides that cannot work.
    """
    path = _find_file(file)
    data = _read_yaml(path)
    _check_keys(data, _PIPELINE_KEYS, f"{show_path(path)}")
    steps = data.get("steps")
    if not isinstance(steps, dict) or not steps:
        raise WorkbenchError(
            f"{show_path(path)} has no steps.\nIt needs at least\n"
            "  steps:\n    prepare: {notebook: notebooks/01_prepare_data.ipynb}"
        )
    name = str(data.get("name", path.stem))
    if not _NAME.fullmatch(name.replace("-", "_")):
        raise WorkbenchError(
            f"{show_path(path)} is named {name!r}.\nA name is made of letters, digits, _ and -."
        )
    shared = _mapping(data, "parameters", show_path(path))
    expanded = [_expand(path, key, value, data, overrides or {}) for key, value in steps.items()]
    _check_shared(path, shared, expanded)
    _check_overrides(path, overrides or {}, expanded)
    labels_of = {group[0].name: tuple(step.label for step in group) for group in expanded}
    flat = [_link(path, step, labels_of) for group in expanded for step in group]
    ordered = _order(path, flat)
    return Pipeline(name, str(data.get("title", name)), path, ordered, labels_of)


def resolve_parameters(step: Step, folders: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the parameters of `step` with every `${…}` replaced by run folders.

    Args:
        step: A step of a checked pipeline.
        folders: Run folders by what stands between the braces.

    A text that is nothing but one reference becomes the list of folders where a list is declared; inside a
    list its folders are spliced in.
    """
    resolved = {}
    for key, value in step.parameters.items():
        whole = REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if whole and step.notebook.parameters[key].type == "list":
            value = [value]
        resolved[key] = _resolve(value, folders)
    return resolved


def find_references(value: Any) -> Iterator[str]:
    """Yield what stands between the braces of each `${…}` in a parameter's value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from find_references(item)
    elif isinstance(value, str):
        yield from REFERENCE.findall(value)


def _resolve(value: Any, folders: Mapping[str, Sequence[str]]) -> Any:
    if isinstance(value, dict):
        return {key: _resolve(item, folders) for key, item in value.items()}
    if isinstance(value, list):
        items: list[Any] = []
        for item in value:
            whole = REFERENCE.fullmatch(item) if isinstance(item, str) else None
            items.extend(folders[whole[1]] if whole else [_resolve(item, folders)])
        return items
    if isinstance(value, str):
        return REFERENCE.sub(lambda match: folders[match[1]][0], value)
    return value


def _find_file(file: str | Path) -> Path:
    given = Path(file)
    folder = project_root() / "pipelines"
    for path in (given, folder / given, folder / f"{given}.yaml"):
        if path.is_file():
            return path.resolve()
    known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml"))) or "none"
    raise WorkbenchError(
        f"There is no pipeline {str(file)!r}.\nGive a path, or one of those in {show_path(folder)}/: {known}."
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise WorkbenchError(f"{show_path(path)} is not valid YAML.\n{error}") from error
    if not isinstance(data, dict):
        raise WorkbenchError(
            f"{show_path(path)} holds no mapping.\nA pipeline file has the keys {', '.join(_PIPELINE_KEYS)}."
        )
    return data


def _expand(
    path: Path, name: str, entry: Any, pipeline: dict[str, Any], overrides: Mapping[str, str]
) -> list[Step]:
    """Return the steps of one entry of the file, one for each choice of its matrix values."""
    where = f"step {name!r} of {show_path(path)}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise WorkbenchError(f"The {where} has no usable name.\nUse letters, digits and _.")
    if not isinstance(entry, dict) or not isinstance(entry.get("notebook"), str):
        raise WorkbenchError(
            f"The {where} names no notebook.\nWrite `{name}: {{notebook: notebooks/….ipynb}}`."
        )
    _check_keys(entry, _STEP_KEYS, where)
    notebook = read_notebook(project_root() / entry["notebook"])
    threads = entry.get("threads", pipeline.get("threads", DEFAULT_THREADS))
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        raise WorkbenchError(f"`threads` of {where} is {threads!r}.\nGive a whole number from 1 up.")
    own = _mapping(entry, "parameters", where)
    shared = _mapping(pipeline, "parameters", show_path(path))
    shared = {key: value for key, value in shared.items() if key in notebook.parameters}
    values = shared | own
    for key, text in overrides.items():
        if key in notebook.parameters and not any(find_references(values.get(key))):
            values[key] = _parse_override(notebook.parameters[key], text)
    choices = _matrix(_mapping(entry, "matrix", where), where)
    steps = []
    for choice in choices:
        chosen = values | choice
        _check_parameters(notebook, chosen, where)
        defaults = {key: item.default for key, item in notebook.parameters.items()}
        resolved = defaults | chosen
        resolved.pop("run_dir", None)
        steps.append(Step(name, notebook, choice, resolved, threads))
    return steps


def _matrix(matrix: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """Return every combination of the matrix values, the last named varying fastest."""
    for key, values in matrix.items():
        if not isinstance(values, list) or not values:
            raise WorkbenchError(
                f"The matrix of {where} gives {key}: {values!r}.\n"
                f"Give a list with at least one value, as in `matrix: {{{key}: [0, 1, 2]}}`."
            )
        if any(values.count(value) > 1 for value in values):
            raise WorkbenchError(
                f"The matrix of {where} names a value of {key} twice: {values}.\nName each value once."
            )
    return [dict(zip(matrix, choice, strict=True)) for choice in itertools.product(*matrix.values())]


def _check_parameters(notebook: Notebook, values: Mapping[str, Any], where: str) -> None:
    for key, value in values.items():
        declared = notebook.parameters.get(key)
        if declared is None or key == "run_dir":
            known = [name for name in notebook.parameters if name != "run_dir"]
            raise WorkbenchError(
                f"The {where} sets {key!r}, which {show_path(notebook.path)} does not declare"
                f"{' for you to set' if declared else ''}.\n{_suggest(key, known)}"
            )
        referring = any(find_references(value)) and declared.type in ("str", "list", "dict")
        if declared.accepts(value) or referring:
            continue
        raise WorkbenchError(
            f"The {where} sets {key} to {value!r}, a {type(value).__name__};"
            f" {show_path(notebook.path)} declares it as {declared.type}.\n"
            f"Give a {declared.type}, such as its default {declared.default!r}."
        )


def _check_shared(path: Path, shared: Mapping[str, Any], groups: Sequence[Sequence[Step]]) -> None:
    declared = {name for group in groups for name in group[0].notebook.parameters}
    for key in shared:
        if key not in declared:
            raise WorkbenchError(
                f"The parameters of {show_path(path)} set {key!r}, which none of its notebooks declares.\n"
                f"{_suggest(str(key), sorted(declared - {'run_dir'}))}"
            )


def _check_overrides(path: Path, overrides: Mapping[str, str], groups: Sequence[Sequence[Step]]) -> None:
    steps = [step for group in groups for step in group]
    for key in overrides:
        if any(key in step.matrix for step in steps):
            raise WorkbenchError(
                f"-p {key}=… has no effect: {key} is varied by a matrix in {show_path(path)}.\n"
                "Change the list there."
            )
        settable = [
            name
            for step in steps
            for name, value in step.parameters.items()
            if not any(find_references(value))
        ]
        if key not in settable:
            raise WorkbenchError(
                f"-p {key}=… has no effect: no step of {show_path(path)} has such a parameter to set.\n"
                f"{_suggest(key, settable)}"
            )


def _parse_override(parameter: Parameter, text: str) -> Any:
    if parameter.type == "str":
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    if isinstance(value, str) and parameter.type == "float":  # YAML takes 1e-4 for a text
        with contextlib.suppress(ValueError):  # the check of types names what is no number
            value = float(value)
    if not parameter.accepts(value):
        raise WorkbenchError(
            f"-p {parameter.name}={text} gives a {type(value).__name__}; the notebook declares"
            f" {parameter.type}.\nGive a {parameter.type}, such as its default {parameter.default!r}."
        )
    return value


def _link(path: Path, step: Step, labels_of: Mapping[str, tuple[str, ...]]) -> Step:
    """Return `step` with the labels that it needs."""
    needs: dict[str, None] = {}
    known = {label: (label,) for labels in labels_of.values() for label in labels} | dict(labels_of)
    for key, value in step.parameters.items():
        for reference in find_references(value):
            if reference not in known:
                raise WorkbenchError(
                    f"Step {step.label!r} of {show_path(path)} refers to ${{{reference}}} in {key}, and there"
                    f" is no such step.\n{_suggest(reference, list(known))}"
                )
            _check_reference(path, step, key, reference, known[reference])
            needs |= dict.fromkeys(known[reference])
    return Step(step.name, step.notebook, step.matrix, step.parameters, step.threads, tuple(needs))


def _check_reference(path: Path, step: Step, key: str, reference: str, labels: tuple[str, ...]) -> None:
    """Refuse a reference to several runs where a single text is declared."""
    if len(labels) > 1 and step.notebook.parameters[key].type != "list":
        raise WorkbenchError(
            f"Step {step.label!r} of {show_path(path)} sets {key} to {step.parameters[key]!r}, but"
            f" {reference} stands for {len(labels)} runs and {key} takes one"
            f" {step.notebook.parameters[key].type}.\nName one of them: ${{{labels[0]}}}."
        )


def _order(path: Path, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps so that each stands after those that it needs, else in the file's order."""
    place = {step.label: number for number, step in enumerate(steps)}
    sorter = graphlib.TopologicalSorter({step.label: step.needs for step in steps})
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise WorkbenchError(
            f"The steps of {show_path(path)} wait for one another in a circle: {circle}.\n"
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
            raise WorkbenchError(f"Unknown key {key!r} in {where}.\n{_suggest(str(key), known)}")


def _mapping(entry: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = entry.get(key) or {}
    if not isinstance(value, dict):
        raise WorkbenchError(
            f"`{key}` of {where} is {value!r}.\nWrite it as a mapping: `{key}: {{name: value}}`."
        )
    return value


def _suggest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    listed = ", ".join(dict.fromkeys(known)) or "none"
    return (f"Did you mean {near[0]!r}? " if near else "") + f"Known are: {listed}."

"""A pipeline as values: its steps, what they refer to, and how steps are selected by name."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.pipelines.notebooks import Notebook

REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_SELECTOR = re.compile(r"(\w+)\[(.*)\]")
_CHOICE = re.compile(r"(\w+)=((?:\[[^\]]*\]|[^,\[\]])*)")  # a value may be a list in brackets
_LONGEST_FOLDER_NAME = 120  # characters, of the 255 that a file system takes


@dataclass(frozen=True)
class Step:
    """One execution of a notebook: a step of the file with one choice of its matrix values."""

    name: str
    notebook: Notebook
    matrix: dict[str, Any]
    parameters: dict[str, Any]  # resolved but for references, `run_dir` left out
    threads: int
    needs: tuple[str, ...] = ()  # labels of the steps that are referred to
    choice: dict[str, str] = field(default_factory=dict)  # the matrix values as the label shows them
    timeout: float | None = None  # seconds
    retries: int = 0  # after the kernel's death or a timeout
    env: dict[str, str] = field(default_factory=dict)

    @cached_property
    def label(self) -> str:
        """The name with the matrix values: `train[seed=0]`."""
        if not self.choice:
            return self.name
        return f"{self.name}[{','.join(f'{key}={text}' for key, text in self.choice.items())}]"

    @property
    def folder_name(self) -> str:
        """The label as the beginning of a folder's name: `train-seed=0`."""
        return re.sub(r"[^\w=.,-]+", "-", self.label).strip("-")[:_LONGEST_FOLDER_NAME]

    @property
    def records_run(self) -> bool:
        """Whether the notebook writes a run; any other notebook only leaves its executed copy."""
        return "run_dir" in self.notebook.parameters


@dataclass(frozen=True)
class Pipeline:
    """A checked pipeline; every step stands after the steps that it needs."""

    name: str
    title: str
    file: Path
    root: Path  # of the project
    steps: tuple[Step, ...]
    overrides: dict[str, Any] = field(default_factory=dict)  # parameters that the call set over the file's

    @property
    def folder(self) -> Path:
        """The folder that holds the pipeline's run folders and `state.json`."""
        return self.root / "runs" / self.name

    def select(self, selectors: Sequence[str]) -> set[str]:
        """Return the labels that selectors mean: `train`, `train[seed=2]`.

        Raises:
            WorkbenchError: A selector means no step.
        """
        index = StepIndex(self.steps)
        chosen: set[str] = set()
        for selector in selectors:
            labels = index.find(selector)
            if not labels:
                known = ", ".join(dict.fromkeys([step.name for step in self.steps]))
                raise WorkbenchError(
                    f"{selector!r} is no step of {self.file.name}.\n"
                    f"Its steps are {known}; one run of a matrix is named as in `train[seed=2]`."
                )
            chosen.update(labels)
        return chosen


class StepIndex:
    """Finds steps by name, by label, or by name and some of the matrix values."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.groups: dict[str, list[Step]] = {}
        for step in steps:
            self.groups.setdefault(step.name, []).append(step)
        self._labels = {step.label for step in steps}

    def find(self, selector: str) -> tuple[str, ...]:
        """Return the labels that `train`, `train[seed=2]` or a part of a label's values means, in order."""
        if selector in self._labels:
            return (selector,)
        if selector in self.groups:
            return tuple(step.label for step in self.groups[selector])
        match = _SELECTOR.fullmatch(selector.strip())
        if not match or match[1] not in self.groups:
            return ()
        wanted = {(key, text.strip()) for key, text in _CHOICE.findall(match[2])}
        steps = self.groups[match[1]] if wanted else []
        return tuple(step.label for step in steps if wanted <= set(step.choice.items()))

    def known(self) -> list[str]:
        """Return what can be referred to, for messages."""
        return list(dict.fromkeys([*self.groups, *sorted(self._labels)]))


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
    for text in find_texts(value):
        yield from REFERENCE.findall(text)


def find_texts(value: Any) -> Iterator[str]:
    """Yield every text in a parameter's value, however deep in lists and mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from find_texts(item)


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

"""What a step depends on, as hashes that are compared to tell whether it must run again."""

import ast
import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.datasets import source_stamp
from workbench.pipelines.contents import hash_output
from workbench.pipelines.environment import BACKEND_PACKAGES, Environment
from workbench.pipelines.imports import ImportGraph, read_references
from workbench.pipelines.memory import Memory
from workbench.pipelines.notebooks import Notebook
from workbench.pipelines.source import find_scripts, normalize_code, parse_code
from workbench.pipelines.spec import Step, find_references, find_texts
from workbench.provenance import keras_backend
from workbench.runs import RUN_FILE

DATASET_PARAMETER = "dataset"
INPUTS = "inputs"  # the part that is known only when the steps before have run
_KERAS = ("keras", "keras-hub")

Parts = dict[str, Any]
Inputs = Sequence[tuple[str, str]]  # label and output hash of each step that is needed, in order


class Fingerprinter:
    """Finds out what steps depend on; what many steps share is found out once.

    Args:
        root: The project's root.
        memory: What is known of files from earlier runs.
    """

    def __init__(self, root: Path, memory: Memory) -> None:
        self._root = root
        self._memory = memory
        self._environment = Environment(memory)
        self._graph = ImportGraph(memory, self._environment, root)
        self._notebooks: dict[Path, dict[str, Any]] = {}
        self._stamps: dict[str, str] = {}

    def parts(self, step: Step, inputs: Inputs) -> Parts:
        """Return everything that the result of `step` depends on, by kind.

        Raises:
            WorkbenchError: Its dataset is not there.
        """
        facts = self._facts(step.notebook)
        reach = self._graph.follow(step.notebook.path.parent, facts["names"])
        backend = step.env.get("KERAS_BACKEND") or keras_backend()
        packages = dict(reach.packages)
        if any(name in packages for name in _KERAS) and backend in BACKEND_PACKAGES:
            packages |= self._environment.package_of(BACKEND_PACKAGES[backend])
        return {
            "notebook": facts["digest"],
            "parameters": step.parameters,
            INPUTS: [list(pair) for pair in inputs],
            "data": self._data(step),
            "code": reach.modules,
            "packages": packages,
            "python": platform.python_version(),
            "backend": backend,
            "threads": step.threads,
            "env": step.env,
        }

    def dynamic_imports(self, step: Step) -> list[str]:
        """Return the imports that cannot be followed, of the notebook and of the modules that it reaches."""
        facts = self._facts(step.notebook)
        reach = self._graph.follow(step.notebook.path.parent, facts["names"])
        return [f"{text} of {step.notebook.path.name}" for text in facts["dynamic"]] + list(reach.dynamic)

    def _facts(self, notebook: Notebook) -> dict[str, Any]:
        if notebook.path not in self._notebooks:
            known = self._memory.recall("notebook", notebook.path, lambda: _read_code(notebook.code))
            self._notebooks[notebook.path] = known
        return self._notebooks[notebook.path]

    def _data(self, step: Step) -> dict[str, str]:
        """Return the content's identity of the dataset and of the run folders that parameters name."""
        found = {}
        for name, value in step.parameters.items():
            for text in find_texts(value):
                path = self._root / text.removeprefix("run:")
                if "/" in text and (path / RUN_FILE).is_file():
                    found[f"{name} {text}"] = self._output_of(path)
                elif name == DATASET_PARAMETER and not any(find_references(text)):
                    found[name] = self._stamp(text)
        return found

    def _output_of(self, folder: Path) -> str:
        return self._memory.recall("output", folder / RUN_FILE, lambda: hash_output(folder, {}))

    def _stamp(self, spec: str) -> str:
        if spec not in self._stamps:
            self._stamps[spec] = source_stamp(spec)
        return self._stamps[spec]


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Return one hash over all parts, 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def explain_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say in words what differs between two sets of parts; empty if nothing does."""
    return "; ".join(_differences(old, new))


def _read_code(cells: Sequence[str]) -> dict[str, Any]:
    """Return the digest of a notebook's code, what it refers to and what cannot be followed."""
    whole = ast.Module([], [])
    unread: list[str] = []
    for cell in cells:
        tree, _ = parse_code(cell)
        whole.body += tree.body if tree else []
        unread += find_scripts(cell)
    normal = "\n\n".join(filter(None, map(normalize_code, cells)))
    references = read_references(whole)
    return {
        "digest": hashlib.sha256(normal.encode()).hexdigest(),
        "names": references["names"],
        "dynamic": references["dynamic"] + unread,
    }


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if old["notebook"] != new["notebook"]:
        yield "the notebook's code changed"
    for name, before, after in _changed(old["parameters"], new["parameters"]):
        yield f"parameter {name} {_brief(before)} → {_brief(after)}"
    for name, _, _ in _changed(old["data"], new["data"]):
        yield f"the data of {name} changed"
    for label, before, after in _changed(dict(old[INPUTS]), dict(new[INPUTS])):
        what = "was added" if before is None else "was left out" if after is None else "has a new result"
        yield f"{label} {what}"
    files = [name for name, _, _ in _changed(old["code"], new["code"])]
    if files:
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        yield f"{', '.join(files[:3])}{more} changed"
    for name, before, after in _changed(old["packages"], new["packages"]):
        yield f"{name} {before or 'not used'} → {after or 'not used'}"
    for name in ("python", "backend", "threads"):
        if old[name] != new[name]:
            yield f"{name} {old[name]} → {new[name]}"
    for name, before, after in _changed(old["env"], new["env"]):
        yield f"env {name} {_brief(before)} → {_brief(after)}"


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield name, old.get(name), new.get(name)


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "…"

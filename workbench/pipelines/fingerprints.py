"""What a step depends on, as hashes that are compared to tell whether it must run again."""

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.datasets import source_stamp
from workbench.pipelines.notebooks import normalize_code
from workbench.pipelines.spec import Step, find_references
from workbench.provenance import keras_backend, package_versions
from workbench.runs import show_path

PACKAGE = Path(__file__).parents[1]
LOOKING_ON = ("dashboards", "reports", "pipelines", "cli.py")  # these never change a result
DATASET_PARAMETER = "dataset"


def fingerprint_parts(step: Step, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Return everything that the result of `step` depends on, by kind.

    Args:
        step: A step of a checked pipeline.
        inputs: Fingerprint of each step that it needs, by label.

    Raises:
        WorkbenchError: Its dataset is not there.
    """
    versions = package_versions()
    del versions["workbench"]  # its source is hashed
    return {
        "notebook": _hash("\n".join(normalize_code(cell) for cell in step.notebook.code)),
        "parameters": step.parameters,
        "inputs": dict(inputs),
        "data": _data_stamp(step),
        "code": _code_hashes(step.notebook.path.parent),
        "packages": versions,
        "python": platform.python_version(),
        "backend": keras_backend(),
        "threads": step.threads,
    }


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Return one hash over all parts, 64 hexadecimal digits."""
    return _hash(json.dumps(parts, sort_keys=True))


def explain_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say in words what differs between two sets of parts."""
    return "; ".join(_differences(old, new))


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if old["notebook"] != new["notebook"]:
        yield "the notebook's code changed"
    for name, before, after in _changed(old["parameters"], new["parameters"]):
        yield f"parameter {name} {_brief(before)} → {_brief(after)}"
    if old["data"] != new["data"]:
        yield "the data changed"
    for label, _, _ in _changed(old["inputs"], new["inputs"]):
        yield f"{label} is stale"
    files = [name for name, _, _ in _changed(old["code"], new["code"])]
    if files:
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        yield f"{', '.join(files[:3])}{more} changed"
    for name, before, after in _changed(old["packages"], new["packages"]):
        yield f"{name} {before} → {after}"
    for name in ("python", "backend", "threads"):
        if old[name] != new[name]:
            yield f"{name} {old[name]} → {new[name]}"


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield name, old.get(name), new.get(name)


def _data_stamp(step: Step) -> str:
    dataset = step.parameters.get(DATASET_PARAMETER, "")
    if not isinstance(dataset, str) or not dataset or any(find_references(dataset)):
        return ""
    return source_stamp(dataset)


def _code_hashes(notebook_folder: Path) -> dict[str, str]:
    """Hash the helper package and the modules beside the notebook."""
    files = [
        file for file in sorted(PACKAGE.rglob("*.py")) if file.relative_to(PACKAGE).parts[0] not in LOOKING_ON
    ]
    hashes = {f"workbench/{file.relative_to(PACKAGE)}": _hash_file(file) for file in files}
    return hashes | {show_path(file): _hash_file(file) for file in notebook_folder.glob("*.py")}


def _hash_file(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "…"

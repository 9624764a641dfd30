"""The catalog of datasets and pretrained weights, data/catalog.yaml of the project."""

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.runs import project_root, show_path

KINDS = {
    "package": {"function"},
    "wheel": {"package", "version", "sha256", "member"},
    "keras": {"module"},
    "url": {"url", "sha256"},
}  # what a source of each kind has to say
_REQUIRED = {
    "datasets": ("title", "task", "source", "licence", "citation"),
    "weights": ("title", "source", "licence", "citation"),
}


def load_catalog(section: str = "datasets") -> dict[str, dict[str, Any]]:
    """Return the entries of a section of the catalog ("datasets" or "weights") by name.

    Raises:
        WorkbenchError: The catalog is not valid; the message names the entry and what is wrong with it.
    """
    import yaml

    path = catalog_path()
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML has it
        catalog = yaml.load(path.read_text(encoding="utf-8"), loader)
        entries = catalog[section]
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, TypeError, KeyError, ValueError) as error:
        raise WorkbenchError(
            f"{show_path(path)} cannot be read: {error!r}\n"
            f"It needs a mapping {section!r} of names to entries; data/README.md explains them."
        ) from error
    for name, entry in entries.items():
        _check_entry(path, name, entry, _REQUIRED[section])
    return entries


def find_entry(name: str, section: str = "datasets") -> dict[str, Any]:
    """Return one entry of the catalog.

    Raises:
        WorkbenchError: There is none of that name; the message gives the nearest names.
    """
    entries = load_catalog(section)
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(name, entries, n=3, cutoff=0.5)
    known = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    known += f"It has {', '.join(entries)}." if entries else "It is empty or not there."
    advice = "Give one of these names" if entries else "Add an entry"
    if section == "datasets":
        advice += ", folder:PATH for images, csv:PATH for a table of texts, or run:PATH for a prepared run"
    raise WorkbenchError(
        f"There is no {name!r} among the {section} of {show_path(catalog_path())}.\n{known}\n{advice}."
    )


def source_name(source: Mapping[str, Any]) -> str:
    """Return in words what a source of the catalog is."""
    match source["kind"]:
        case "package":
            return f"the function {source['function']}"
        case "keras":
            return f"keras.datasets.{source['module']}"
        case "wheel":
            return f"the wheel {source['package']} {source['version']}"
    return source["url"]


def entry_stamp(entry: Mapping[str, Any]) -> str:
    """Return the identity of what an entry gives: its checksum, source and options, not its prose."""
    content = {key: value for key, value in entry.items() if key not in ("title", "licence", "citation")}
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def catalog_path() -> Path:
    """Return where the project's catalog is."""
    return project_root() / "data" / "catalog.yaml"


def _check_entry(path: Path, name: str, entry: Any, required: Sequence[str]) -> None:
    problem = ""
    if not isinstance(entry, dict) or not set(required) <= entry.keys():
        problem = f"needs {', '.join(required)}"
    elif entry["source"].get("kind") not in KINDS:
        problem = f"has a source of kind {entry['source'].get('kind')!r}; there are {', '.join(KINDS)}"
    elif missing := KINDS[entry["source"]["kind"]] - entry["source"].keys():
        problem = f"has a source without {', '.join(sorted(missing))}"
    if problem:
        raise WorkbenchError(
            f"The entry {name!r} of {show_path(path)} {problem}.\nThe fields are explained in data/README.md."
        )

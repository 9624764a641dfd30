"""The manifest of a report: what ran, from what, and a hash of everything that came out.

It is plain JSON, lies in the report, and is all that `workbench verify` needs besides the project.
"""

import base64
import concurrent.futures
import csv
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from workbench.events import spell
from workbench.provenance import git_state
from workbench.reports.collect import DATA_CARD, Report
from workbench.reports.figure_data import pack_numbers
from workbench.reports.privacy import lists_samples
from workbench.runs import DIFF_FILE, RunRecord, project_root, read_json, resolve_path, show_path

VERSION = 1
PREDICTIONS = "artifacts/predictions.parquet"
# What is final once a run has finished.
_RESULTS = ("run.json", "events.jsonl", "executed.ipynb", DIFF_FILE, "artifacts")
_NOT_CODE = (
    "parameters",
    "inputs",
    "data",
    "packages",
    "python",
    "backend",
    "threads",
    "env",
)  # of a fingerprint
_ENVIRONMENT = ("python", "backend", "packages", "machine", "threads", "deterministic")  # of the provenance


def build_manifest(report: Report) -> dict[str, Any]:
    """Return what a report vouches for: its pipelines and every run, with parameters, data and results."""
    labels = {show_path(step.folder): step.label for step in report.steps if step.folder}
    runs = []
    for step in report.steps:
        private = step.is_private and not report.settings.share_samples
        found = describe_run(step.run, step.label, labels, private) if step.run else {"label": step.label}
        runs.append({**found, "state": step.state, "notebook": step.notebook})
    return {
        "version": VERSION,
        "name": report.name,
        "title": report.title,
        "text": show_path(report.settings.file) if report.settings.file else None,
        "builder": git_state(project_root()),
        "states": report.pipelines,
        "pipelines": [_describe_file(file) for file in dict.fromkeys(report.files)],
        "runs": runs,
    }


def describe_run(
    run: RunRecord, label: str, labels: Mapping[str, str], private: bool = False
) -> dict[str, Any]:
    """Return all that a run was made from and all that it found, as plain JSON.

    Args:
        run: A run, finished or not.
        label: What the report calls it.
        labels: The labels of run folders; they stand for the folders in what was found, since a folder is
            called otherwise when a step runs again.
        private: Whether tables of single samples are only hashed.
    """
    provenance = run.details["provenance"]
    step = run.step or {}
    parts = step.get("parts", {})
    return {
        "label": label,
        "pipeline": step.get("pipeline", ""),
        "step": step.get("step", run.name),
        "reference": step.get("label", run.name),  # what other steps of its pipeline call it
        "folder": show_path(run.path),
        "notebook": step.get("notebook", ""),
        "fingerprint": step.get("fingerprint", ""),
        "declared": parts.get("parameters", run.parameters),
        "parameters": run.parameters,
        "threads": step.get("threads"),
        "env": parts.get("env", {}),
        "code": {key: value for key, value in parts.items() if key not in _NOT_CODE},
        "git": provenance.get("git"),
        "environment": {key: provenance[key] for key in _ENVIRONMENT if provenance.get(key)},
        "dataset": run.dataset,
        "speed": {key: value for key, value in run.details.get("speed", {}).items() if key != "rates"},
        "started": run.details["started"],
        "metrics": spell(run.metrics),
        "history": _read_history(run),
        "predictions": describe_predictions(run.path / PREDICTIONS),
        "files": hash_files(run.path),
        **_describe_results(run, labels, private),
    }


def _describe_results(run: RunRecord, labels: Mapping[str, str], private: bool) -> dict[str, Any]:
    tables: dict[str, dict[str, str]] = {}
    for name, path in run.tables().items():
        text = name_folders(path.read_text(encoding="utf-8"), labels)
        hidden = private and lists_samples(text.partition("\n")[0].split(","))
        tables[name] = {"sha256": hash_text(text)} if hidden else {"csv": text}
    figures = {
        name: _describe_figure(name_folders(path.read_text(encoding="utf-8"), labels))
        for name, path in run.figures().items()
    }
    card = canonical(read_json(run.path / DATA_CARD) or {})
    return {
        "tables": tables,
        "figures": figures,
        "card": hash_text(name_folders(card, labels)),
        "verdicts": [name_folders(sentence, labels) for sentence in run.details.get("verdicts", [])],
    }


def name_folders(text: str, labels: Mapping[str, str]) -> str:
    """Return `text` with the labels of run folders in place of their paths."""
    for folder in sorted(labels, key=len, reverse=True):
        text = text.replace(folder, f"[{labels[folder]}]")
    return text


def same_step(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two entries are runs of one step, which then differ in their matrix values."""
    return (one["pipeline"], one["step"]) == (other["pipeline"], other["step"])


def canonical(value: Any) -> str:
    """Return `value` as JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest, 64 hexadecimal digits: what a paper quotes."""
    return hash_text(canonical(manifest))


def hash_text(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a run that never changes once it has finished."""
    paths = [path for name in _RESULTS for path in _files(folder / name)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        hashes = pool.map(_hash_file, paths)
    return {str(path.relative_to(folder)): found for path, found in zip(paths, hashes, strict=True)}


def read_rows(text: str) -> list[dict[str, str]]:
    """Return the rows of a saved table as text by column."""
    return list(csv.DictReader(io.StringIO(text)))


def describe_predictions(path: Path) -> dict[str, Any] | None:
    """Return a hash of the logical content of stored predictions, and the class that was chosen each time.

    The parquet file's own bytes depend on the version that wrote it, so that they are not compared.
    """
    if not path.is_file():
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    found = hashlib.sha256()
    for name in sorted(table.column_names):
        column = table[name]
        numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        values = column.to_numpy().tobytes() if numeric else canonical(column.to_pylist()).encode()
        found.update(name.encode() + b"\0" + str(column.type).encode() + b"\0" + values)
    chosen = [table[name].to_numpy() for name in table.column_names if name.startswith("p_")]
    classes = np.argmax(chosen, axis=0).astype("<u2") if chosen else np.zeros(0, "<u2")
    packed = base64.b64encode(zlib.compress(classes.tobytes(), 9)).decode()
    return {"sha256": found.hexdigest(), "samples": len(table), "classes": packed}


def unpack_classes(predictions: Mapping[str, Any]) -> np.ndarray:
    """Return the (n,) class numbers that `describe_predictions` packed."""
    return np.frombuffer(zlib.decompress(base64.b64decode(predictions["classes"])), "<u2")


def _describe_figure(text: str) -> dict[str, str]:
    """Return hash and numbers of what a saved figure shows, whatever its look."""
    figure = json.loads(text)
    layout = {key: value for key, value in figure.get("layout", {}).items() if key != "template"}
    shown = {"data": figure["data"], "layout": layout}
    return {"sha256": hash_text(canonical(shown)), **pack_numbers(shown)}


def _read_history(run: RunRecord) -> dict[str, list[Any]]:
    """Return each metric of each training by epoch."""
    history: dict[str, list[Any]] = {}
    for event in run.events():
        if event["type"] == "epoch":
            for name, value in event["metrics"].items():
                number = event.get("fit", 1)
                history.setdefault(name if number == 1 else f"{name} ({number})", []).append(spell(value))
    return history


def _describe_file(file: str) -> dict[str, str]:
    path = resolve_path(file)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return {"file": file, "text": text}


def _files(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    return sorted(inner for inner in path.rglob("*") if inner.is_file() and not inner.name.startswith("."))


def _hash_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

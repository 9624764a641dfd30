"""Run folders that nothing refers to, and their removal; nothing else ever deletes a run."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.pipelines.loading import load_pipeline
from workbench.pipelines.locking import locked
from workbench.pipelines.planning import plan_pipeline
from workbench.pipelines.spec import find_texts
from workbench.pipelines.state import show
from workbench.runs import RUN_FILE, STATE_FILE, STEP_FILE, is_alive, project_root, read_json

_RUN_PATH = re.compile(r"runs/[\w.,=+%~-]+(?:/[\w.,=+%~-]+)+")
_RETIRED = ".removed-"


@dataclass(frozen=True)
class Removable:
    """A run folder that may go."""

    path: str  # relative to the project's root
    size: int  # bytes that are free when it is gone
    reason: str


def find_removable(root: Path | None = None) -> list[Removable]:
    """Return the run folders that no pipeline, no report and no run that is kept refers to.

    A pipeline refers to the runs of its `state.json`, and to those that would be fresh for its file as it is
    now. The folders of a pipeline that is running, or whose file cannot be read, are kept.
    """
    root = root or project_root()
    folders = sorted(set(_run_folders(root / "runs")))
    kept = {folder for folder in folders if is_alive(read_json(folder / RUN_FILE) or {})}
    kept |= _named_by_pipelines(root, folders)
    kept |= _named_by_reports(root)
    _follow(root, kept)
    return [
        Removable(show(folder, root), _size(folder), _reason(folder, root))
        for folder in folders
        if folder not in kept
    ]


def remove_runs(found: Sequence[Removable], root: Path | None = None) -> int:
    """Remove run folders and return how many; each is gone at once, even if this is interrupted.

    What has come to be referred to since `find_removable` is kept.
    """
    root = root or project_root()
    for leftover in (root / "runs").glob(f"**/{_RETIRED}*"):  # of a removal that was interrupted
        shutil.rmtree(leftover)
    still = {run.path for run in find_removable(root)}
    removed = 0
    for run in found:
        if run.path not in still:
            continue
        folder = root / run.path
        retired = folder.with_name(f"{_RETIRED}{folder.name}")
        folder.rename(retired)
        shutil.rmtree(retired)
        removed += 1
    return removed


def _run_folders(runs: Path) -> Iterator[Path]:
    for name in (RUN_FILE, STEP_FILE):
        for file in runs.glob(f"**/{name}"):
            if not any(part.startswith(".") for part in file.relative_to(runs).parts):
                yield file.parent


def _named_by_pipelines(root: Path, folders: Iterable[Path]) -> set[Path]:
    kept = set()
    for file in (root / "runs").glob(f"*/{STATE_FILE}"):
        steps = (read_json(file) or {}).get("steps", {})
        kept |= {root / entry["run"] for entry in steps.values() if entry.get("run")}
        with locked(file.parent, wait=False) as free:
            if not free:  # it is running: its state.json may lag behind
                kept |= {folder for folder in folders if folder.is_relative_to(file.parent)}
    for file in (root / "pipelines").glob("*.yaml"):
        try:
            plan = plan_pipeline(load_pipeline(file))
        except WorkbenchError:
            kept |= {folder for folder in folders if folder.is_relative_to(root / "runs" / file.stem)}
            continue
        kept |= {step.folder for step in plan.steps if step.folder is not None}
    return kept


def _named_by_reports(root: Path) -> set[Path]:
    kept = set()
    for page in (root / "reports").glob("*.html"):
        text = page.read_text(encoding="utf-8", errors="replace")
        for path in set(_RUN_PATH.findall(text)):  # of a run folder or of something in it
            kept |= {root / path, *(root / path).parents}
    return kept


def _follow(root: Path, kept: set[Path]) -> None:
    """Add to `kept` the run folders that parameters of kept runs name."""
    waiting = list(kept)
    while waiting:
        details = read_json(waiting.pop() / RUN_FILE) or {}
        for text in find_texts(details.get("parameters", {})):
            for path in _RUN_PATH.findall(text):
                if root / path not in kept:
                    kept.add(root / path)
                    waiting.append(root / path)


def _size(folder: Path) -> int:
    """Return the bytes of files that lie nowhere else; prepared arrays may be links into the cache."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            status = os.lstat(path)
            total += status.st_blocks * 512 if status.st_nlink == 1 else 0
    return total


def _reason(folder: Path, root: Path) -> str:
    if folder.parent == root / "runs" / "scratch":
        return "run by hand"
    details = read_json(folder / RUN_FILE) or {}
    return "replaced by a later run" if details.get("status") == "finished" else "not finished"

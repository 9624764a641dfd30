"""Folders under data/cache/ that are either complete or not there."""

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from workbench.runs import project_root, resolve_path

ABANDONED_AFTER = 24 * 3600  # seconds; a temporary folder this old belongs to nobody
_TEMPORARY = ".part-"


def cache_root(cache_dir: str | Path | None) -> Path:
    """Return the folder for everything fetched or prepared: `cache_dir`, or data/cache of the project."""
    return resolve_path(cache_dir) if cache_dir else project_root() / "data" / "cache"


def build_folder(target: Path, build: Callable[[Path], None]) -> None:
    """Make the folder `target` by `build(temporary folder)`; it appears whole or not at all.

    Of several processes that build the same at once, the first to finish wins and the others leave its result.
    """
    temporary = temporary_path(target)
    temporary.mkdir()
    try:
        build(temporary)
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def discard_folder(target: Path) -> None:
    """Remove a folder at once for every reader that opens it from now on."""
    retired = temporary_path(target)
    with contextlib.suppress(FileNotFoundError):  # another process was first
        target.rename(retired)
    shutil.rmtree(retired, ignore_errors=True)


def temporary_path(target: Path) -> Path:
    """Return a new name beside `target` for what is not finished, and clear away what was abandoned there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for path in target.parent.glob(f"{_TEMPORARY}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED_AFTER:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return target.with_name(f"{_TEMPORARY}{target.name[:64]}-{os.getpid()}-{uuid.uuid4().hex[:8]}")

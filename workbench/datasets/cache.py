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


def build_folder(parent: Path, build: Callable[[Path], str]) -> Path:
    """Make a folder in `parent` that appears whole or not at all, and return its path.

    Of several processes that build the same at once, the first to finish wins and the others use its result.

    Args:
        parent: Where it shall be.
        build: Fills the empty folder it is given, and returns the name that the folder shall have.
    """
    temporary = temporary_path(parent)
    temporary.mkdir()
    try:
        target = parent / build(temporary)
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():
                raise
        return target
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def discard_folder(folder: Path) -> None:
    """Remove a folder at once for every reader that opens it from now on."""
    retired = temporary_path(folder.parent)
    with contextlib.suppress(FileNotFoundError):  # another process was first
        folder.rename(retired)
    shutil.rmtree(retired, ignore_errors=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    temporary = temporary_path(path.parent)
    temporary.write_bytes(content)
    temporary.replace(path)


def temporary_path(parent: Path) -> Path:
    """Return a new name in `parent` for what is not finished, and clear away what was abandoned there."""
    parent.mkdir(parents=True, exist_ok=True)
    for path in parent.glob(f"{_TEMPORARY}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED_AFTER:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return parent / f"{_TEMPORARY}{os.getpid()}-{uuid.uuid4().hex[:8]}"

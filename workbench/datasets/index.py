"""Content identity of a folder of files that is cheap when nothing changed.

The first time every file is hashed. An index in the cache then remembers size, times and hash of each, so that the next
time only the directory is read.
"""

import hashlib
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workbench.datasets.folders import Listing
from workbench.runs import write_json

_SETTLED_AFTER = 2_000_000_000  # ns; a younger file may still change without its time changing


def folder_stamp(listing: Listing, cache: Path) -> str:
    """Return the hex identity of a listed folder: the names and contents of its images.

    Args:
        listing: The folder as `scan_folder` gives it.
        cache: The cache's root, where the index is kept.
    """
    place = hashlib.sha256(str(listing.folder).encode()).hexdigest()[:32]
    path = cache / "folders" / f"{place}.json"
    seen = hashlib.sha256(repr((listing.files, listing.stats)).encode()).hexdigest()
    index = _read(path)
    if index.get("seen") == seen:
        return index["stamp"]
    started = time.time_ns()
    known = index.get("files", {})
    files = {}
    stamp = hashlib.sha256()
    for name, stat in zip(listing.files, listing.stats, strict=True):
        old = known.get(name)
        if old and old[1:] == [*stat]:
            digest = old[0]
        else:
            digest = hashlib.sha256((listing.folder / name).read_bytes()).hexdigest()[:32]
        files[name] = [digest, *stat]
        stamp.update(f"{digest} {name}\n".encode())
    settled = {name: facts for name, facts in files.items() if started - max(facts[2:]) > _SETTLED_AFTER}
    path.parent.mkdir(parents=True, exist_ok=True)
    index = {"stamp": stamp.hexdigest()[:32], "files": settled}
    write_json(path, index | ({"seen": seen} if len(settled) == len(files) else {}))
    return index["stamp"]


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or damaged: everything is hashed again
        return {}

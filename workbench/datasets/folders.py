"""A folder of images: one subfolder for each class, optionally under train/, val/ and test/."""

import hashlib
import os
import time
from array import array
from collections import Counter
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
        files: The paths of its images relative to it, with `/`, folder by folder.
        stats: (n, 3) int64, size in bytes and times of change of content and of status (ns) of each image.
        folders: How many images lie directly in it (as "") and in each subfolder, in the order of `files`.
        others: How many files are no images.
        time: When the folder was read (ns).
    """

    folder: Path
    files: list[str]
    stats: np.ndarray
    folders: dict[str, int]
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
    files, folders, stats, others = [], {}, array("q"), 0
    for path, below, names, descriptor in os.fwalk(folder, follow_symlinks=True, onerror=_refuse):
        below[:] = sorted(name for name in below if name[0] != ".")
        place = path[len(str(folder)) + 1 :]
        images = sorted(name for name in names if name.lower().endswith(SUFFIXES) and name[0] != ".")
        for name in images:
            files.append(f"{place}/{name}" if place else name)
            stats.extend(_stat(name, descriptor))
        folders[place] = len(images)
        others += sum(name[0] != "." for name in names) - len(images)
    if not files:
        raise WorkbenchError(
            f"There is no image in {show_path(folder)}, but {others} other files.\n"
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
    layout = _read_layout(listing)
    class_names = _read_classes(listing, layout)
    counts = list(listing.folders.values())
    labels = [class_names.index(name) if name in class_names else -1 for _, name in layout]
    files = np.array(listing.files)
    return Samples(
        task="image-classification",
        ids=files,
        labels=np.repeat(np.array(labels, np.int64), counts),
        parts=np.repeat(np.array([part for part, _ in layout], "<U5"), counts),
        class_names=class_names,
        decode=partial(_decode, listing.folder, files, options, learn),
        facts={"files_ignored": listing.others},
    )


def _refuse(error: OSError) -> None:
    raise WorkbenchError(
        f"The folder {show_path(Path(error.filename))} cannot be read: {error.strerror}.\n"
        "Give yourself the right to read it, or move it out of the dataset."
    ) from error


def _stat(name: str, descriptor: int) -> tuple[int, int, int]:
    try:
        status = os.stat(name, dir_fd=descriptor)
    except OSError:  # a link to nowhere; it is reported as unreadable when it is decoded
        return 0, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _check_names(folder: Path, files: list[str]) -> None:
    for file in files:
        try:
            file.encode()
        except UnicodeEncodeError as error:
            raise WorkbenchError(
                f"{show_path(folder)} holds an image whose name is not UTF-8: {os.fsencode(file)!r}.\n"
                "Rename it, for instance with: convmv -f latin1 -t utf8 -r --notest FOLDER"
            ) from error


def _read_layout(listing: Listing) -> list[tuple[str, str]]:
    """Return the given split ("" for none) and the class ("" for none) that each folder stands for."""
    levels = [tuple(folder.split("/")) if folder else () for folder in listing.folders]
    is_split = any(names[0] == "train" for names in levels if len(names) > 1)
    strange = sorted({names[0] for names in levels if names} - set(PARTS))
    if is_split and strange:
        raise WorkbenchError(
            f"{show_path(listing.folder)} holds train/ with subfolders, and beside it {_some(strange)}.\n"
            "Keep only train/, val/ and test/ at the top, each with one subfolder for each class."
        )
    if not is_split and set(PARTS).issuperset(names[0] for names in levels if names):
        raise WorkbenchError(
            f"{show_path(listing.folder)} holds train/, val/ or test/, but no folders of classes in them.\n"
            "Put the images into one subfolder for each class, such as train/cat/ and train/dog/."
        )
    layout = []
    start = 0
    for names, count in zip(levels, listing.folders.values(), strict=True):
        part, *below = names if is_split and names else ("", *names)
        if count and not below:
            raise WorkbenchError(
                f"{count} images in {show_path(listing.folder)} lie in no class folder: "
                f"{_some(listing.files[start : start + count])}.\n"
                "Put every image into a subfolder that is named after its class."
            )
        layout.append((part, below[0] if below else ""))
        start += count
    return layout


def _read_classes(listing: Listing, layout: list[tuple[str, str]]) -> tuple[str, ...]:
    """Return the classes that can be learned, sorted."""
    where = show_path(listing.folder)
    trained, tested = Counter(), Counter()  # images by class
    for (part, name), count in zip(layout, listing.folders.values(), strict=True):
        if name:
            (trained if part in ("", "train") else tested)[name] += count
    empty = [name for name, count in trained.items() if not count]
    if empty:
        raise WorkbenchError(
            f"The class folder {empty[0]!r} in {where} holds no image.\n"
            "Add images to it, or remove the folder if there is no such class."
        )
    unknown = sorted(set(+tested) - set(trained))
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
    return tuple(sorted(trained))


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

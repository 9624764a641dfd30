"""From a dataset spec to its source: what it is, the identity of its content, and how to read it."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from workbench.datasets.catalog import entry_stamp, find_entry, source_name
from workbench.datasets.folders import read_folder, scan_folder
from workbench.datasets.index import FolderIndex
from workbench.datasets.options import Options
from workbench.datasets.samples import Samples
from workbench.datasets.storage import sha256_of
from workbench.datasets.tables import read_table, table_format
from workbench.errors import WorkbenchError
from workbench.runs import resolve_path, show_path

_UNSTATED = "not stated"
_TASK_OPTIONS = {
    "image-classification": ("image_size",),
    "text-classification": ("text_column", "label_column"),
}
_ENTRY_OPTIONS = ("image_size", "test_fraction", "text_column", "label_column", "on_error")


@dataclass(frozen=True)
class Source:
    """Where samples come from.

    Args:
        name: Short name of the dataset.
        about: Title, source, licence and citation for the data card.
        options: The options asked for, completed by what the catalog says.
        is_known: Whether `stamp` is cheap; if not, it is so after the samples were decoded.
        stamp: Returns the hex identity of the content.
        read: Reads the samples.
    """

    name: str
    about: dict[str, Any]
    options: Options
    is_known: Callable[[], bool]
    stamp: Callable[[], str]
    read: Callable[[], Samples]


def find_source(spec: str, options: Options, cache: Path) -> Source:
    """Return the source that a spec names: a catalog name, folder:PATH or csv:PATH.

    Args:
        spec: The spec.
        options: How it shall be prepared.
        cache: The cache's root.

    Raises:
        WorkbenchError: There is no such source, or an option does not apply to it.
    """
    kind, colon, path = spec.partition(":")
    if not colon:
        return _catalog_source(spec, options, cache)
    if kind == "folder" and path:
        return _folder_source(resolve_path(path), options, cache)
    if kind == "csv" and path:
        return _table_source(resolve_path(path), options)
    raise WorkbenchError(
        f"{spec!r} is not a dataset.\nGive a name in data/catalog.yaml, folder:PATH for images in one "
        "subfolder for each class, csv:PATH for a table of texts, or run:PATH for a run of 01_prepare_data."
    )


def _catalog_source(name: str, options: Options, cache: Path) -> Source:
    entry = find_entry(name)
    _check_options(options, entry["task"], name)
    asked, plain = options.to_json(), Options().to_json()
    preset = {key: entry[key] for key in _ENTRY_OPTIONS if key in entry and asked[key] == plain[key]}
    options = dataclasses.replace(options, **preset)
    about = {key: entry[key] for key in ("title", "licence", "citation")}
    return Source(
        name=name,
        about=about | {"source": source_name(entry["source"])},
        options=options,
        is_known=lambda: True,
        stamp=partial(entry_stamp, entry),
        read=partial(_read_entry, entry, options, cache),
    )


def _read_entry(entry: Mapping[str, Any], options: Options, cache: Path) -> Samples:
    if entry["source"]["kind"] in ("package", "keras"):
        from workbench.datasets.arrays import read_keras, read_package

        return (read_package if entry["source"]["kind"] == "package" else read_keras)(entry, options)
    from workbench.datasets.fetch import fetch_member  # imports the parts of Python that speak HTTP

    path = fetch_member(entry["source"], cache)
    if path.is_dir():
        return read_folder(scan_folder(path), options, learn=lambda hashes: None)
    return read_table(path, options, entry.get("labels"))


def _folder_source(folder: Path, options: Options, cache: Path) -> Source:
    _check_options(options, "image-classification", show_path(folder))
    listing = scan_folder(folder)
    index = FolderIndex(listing, cache)
    return Source(
        name=folder.name,
        about=_own_data(folder.name, f"{len(listing.files)} images in the folder {show_path(folder)}"),
        options=options,
        is_known=index.is_known,
        stamp=index.stamp,
        read=partial(read_folder, listing, options, index.learn),
    )


def _table_source(path: Path, options: Options) -> Source:
    _check_options(options, "text-classification", show_path(path))
    table_format(path)
    if not path.is_file():
        raise WorkbenchError(
            f"There is no file {show_path(path)}{' (it is a folder)' * path.is_dir()}.\n"
            "Give csv:PATH with the path of a table; a relative path starts at the project root."
        )
    return Source(
        name=path.name.partition(".")[0],
        about=_own_data(path.name, f"the table {show_path(path)}"),
        options=options,
        is_known=lambda: True,
        stamp=partial(sha256_of, path),
        read=partial(read_table, path, options),
    )


def _own_data(title: str, source: str) -> dict[str, str]:
    return {"title": title, "licence": _UNSTATED, "citation": _UNSTATED, "source": source}


def _check_options(options: Options, task: str, what: str) -> None:
    """Refuse options that say nothing about data of this task."""
    asked, plain = options.to_json(), Options().to_json()
    for other, names in _TASK_OPTIONS.items():
        given = [name for name in names if asked[name] != plain[name]]
        if other != task and given:
            raise WorkbenchError(
                f"{given[0]}={asked[given[0]]!r} was given, but {what!r} is data for {task}.\n"
                f"Leave {given[0]} out."
            )

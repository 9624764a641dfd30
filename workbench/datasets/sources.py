"""From a dataset spec to its source: what it is, the identity of its content, and how to read it."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from workbench.datasets.catalog import entry_stamp, find_entry
from workbench.datasets.fetch import describe_source, fetch_member, sha256_of
from workbench.datasets.folders import read_folder, scan_folder
from workbench.datasets.index import FolderIndex
from workbench.datasets.options import Options
from workbench.datasets.samples import Samples
from workbench.datasets.tables import read_table, table_format
from workbench.errors import WorkbenchError
from workbench.runs import resolve_path, show_path

_UNSTATED = "not stated"
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
    """
    kind, colon, rest = spec.partition(":")
    if not colon:
        return _catalog_source(spec, options, cache)
    if kind not in ("folder", "csv") or not rest:
        raise WorkbenchError(
            f"{spec!r} is not a dataset.\nGive a name in data/catalog.yaml, folder:PATH for images in one subfolder a "
            "class, csv:PATH for a table of texts, or run:PATH for a run of 01_prepare_data."
        )
    path = resolve_path(rest)
    return _folder_source(path, options, cache) if kind == "folder" else _table_source(path, options)


def _catalog_source(name: str, options: Options, cache: Path) -> Source:
    entry = find_entry(name)
    preset = {key: entry[key] for key in _ENTRY_OPTIONS if key in entry}
    plain = Options()
    for key, value in preset.items():
        if getattr(options, key) == getattr(plain, key):
            options = dataclasses.replace(options, **{key: value})
    return Source(
        name=name,
        about={
            "title": entry["title"],
            "source": _describe(entry["source"]),
            "licence": entry["licence"],
            "citation": entry["citation"],
        },
        options=options,
        is_known=lambda: True,
        stamp=partial(entry_stamp, entry),
        read=partial(_read_entry, entry, options, cache),
    )


def _read_entry(entry: Mapping[str, Any], options: Options, cache: Path) -> Samples:
    source = entry["source"]
    if source["kind"] in ("package", "keras"):
        from workbench.datasets.arrays import read_keras, read_package

        return (read_package if source["kind"] == "package" else read_keras)(entry, options)
    path = fetch_member(source, cache)
    if path.is_dir():
        return read_folder(scan_folder(path), options, learn=lambda hashes: None)
    return read_table(path, options, entry.get("labels"))


def _folder_source(folder: Path, options: Options, cache: Path) -> Source:
    listing = scan_folder(folder)
    index = FolderIndex(listing, cache)
    return Source(
        name=folder.name,
        about=_own_data(folder, f"folder of {len(listing.files)} images, {show_path(folder)}"),
        options=options,
        is_known=index.is_known,
        stamp=index.stamp,
        read=partial(read_folder, listing, options, index.learn),
    )


def _table_source(path: Path, options: Options) -> Source:
    table_format(path)
    if not path.is_file():
        raise WorkbenchError(
            f"There is no file {show_path(path)}{' (it is a folder)' * path.is_dir()}.\n"
            "Give csv:PATH with the path of a table; a relative path starts at the project root."
        )
    return Source(
        name=path.name.partition(".")[0],
        about=_own_data(path, f"table {show_path(path)}"),
        options=options,
        is_known=lambda: True,
        stamp=partial(sha256_of, path),
        read=partial(read_table, path, options),
    )


def _own_data(path: Path, source: str) -> dict[str, Any]:
    return {"title": path.name, "source": source, "licence": _UNSTATED, "citation": _UNSTATED}


def _describe(source: Mapping[str, Any]) -> str:
    if source["kind"] == "package":
        return f"function {source['function']}"
    if source["kind"] == "keras":
        return f"keras.datasets.{source['module']}"
    return f"{describe_source(source)}, sha256 {source['sha256']}"

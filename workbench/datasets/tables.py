"""A table of texts: .csv, .tsv, .parquet or .jsonl with a text column and a label column."""

import bz2
import gzip
import hashlib
import json
import lzma
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.datasets.options import Options
from workbench.datasets.samples import Content, Samples
from workbench.errors import WorkbenchError
from workbench.runs import show_path

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("csv", "tsv", "parquet", "jsonl")
TEXT_NAMES = ("text", "review", "sentence", "content", "comment", "document", "body", "message", "sequence")
LABEL_NAMES = ("label", "class", "category", "target", "sentiment", "rating", "y")
_MISSING = frozenset({"", "nan", "null", "<na>"})  # labels that are none, in lower case
_SHOWN = 5  # rows in a message


def read_table(path: Path, options: Options, labels: Mapping[str, str] | None = None) -> Samples:
    """Return the rows of a table of texts as samples; their ids are the rows' numbers, from 1.

    Args:
        path: The file; text formats may be compressed (.gz, .bz2, .xz).
        options: Which columns hold text and label, and what to do with incomplete rows.
        labels: Which labels to keep and what to call them; by default all, as they are.

    Raises:
        WorkbenchError: The table cannot be read, its columns are not clear, or a row lacks its text or label.
    """
    table = _read(path)
    text_column = _find_column(table, "text", options.text_column, TEXT_NAMES, path)
    label_column = _find_column(table, "label", options.label_column, LABEL_NAMES, path)
    texts = [_as_text(value) for value in table[text_column].tolist()]
    names = [_as_name(value) for value in table[label_column].tolist()]
    rows = [row for row, name in enumerate(names) if labels is None or name in labels]
    incomplete = {
        row: "no label" if texts[row].strip() else "no text"
        for row in rows
        if not names[row] or not texts[row].strip()
    }
    if incomplete and options.on_error == "raise":
        raise _incomplete(path, incomplete, text_column, label_column)
    rows = [row for row in rows if row not in incomplete]
    if labels is not None:
        names = [labels.get(name, name) for name in names]
    class_names = _class_names({names[row] for row in rows}, labels, path, label_column)
    index = {name: label for label, name in enumerate(class_names)}
    return text_samples(
        texts=[texts[row] for row in rows],
        labels=np.array([index[names[row]] for row in rows], np.int64),
        ids=[str(row + 1) for row in rows],
        class_names=class_names,
        facts={"left_out": {f"row {row + 1}": reason for row, reason in incomplete.items()}},
    )


def text_samples(
    texts: Sequence[str],
    labels: np.ndarray,
    ids: Sequence[str],
    class_names: Sequence[str],
    parts: np.ndarray | None = None,
    facts: dict[str, Any] | None = None,
) -> Samples:
    """Return texts in memory as samples."""
    column = np.empty(len(texts), object)
    column[:] = texts
    return Samples(
        task="text-classification",
        ids=np.array(ids, str),
        labels=labels,
        parts=np.full(len(texts), "", "<U5") if parts is None else parts,
        class_names=tuple(class_names),
        decode=partial(_take_texts, column),
        facts=facts or {},
    )


def _take_texts(texts: np.ndarray, rows: np.ndarray, scratch: Path) -> Content:
    chosen = texts[rows]
    digests = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in chosen]
    lengths = np.array([len(text) for text in chosen])
    return Content(
        blocks=[chosen],
        shape=chosen.shape,
        digests=np.array(digests, "S16"),
        rows=np.arange(len(rows)),
        facts={
            "characters": {
                "shortest": int(lengths.min()),
                "median": float(np.median(lengths)),
                "longest": int(lengths.max()),
            }
        },
    )


def table_format(path: Path) -> str:
    """Return the format that a file's name ends in, before a suffix of compression."""
    for suffix in reversed(path.suffixes):
        if suffix[1:].lower() in FORMATS:
            return suffix[1:].lower()
    raise WorkbenchError(
        f"{show_path(path)} is not a table of a known format.\n"
        f"Give a file whose name ends in {', '.join(f'.{name}' for name in FORMATS)}."
    )


def _read(path: Path) -> "pd.DataFrame":
    import pandas as pd

    format = table_format(path)
    try:
        if format == "parquet":
            return pd.read_parquet(path)
        if format == "jsonl":
            return _read_json_lines(path)
        return pd.read_csv(path, sep="\t" if format == "tsv" else ",", dtype=str, keep_default_na=False)
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except (ValueError, OSError) as error:  # pandas' and Arrow's own errors are ValueErrors
        raise WorkbenchError(
            f"{show_path(path)} cannot be read as {format}: {error}\n"
            "Open it in an editor at the place that is named, or save it again from the program that made it."
        ) from error


def _read_json_lines(path: Path) -> "pd.DataFrame":
    import pandas as pd

    records = []
    for number, line in enumerate(_read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode())
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number}: {error}") from error
        if not isinstance(record, dict):
            raise ValueError(f'line {number}: not an object, such as {{"text": …, "label": …}}')
        records.append(record)
    return pd.DataFrame(records)


def _read_lines(path: Path) -> Iterator[bytes]:
    opener = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(path.suffix.lower(), open)
    with opener(path, "rb") as file:
        yield from file


def _find_column(table: "pd.DataFrame", kind: str, asked: str, usual: Sequence[str], path: Path) -> str:
    """Return the column that was asked for, or the only one with a usual name."""
    columns = [str(column) for column in table.columns]
    matches = [asked] if asked in columns else []
    if not asked:
        matches = [column for column in columns if column.strip().lower() in usual]
    if len(matches) == 1:
        return matches[0]
    if asked:
        received = f"has no column {asked!r}"
    elif matches:
        received = f"has several columns that could hold the {kind}: {', '.join(map(repr, matches))}"
    else:
        received = f"has no column that is called like a {kind} ({', '.join(usual)})"
    raise WorkbenchError(
        f"{show_path(path)} {received}.\nIts columns are {', '.join(map(repr, columns))}.\n"
        f"Give {kind}_column with the name of one of them."
    )


def _as_text(value: Any) -> str:
    return "" if value is None or value != value else str(value)  # NaN differs from itself


def _as_name(value: Any) -> str:
    """Return a label as the name of a class, "" if it is missing; 3.0 becomes "3"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    name = _as_text(value).strip()
    return "" if name.lower() in _MISSING else name


def _class_names(
    names: set[str], labels: Mapping[str, str] | None, path: Path, column: str
) -> tuple[str, ...]:
    """Return the classes, numbers in the order of their values."""
    if len(names) < 2:
        raise WorkbenchError(
            f"Column {column!r} of {show_path(path)} has {len(names)} class{'es' * (len(names) != 1)}"
            f"{': ' * bool(names)}{', '.join(names)}.\n"
            "Classification needs at least two. Give another label_column, or add rows of other classes."
        )
    if labels is not None:
        return tuple(name for name in dict.fromkeys(labels.values()) if name in names)
    try:
        return tuple(sorted(names, key=lambda name: (float(name), name)))
    except ValueError:
        return tuple(sorted(names))


def _incomplete(path: Path, rows: dict[int, str], text_column: str, label_column: str) -> WorkbenchError:
    lacking = [f"row {row + 1} ({reason})" for row, reason in list(rows.items())[:_SHOWN]]
    return WorkbenchError(
        f"{show_path(path)} has {len(rows)} incomplete row{'s' * (len(rows) != 1)}, with no text in column "
        f"{text_column!r} or no label in column {label_column!r}: "
        f"{', '.join(lacking)}{', …' * (len(rows) > _SHOWN)}.\n"
        'Fill or remove them, or give on_error="skip" to leave incomplete rows out and list them.'
    )


def _not_utf8(path: Path) -> WorkbenchError:
    """Return the error for a text file in another encoding, with the place of its first strange byte."""
    offset = 0
    for number, line in enumerate(_read_lines(path), start=1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            return WorkbenchError(
                f"{show_path(path)} is not UTF-8: line {number} holds the byte 0x{line[error.start]:02x}, "
                f"byte {offset + error.start} of the file.\n"
                "Convert it from the encoding that it has, for instance with: "
                f"iconv -f LATIN1 -t UTF-8 {path.name} > utf8-{path.name}"
            )
        offset += len(line)
    raise AssertionError(f"{path} is UTF-8 after all")

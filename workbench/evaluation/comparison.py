"""Runs beside one another: the parameters in which they differ, and what came out."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.runs import RunRecord, describe_status, show_path

if TYPE_CHECKING:
    import pandas as pd

_ABOUT = ("run", "name", "status", "started")  # the first columns of a comparison
_PARAMETERS_IN_NAME = 2
_LENGTH_IN_NAME = 24  # characters of a parameter
_NOT_COMPARED = ("run_dir",)  # a parameter that says where a run is, not what it does


@dataclass(frozen=True)
class Comparison:
    """A table of runs and which of its columns are what."""

    table: "pd.DataFrame"  # one row a run; the columns run, name, status, started, `parameters`, `results`
    parameters: tuple[str, ...]  # those in which the runs differ
    results: tuple[str, ...]  # epochs done, validation after the last epoch, final metrics
    events: dict[str, list[dict[str, Any]]]  # the event log of each run by its name, in the order of the rows


def tabulate_runs(records: Sequence[RunRecord]) -> Comparison:
    """Return the table of runs, with the parameters that are not the same in all of them.

    Finished and unfinished runs have their completed epochs and their validation metrics after the last one,
    finished ones the final metrics too.

    Args:
        records: Runs, of whatever notebooks.
    """
    import pandas as pd

    differing = _differing_parameters(records)
    names = name_runs(records)
    logs = [record.events() for record in records]
    results = [_results(record, events) for record, events in zip(records, logs, strict=True)]
    named = list(dict.fromkeys(name for row in results for name in row))
    columns = {name: f"{name} (result)" if name in (*differing, *_ABOUT) else name for name in named}
    rows = []
    for record, name, row in zip(records, names, results, strict=True):
        about = (show_path(record.path), name, describe_status(record.details), record.details["started"])
        rows.append(
            dict(zip(_ABOUT, about, strict=True))
            | {column: _plain(record.parameters.get(key)) for key, column in differing.items()}
            | {columns[key]: value for key, value in row.items()}
        )
    table = pd.DataFrame(rows, columns=[*_ABOUT, *differing.values(), *columns.values()], dtype=object)
    return Comparison(
        table, tuple(differing.values()), tuple(columns.values()), dict(zip(names, logs, strict=True))
    )


def name_runs(records: Sequence[RunRecord]) -> list[str]:
    """Return a different name for each run: its label, and what sets it apart from those of the same label.

    That is, as far as it does, the first parameters that differ, the time of the start, or the folder.
    """
    names = [record.label for record in records]
    for tell_apart in (_tell_parameters, _tell_start, _tell_folder):
        count = Counter(names)
        alike = {name: [r for r, n in zip(records, names, strict=True) if n == name] for name in count}
        names = [
            f"{name} {tell_apart(record, alike[name])}".rstrip() if count[name] > 1 else name
            for record, name in zip(records, names, strict=True)
        ]
    return names


def _tell_parameters(record: RunRecord, alike: Sequence[RunRecord]) -> str:
    differing = list(_differing_parameters(alike))[:_PARAMETERS_IN_NAME]
    return " ".join(f"{key}={_brief(record.parameters.get(key))}" for key in differing)


def _tell_start(record: RunRecord, alike: Sequence[RunRecord]) -> str:
    starts = [other.details["started"] for other in alike]
    own = record.details["started"]
    return own[:19].replace("T", " ") if starts.count(own) == 1 else ""


def _tell_folder(record: RunRecord, alike: Sequence[RunRecord]) -> str:
    names = [other.path.name for other in alike]
    return record.path.name if names.count(record.path.name) == 1 else show_path(record.path)


def _differing_parameters(records: Sequence[RunRecord]) -> dict[str, str]:
    """Return the column of each parameter that differs, by the parameter's name."""
    keys = dict.fromkeys(key for record in records for key in record.parameters if key not in _NOT_COMPARED)
    return {
        key: f"{key} (parameter)" if key in _ABOUT else key
        for key in keys
        if len({json.dumps(record.parameters.get(key), sort_keys=True) for record in records}) > 1
    }


def _results(record: RunRecord, events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    epochs = [event for event in events if event["type"] == "epoch"]
    last: Mapping[str, Any] = epochs[-1]["metrics"] if epochs else {}
    row: dict[str, Any] = {"epochs done": epochs[-1]["epoch"] + 1} if epochs else {}
    row |= {f"last {name}": value for name, value in last.items() if name.startswith("val_")}
    return row | {name: value for name, value in record.metrics.items() if _is_number(value)}


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LENGTH_IN_NAME else f"{text[: _LENGTH_IN_NAME - 1]}…"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """Return a value that fits one cell: a list or mapping as JSON, NaN as a text that says so."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value

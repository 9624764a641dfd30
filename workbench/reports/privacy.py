"""What a report leaves out of data that are the user's own: whatever shows a single sample."""

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.runs import RUN_FILE, RunRecord, open_run, resolve_path

_OWN = ("folder:", "csv:")
_ABOUT_A_SAMPLE = ("id", "text", "sample", "image", "path", "left out")  # columns of tables


def uses_own_data(run: RunRecord) -> bool:
    """Tell whether the data of a run are a folder or a table of the user's, maybe through a prepared run.

    Data whose origin cannot be found out any more count as the user's own.
    """
    spec = ((run.dataset or {}).get("recipe") or {}).get("spec", "")
    if not isinstance(spec, str) or not spec.startswith("run:"):
        return str(spec).startswith(_OWN)
    prepared = resolve_path(spec.removeprefix("run:"))
    if not (prepared / RUN_FILE).is_file() or prepared == run.path:
        return True
    return uses_own_data(open_run(prepared))


def lists_samples(columns: Sequence[str]) -> bool:
    """Tell from the names of its columns whether a table has a row for each of some samples."""
    return any(column.strip('"').lower() in _ABOUT_A_SAMPLE for column in columns)


def shows_samples(figure: Mapping[str, Any]) -> bool:
    """Tell whether a plotly figure holds pictures."""
    layout = figure.get("layout", {})
    return bool(layout.get("images")) or any(trace.get("type") == "image" for trace in figure.get("data", ()))

"""How a run or a pipeline stands, read from its folder, for the panel's server and its notebook output."""

from pathlib import Path
from typing import Any

from workbench.runs import (
    EVENTS_FILE,
    RUN_FILE,
    STATE_FILE,
    describe_status,
    is_alive,
    read_json,
    resolve_path,
)

CHUNK = 256_000  # bytes of the log in one answer: the browser reads them in well under 50 ms
LONGEST_LINE = 16 * CHUNK


def read_log(run: Path, offset: int) -> dict[str, Any]:
    """Return the lines of a run's event log from a byte offset on, and how the run stands.

    Args:
        run: The run folder.
        offset: Where the answer to the last call ended; one beyond the log's end starts anew.

    Returns:
        `lines` (whole ones, at most 256 kB unless one is longer), `offset` (where they end), `size` (bytes in
        the log) and `status` (as of `describe_status`, or "missing").
    """
    details = read_json(run / RUN_FILE)
    missing = {"offset": 0, "size": 0, "lines": "", "status": "missing"}
    if details is None:
        return missing
    try:
        size, start, data = _read_from(run / EVENTS_FILE, offset)
    except OSError:
        return missing
    lines = data[: data.rfind(b"\n") + 1]
    return {
        "offset": start + len(lines),
        "size": size,
        "lines": lines.decode(errors="replace"),
        "status": describe_status(details),
    }


def read_pipeline(folder: Path) -> dict[str, Any]:
    """Return the title and the steps of a pipeline, from `state.json` in its folder.

    Returns:
        `title`; `steps`, each with `label`, `state`, `run` (an absolute path), `reason` and `error`; and
        `alive`: whether a living process runs the pipeline.
    """
    state = read_json(folder / STATE_FILE)
    if state is None:
        return {"title": folder.name, "steps": [], "alive": False}
    steps = [
        {
            "label": label,
            "run": str(resolve_path(entry["run"], folder)) if entry["run"] else "",
            "error": (entry["error"] or {}).get("error", ""),
            "state": entry["state"],
            "reason": entry["reason"],
        }
        for label, entry in state["steps"].items()
    ]
    return {"title": state["title"], "steps": steps, "alive": is_alive(state)}


def _read_from(path: Path, offset: int) -> tuple[int, int, bytes]:
    """Return the size of a log, where it was read from, and what was read."""
    with open(path, "rb") as log:
        size = log.seek(0, 2)
        start = offset if 0 <= offset <= size else 0
        log.seek(start)
        data = log.read(CHUNK)
        if b"\n" not in data:
            data += log.readline(LONGEST_LINE)
    return size, start, data

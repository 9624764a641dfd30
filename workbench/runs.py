"""Run folders: the unit of truth of every execution.

`start_run` opens one for writing, `open_run` reads one back. The layout stands in ARCHITECTURE.md.
"""

import atexit
import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import tomllib
import uuid
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from workbench.errors import WorkbenchError
from workbench.events import EventLog, read_events, spell, unspell
from workbench.provenance import collect_diff, collect_provenance

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

RUN_FILE = "run.json"
STEP_FILE = "step.json"  # written by the pipeline runner before the kernel starts
EVENTS_FILE = "events.jsonl"
DIFF_FILE = "changes.diff"  # what was not committed when the run started, if anything
CHECKPOINT_FOLDER = "checkpoint"  # what a training needs to go on
STATE_FILE = "state.json"  # of a pipeline: which run folder is each step's current one


def project_root(start: Path | None = None) -> Path:
    """Return the nearest parent of `start` that is marked as a project, else `start` itself.

    The mark is a `workbench.toml` or a `[tool.workbench]` table in `pyproject.toml`; `start` is by
    default the working directory.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "workbench.toml").is_file() or _is_marked(folder / "pyproject.toml"):
            return folder
    return start


def resolve_path(path: str | Path, start: Path | None = None) -> Path:
    """Return `path` as an absolute path; a relative one starts at the project root of `start`."""
    return (project_root(start) / Path(path).expanduser()).resolve()


def show_path(path: Path) -> str:
    """Return `path` relative to the project root where it lies inside, for messages and records."""
    root = project_root()
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        with open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, as safely as `write_text`."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False))


@dataclass(frozen=True)
class RunRecord:
    """What a run folder says; made by `open_run`, never changes anything."""

    path: Path
    name: str
    status: str  # "running", "finished" or "failed"; "running" of a dead process means it was killed
    parameters: dict[str, Any]
    metrics: dict[str, float]
    dataset: dict[str, Any] | None
    details: dict[str, Any]  # the whole of run.json
    step: dict[str, Any] | None  # pipeline, step, label, fingerprint; None when run by hand

    @property
    def label(self) -> str:
        """The step's name with its matrix values, or the notebook's name."""
        return self.step["label"] if self.step else self.name

    def events(self) -> list[dict[str, Any]]:
        """Return the event log without replayed epochs."""
        return read_events(self.path / EVENTS_FILE)

    def tables(self) -> dict[str, Path]:
        """Return the saved tables by name, as paths of CSV files."""
        return {path.stem: path for path in sorted((self.path / "artifacts/tables").glob("*.csv"))}

    def figures(self) -> dict[str, Path]:
        """Return the saved figures by name, as paths of plotly JSON files."""
        return {path.stem: path for path in sorted((self.path / "artifacts/figures").glob("*.json"))}


@dataclass
class Run:
    """A run folder open for writing; `finish()`, or leaving `with start_run(...)`, completes it."""

    path: Path
    name: str
    parameters: Mapping[str, Any]
    attempt: int = 1
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log = EventLog(self.path / EVENTS_FILE, self.attempt)

    @property
    def artifacts(self) -> Path:
        """The folder for results; made when first asked for."""
        folder = self.path / "artifacts"
        folder.mkdir(exist_ok=True)
        return folder

    def record(self, **details: Any) -> None:
        """Merge `details` (JSON values, such as `dataset=…` or `metrics={…}`) into `run.json`.

        NaN and infinities are written as strings, as in the event log.
        """
        self._require_open()
        for key, value in details.items():
            old = self.details.get(key)
            both = isinstance(old, dict) and isinstance(value, dict)
            self.details[key] = old | value if both else value
        write_json(self.path / RUN_FILE, spell(self.details))

    def save_figure(self, name: str, figure: "go.Figure") -> Path:
        """Store a plotly figure as `artifacts/figures/<name>.json` and return the path."""
        return self._write_artifact("figures", f"{name}.json", figure.to_json())

    def save_table(self, name: str, table: "pd.DataFrame", index: bool = False) -> Path:
        """Store a table as `artifacts/tables/<name>.csv` and return the path."""
        return self._write_artifact("tables", f"{name}.csv", table.to_csv(index=index))

    def finish(self, **metrics: float) -> None:
        """Complete the run with its final metrics; after this the folder is never written again.

        What its trainings would need to go on is removed; what predicts stays.
        """
        if metrics:
            self.record(metrics={name: float(value) for name, value in metrics.items()})
        self._close("finished")
        shutil.rmtree(self.path / CHECKPOINT_FOLDER, ignore_errors=True)

    def fail(self, error: str) -> None:
        """Close the run as failed; a later start may open it again."""
        self._close("failed", error=error)

    def end_with_process(self) -> None:
        """Close the run as failed if this process, which ends now, has left it open."""
        written = read_json(self.path / RUN_FILE) or {}
        if not is_alive(written) or _is_written_elsewhere(written) or written["attempt"] != self.attempt:
            return
        error = getattr(sys, "last_value", None)  # what ended the script, or the last cell that failed
        why = "The process ended before run.finish()."
        with contextlib.suppress(OSError):  # nobody is left to be told
            self.fail(why if error is None else f"{type(error).__name__}: {error}")

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.details["status"] != "running":
            return
        if kind is None:
            self.finish()
        else:
            self.fail(f"{kind.__name__}: {error}")

    def _require_open(self) -> None:
        if self.details.get("status") == "finished":
            raise WorkbenchError(
                f"The run {show_path(self.path)} is finished and cannot be written again.\n"
                "Start a new one with start_run()."
            )

    def _close(self, status: str, **fields: Any) -> None:
        self._require_open()
        self.log.write("end", status=status, **fields)
        self.record(status=status, ended=_now(), **fields)

    def _write_artifact(self, kind: str, name: str, text: str) -> Path:
        self._require_open()
        path = self.artifacts / kind / name
        path.parent.mkdir(exist_ok=True)
        write_text(path, text)
        return path


def start_run(
    run_dir: str | Path = "", *, parameters: Mapping[str, Any] | None = None, name: str = ""
) -> Run:
    """Open a run folder for writing.

    Args:
        run_dir: The folder, relative to the project root; it may exist if its run is not finished.
            Empty: the newest unfinished folder under `runs/scratch/` with this name and these
            parameters, else a new one.
        parameters: The values of the notebook's `parameters` cell.
        name: What the run is called; by default the notebook's name where Jupyter tells it.

    Raises:
        WorkbenchError: The folder holds a finished run, or one that another process is writing.
    """
    values = json.loads(json.dumps(dict(parameters or {}), default=str))
    name = name or Path(os.environ.get("JPY_SESSION_NAME", "notebook")).stem
    path = resolve_path(run_dir) if run_dir else _scratch_folder(name, values)
    with contextlib.suppress(FileExistsError):
        path.mkdir(parents=True)
    provenance, diff = collect_provenance(project_root()), collect_diff(project_root())
    with locked(path / EVENTS_FILE):  # of two processes that claim a folder at once one is refused
        earlier = read_json(path / RUN_FILE) or {}
        _refuse_if_taken(path, earlier)
        kept = {"speed": earlier["speed"]} if "speed" in earlier else {}  # how it trains; it goes on that way
        run = Run(path, name, values, attempt=earlier.get("attempt", 0) + 1, details=kept)
        run.record(
            name=name,
            status="running",
            parameters=values,
            attempt=run.attempt,
            started=earlier.get("started", _now()),
            process=process_identity(os.getpid()),
            provenance=provenance,
        )
        (path / DIFF_FILE).unlink(missing_ok=True)  # of an earlier attempt
        if diff:
            write_text(path / DIFF_FILE, diff)
    run.log.write("start", name=name)
    atexit.register(_end_with_process, weakref.ref(run))
    return run


def open_run(path: str | Path) -> RunRecord:
    """Read a run folder.

    Args:
        path: The folder, relative to the project root.

    Raises:
        WorkbenchError: There is no readable `run.json` in it.
    """
    folder = resolve_path(path)
    details = read_details(folder)
    return RunRecord(
        path=folder,
        name=details["name"],
        status=details["status"],
        parameters=details["parameters"],
        metrics=unspell(details.get("metrics", {})),
        dataset=details.get("dataset"),
        details=details,
        step=read_json(folder / STEP_FILE),
    )


def read_details(folder: Path) -> dict[str, Any]:
    """Return the content of a run folder's `run.json`.

    Raises:
        WorkbenchError: It is not there, or cannot be read.
    """
    details = read_json(folder / RUN_FILE)
    if details is None:
        raise WorkbenchError(
            f"No run in {show_path(folder)}: it has no readable {RUN_FILE}.\n"
            "Give the path of a run folder, such as runs/quickstart/train-…; `ls runs/*` lists all."
        )
    return details


def find_runs(folder: str | Path = "runs") -> Iterator[RunRecord]:
    """Yield every run below `folder`, oldest start first."""
    found = [open_run(path.parent) for path in resolve_path(folder).glob(f"**/{RUN_FILE}")]
    yield from sorted(found, key=lambda run: run.details["started"])


def _end_with_process(reference: "weakref.ref[Run]") -> None:
    run = reference()
    if run is not None:
        run.end_with_process()


def is_alive(details: Mapping[str, Any]) -> bool:
    """Tell from the content of a `run.json` whether its run is open in a living process of this machine."""
    process = details.get("process")
    if details.get("status") != "running" or not process:
        return False
    return process == process_identity(process["pid"])


def is_running(folder: Path) -> bool:
    """Tell whether the run in a folder is open in a living process of this machine."""
    return is_alive(read_json(folder / RUN_FILE) or {})


def describe_status(details: Mapping[str, Any]) -> str:
    """Return the status in a `run.json`, "killed" where it is "running" and its process is gone."""
    status = details.get("status", "missing")
    return "killed" if status == "running" and not is_alive(details) else status


def _scratch_folder(name: str, parameters: dict[str, Any]) -> Path:
    """Return the newest unfinished folder of this notebook and parameters, or a new name."""
    scratch = resolve_path(os.environ.get("WORKBENCH_SCRATCH", "runs/scratch"))
    stem = re.sub(r"[^\w.-]+", "-", name)
    for folder in sorted(scratch.glob(f"{stem}-*"), reverse=True):
        details = read_json(folder / RUN_FILE)
        if (
            details
            and details["name"] == name
            and details["status"] != "finished"
            and details["parameters"] == parameters
            and not _is_written_elsewhere(details)
        ):
            return folder
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    unique = hashlib.sha256(uuid.uuid4().bytes).hexdigest()[:4]
    return scratch / f"{stem}-{stamp}-{unique}"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file, made if it is not there, against other processes that ask for it in the same way."""
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _refuse_if_taken(path: Path, details: dict[str, Any]) -> None:
    if details.get("status") == "finished":
        raise WorkbenchError(
            f"{show_path(path)} holds a finished run, and a finished run is never overwritten.\n"
            'Give another run_dir, or run_dir="" for a new folder under runs/scratch/.'
        )
    if _is_written_elsewhere(details):
        raise WorkbenchError(
            f"{show_path(path)} is being written by process {details['process']['pid']}.\n"
            "Wait for it, stop it, or give another run_dir."
        )


def _is_written_elsewhere(details: dict[str, Any]) -> bool:
    return is_alive(details) and details["process"]["pid"] != os.getpid()


def process_identity(pid: int) -> dict[str, Any] | None:
    """Return pid, start time and boot of a living process; None when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    if fields[0] in "ZX":  # killed, and its parent has not taken notice
        return None
    return {"pid": pid, "started": fields[19], "boot": boot}


def _is_marked(pyproject: Path) -> bool:
    try:
        return "workbench" in tomllib.loads(pyproject.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, ValueError):
        return False


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the mapping that a JSON file holds; None when there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

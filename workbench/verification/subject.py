"""What is to be verified: a report, a pipeline or a run, each as a manifest."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.reports.collect import collect_report
from workbench.reports.manifest import VERSION, build_manifest, describe_run, digest
from workbench.reports.seal import open_sealed
from workbench.runs import RUN_FILE, STATE_FILE, open_run, resolve_path, show_path


@dataclass(frozen=True)
class Subject:
    """The claims that are verified."""

    name: str
    path: Path  # of the report, the run folder or the pipeline's runs
    manifest: dict[str, Any]
    digest: str
    edits: list[str] = field(default_factory=list)  # what was changed in a report since it was built

    @property
    def finished(self) -> list[dict[str, Any]]:
        """The runs that have results."""
        return [run for run in self.manifest["runs"] if "files" in run and run["state"] == "done"]


def open_subject(what: str) -> Subject:
    """Find out what `what` is and read its claims.

    Args:
        what: A report's HTML file, a run folder, or a pipeline: its name, its file or its folder of runs.

    Raises:
        WorkbenchError: It is none of them, or a report without a readable manifest.
    """
    path = resolve_path(what)
    if path.is_file() and path.suffix in (".html", ".htm"):
        sealed = open_sealed(path.read_text(encoding="utf-8", errors="backslashreplace"), show_path(path))
        if sealed.manifest["version"] != VERSION:
            raise WorkbenchError(
                f"{show_path(path)} has a manifest of version {sealed.manifest['version']}; this workbench "
                f"reads version {VERSION}.\nCheck out the commit that it names and verify there."
            )
        return Subject(sealed.manifest["name"], path, sealed.manifest, sealed.digest, sealed.edits)
    if (path / RUN_FILE).is_file():
        return _from_run(path)
    for state in (path / STATE_FILE, resolve_path("runs") / Path(what).stem / STATE_FILE):
        if state.is_file():
            manifest = build_manifest(collect_report(state))
            return Subject(manifest["name"], state.parent, manifest, digest(manifest))
    raise WorkbenchError(
        f"{what} is no report, no run folder and no pipeline that was ever run.\n"
        "Give a report such as reports/quickstart.html, a run folder such as runs/quickstart/train-…, "
        "or a pipeline's name."
    )


def _from_run(path: Path) -> Subject:
    run = open_run(path)
    if run.status != "finished":
        raise WorkbenchError(
            f"The run {show_path(path)} is {run.status}, so it has no results to verify.\nLet it end first."
        )
    entry = describe_run(run, run.label, {show_path(run.path): run.label})
    entry |= {"state": "done", "declared": run.parameters}  # its inputs are the folders that it used
    entry["notebook"] = entry["notebook"] or f"notebooks/{run.name}.ipynb"
    manifest = {
        "version": VERSION,
        "name": run.path.name,
        "title": run.label,
        "pipelines": [],
        "runs": [entry],
    }
    return Subject(run.path.name, path, manifest, digest(manifest))

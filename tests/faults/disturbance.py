"""A small pipeline without TensorFlow, whose results depend on every step before, and ways to disturb it."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat

from workbench.kernels import client
from workbench.runs import process_identity

PARAMETERS = """
amount: int = 1  # what is counted to
source: str = ""
sources: list = []
run_dir: str = ""
"""
BEGIN = """
import time
import workbench as wb
run = wb.start_run(run_dir, parameters=dict(amount=amount, source=source, sources=sources))
before = [wb.open_run(path).metrics["result"] for path in [*filter(None, [source]), *sources]]
"""
COUNT = """
for number in range(10):
    print("at", number, flush=True)
    time.sleep(0.05)
"""
END = """
result = amount + 3 * sum(before)
(run.artifacts / "counted.txt").write_text("\\n".join(str(result + number) for number in range(1000)))
run.finish(result=result)
"""
NOTEBOOK = {"notebook": "notebooks/count.ipynb"}
PIPELINE = {
    "threads": 1,
    "steps": {
        "first": {**NOTEBOOK, "parameters": {"amount": 2}},
        "middle": {**NOTEBOOK, "parameters": {"source": "${first}"}, "matrix": {"amount": [3, 4, 5]}},
        "last": {**NOTEBOOK, "parameters": {"sources": "${middle}", "amount": 7}},
    },
}


def write_project(project: Path) -> None:
    """Write the notebook and the pipeline `small` into a project."""
    cells = [nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
    cells += map(nbformat.v4.new_code_cell, (BEGIN, COUNT, END))
    for name in ("notebooks", "pipelines"):
        (project / name).mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), project / "notebooks/count.ipynb")
    (project / "pipelines/small.yaml").write_text(json.dumps(PIPELINE))


def start(project: Path, *arguments: str, **options: object) -> subprocess.Popen[str]:
    """Start `workbench ARGUMENTS` in a project."""
    command = [sys.executable, "-m", "workbench", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=project, **(pipes | options))


def start_runner(project: Path, cold: bool = True) -> subprocess.Popen[str]:
    """Start what `workbench run small` does before it builds the report; 1 tells of a failure."""
    script = "import sys, workbench as wb; sys.exit(bool(wb.run_pipeline('small', cold=COLD).failed))"
    return subprocess.Popen(
        [sys.executable, "-c", script.replace("COLD", str(cold))],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(project: Path, *arguments: str) -> tuple[int, str]:
    """Run `workbench ARGUMENTS` in a project; return its exit status and what it said."""
    process = start(project, *arguments)
    said, _ = process.communicate(timeout=300)
    return process.returncode, said


def results(project: Path) -> dict[str, tuple[float, str]]:
    """Return metric and digest of the artifact of every step that `state.json` calls done."""
    found = {}
    for label, entry in json.loads((project / "runs/small/state.json").read_text())["steps"].items():
        if entry["state"] == "done":
            folder = project / entry["run"]
            metrics = json.loads((folder / "run.json").read_text())["metrics"]
            text = (folder / "artifacts/counted.txt").read_bytes()
            found[label] = (metrics["result"], hashlib.sha256(text).hexdigest())
    return found


def finished(project: Path) -> dict[str, bytes]:
    """Return the `step.json` of every run folder that holds a finished step."""
    files = (project / "runs").glob("*/*/step.json")
    texts = {str(file.relative_to(project)): file.read_bytes() for file in files}
    return {name: text for name, text in texts.items() if json.loads(text)["state"] == "done"}


def kernels(project: Path) -> list[int]:
    """Return the project's kernels: cold ones by their environment, warm ones as the runner noted them."""
    mark = f"WORKBENCH_RUN={project}".encode()
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if mark in (entry / "environ").read_bytes():
                found.add(int(entry.name))
    for file in (project / "runs").glob("*/*/step.json"):
        noted = json.loads(file.read_text()).get("kernel")
        if noted and noted == process_identity(noted["pid"]):
            found.add(noted["pid"])
    return sorted(found)


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, or is only waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def kill(pid: int, signal: int) -> None:
    """Send a signal to a process that may have ended."""
    try:
        os.kill(pid, signal)
    except ProcessLookupError:
        return


def status_of(place: client.Place) -> dict:
    """Return what the nursery at a place says of itself."""
    return dict(client.ask_all("status"))[place.folder]

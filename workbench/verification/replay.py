"""nbval's part: copies of executed notebooks run cell by cell, and every output is compared."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat

from workbench.reports.manifest import same_step
from workbench.runs import STEP_FILE, resolve_path, show_path, write_text
from workbench.verification.rerun import tell_speed
from workbench.verification.verdicts import DRIFTED, IDENTICAL, NOT_COMPARABLE, Line

_EXECUTED = "executed.ipynb"
_IGNORE = "nbval-ignore-output"  # nbval's tag: the cell runs, its outputs are not compared
# Their output is written over while the cell runs, or tells how fast this machine is just now.
_MOVING = ("live", "watch", "watch_pipeline", "tune_for_this_machine", "estimate_ways")
_THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
# What TensorFlow's C++ code prints: ipykernel keeps it in a notebook, but not when it runs under pytest.
_GREETING = (
    r"(?m)^(WARNING: All log messages before absl|[IWEF]\d{4} \d\d:\d\d:"
    r"|\d{4}(-\d\d){2} \d\d:\d\d:\d\d\.\d+: |To enable the following instructions).*\n?"
)
# What differs from one execution to the next without any meaning.
_SANITIZE = r"""
[runs]
regex: [^\s"'<>]*\bruns/[^\s"'<>]+
replace: RUN

[addresses and ids]
regex: 0x[0-9a-fA-F]+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}
replace: ID

[durations]
regex: \b\d+(\.\d+)?\s?(ns|µs|us|ms|s|min|h)(/step|/epoch)?\b|\b\d+:\d\d(:\d\d)?\b
replace: DURATION
"""


def replay_notebooks(runs: Sequence[Mapping[str, Any]], folder: Path) -> list[Line]:
    """Execute copies of the runs' executed notebooks under `pytest --nbval`.

    Of a matrix the first run stands for all, since its notebooks are the same but for their parameters.

    Args:
        runs: Entries of a manifest.
        folder: Where the copies and their runs go.
    """
    firsts = [run for number, run in enumerate(runs) if not any(same_step(run, r) for r in runs[:number])]
    return [_replay(run, folder / "nbval") for run in firsts]


def copy_for_replay(executed: Path, run_dir: str) -> nbformat.NotebookNode:
    """Return an executed notebook whose results go elsewhere, for nbval to execute and compare.

    Cells with a live panel run, but are not compared: nbval does not follow an output that is written over.
    """
    notebook = nbformat.read(executed, as_version=4)
    for cell in notebook.cells:
        tags = cell.metadata.setdefault("tags", [])
        if "injected-parameters" in tags:
            cell.source = re.sub(r"(?m)^run_dir = .*$", lambda _: f"run_dir = {run_dir!r}", cell.source)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_greeting(output)]
            tags += [_IGNORE] if _is_moving(cell.source) else []
    return notebook


def _replay(run: Mapping[str, Any], folder: Path) -> Line:
    what, executed = "outputs of the notebook's cells (nbval)", resolve_path(run["folder"]) / _EXECUTED
    line = {"what": what, "step": run["label"], "old_run": run["folder"]}
    if not executed.is_file():
        return Line(NOT_COMPARABLE, note="the executed notebook is not here", **line)
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / f"{Path(run['folder']).name}.ipynb"
    target = folder / Path(run["folder"]).name
    nbformat.write(copy_for_replay(executed, show_path(target)), copy)
    write_text(folder / "sanitize.cfg", _SANITIZE)
    target.mkdir(exist_ok=True)
    write_text(target / STEP_FILE, "{}")  # as in a pipeline: lines of progress would be outputs
    done = _run_nbval(copy, folder / "sanitize.cfg", run)
    if done.returncode == 0:
        return Line(IDENTICAL, new_run=show_path(target), **line)
    cells = (
        ", ".join(re.findall(r"^FAILED .*::(Cell \d+)", done.stdout, re.MULTILINE)) or "nbval itself failed"
    )
    write_text(copy.with_suffix(".log"), done.stdout + done.stderr)
    note = f"{cells}; see {show_path(copy.with_suffix('.log'))}"
    return Line(DRIFTED, note=note, new_run=show_path(target), **line)


def _run_nbval(copy: Path, sanitize: Path, run: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider"]
    command += [
        "--nbval-sanitize-with",
        str(sanitize),
        "--rootdir",
        str(copy.parent),
        "-c",
        os.devnull,
        "-rf",
    ]
    threads = dict.fromkeys(_THREADS, str(run["threads"])) if run["threads"] else {}
    beside = str(resolve_path(run["notebook"]).parent)  # modules beside the notebook
    paths = [beside, os.environ.get("PYTHONPATH", "")]
    env = (
        os.environ
        | threads
        | run["env"]
        | tell_speed(run)
        | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    )
    return subprocess.run([*command, str(copy)], env=env, cwd=copy.parent, capture_output=True, text=True)


def _is_greeting(output: Mapping[str, Any]) -> bool:
    return output.get("name") == "stderr" and not re.sub(_GREETING, "", output["text"]).strip()


def _is_moving(source: str) -> bool:
    try:
        calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    except SyntaxError:  # magics
        return False
    return any(isinstance(call, ast.Attribute) and call.attr in _MOVING for call in calls)

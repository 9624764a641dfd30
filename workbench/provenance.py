"""Where a run's numbers come from: code, packages, machine."""

import difflib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

RECORDED_PACKAGES = (
    "workbench", "keras", "keras-hub", "tensorflow", "jax", "torch", "numpy", "pandas", "pyarrow",
    "pillow", "scikit-learn", "plotly", "papermill", "ipykernel", "jupyterlab",
)  # fmt: skip
DETERMINISM_VARIABLE = "TF_DETERMINISTIC_OPS"  # TensorFlow reads it when it runs its first operation

MOST_OF_DIFF = 200_000  # characters; what is longer is cut
_SOURCES = (
    ".py", ".ipynb", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".lock", ".md", ".bib", ".tex", ".sh",
    "Makefile",
)  # fmt: skip


def collect_provenance(root: Path) -> dict[str, Any]:
    """Return the git state of `root`, versions of Python and packages, backend, machine and its settings."""
    return {
        "git": git_state(root),
        "python": platform.python_version(),
        "packages": package_versions(),
        "backend": keras_backend(),
        "machine": machine(),
        "threads": thread_settings(),
        "deterministic": is_deterministic(),
    }


def git_state(root: Path) -> dict[str, Any] | None:
    """Return commit, branch and whether the tree has uncommitted changes; None outside a repository.

    A notebook in which only outputs changed, as JupyterLab saves them, is as committed.
    """
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {
        "commit": commit,
        "branch": _git(root, "rev-parse", "--abbrev-ref", "HEAD"),
        "dirty": any(not _is_as_committed(root, line) for line in _changes(root)),
    }


def collect_diff(root: Path) -> str:
    """Return what the code of a project differs in from its last commit, as a unified diff.

    Only tracked files inside `root` are in it: sources and texts as git shows them, notebooks by the sources
    of their cells, without outputs, since these may show data. Other changed files, such as tables, are named
    at its end, and untracked files are counted. It has at most `MOST_OF_DIFF` characters.
    """
    listed = _git(root, "diff", "HEAD", "--name-only", "--no-renames", "--relative", "-z")
    names = [name for name in (listed or "").split("\0") if name]
    shown = [name for name in names if name.endswith(_SOURCES) and not (root / name).is_symlink()]
    notebooks = [name for name in shown if name.endswith(".ipynb")]
    sources = [name for name in shown if name not in notebooks]
    plain = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--relative", "--", *sources)
    parts = [_git(root, "--literal-pathspecs", "diff", "HEAD", *plain)] if sources else []
    parts += [_diff_notebook(root, name) for name in notebooks]
    text = "\n".join(filter(None, parts))
    if len(text) > MOST_OF_DIFF:
        text = f"{text[:MOST_OF_DIFF]}\n# cut: {len(text) - MOST_OF_DIFF:,} more characters"
    notes = [f"# changed, and not shown: {name}" for name in names if name not in shown]
    untracked = len((_git(root, "ls-files", "--others", "--exclude-standard", "-z") or "").split("\0")) - 1
    notes += [f"# untracked, and not shown: {untracked:,} files"] if untracked else []
    return "\n".join(filter(None, [text, *notes[:100]]))


def package_versions() -> dict[str, str]:
    """Return the installed versions of the packages that bear on results."""
    import importlib.metadata  # takes a tenth of the time in which the command line says that nothing changed

    found = {}
    for name in RECORDED_PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def keras_backend() -> str:
    """Return the Keras backend that is, or would be, in use, without importing Keras."""
    keras = sys.modules.get("keras")
    return keras.backend.backend() if keras else os.environ.get("KERAS_BACKEND", "tensorflow")


def machine() -> dict[str, Any]:
    """Return operating system, processor and memory (bytes)."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def thread_settings() -> dict[str, str]:
    """Return the thread counts that were fixed in the environment of this process."""
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return {name: os.environ[name] for name in names if name in os.environ}


def is_deterministic() -> bool:
    """Tell whether TensorFlow uses only operations that give the same bits every time, without importing it.

    It was told by its variable, as in pipelines, or by `tf.config.experimental.enable_op_determinism()`.
    """
    config = sys.modules.get("tensorflow.python.framework.config")
    if config is not None:
        return config.is_op_determinism_enabled()
    return os.environ.get(DETERMINISM_VARIABLE, "").lower() in ("1", "true")


def _changes(root: Path) -> list[str]:
    """Return the lines of `git status --porcelain`: two letters, a blank and the path from the repository."""
    return [line for line in (_git(root, "status", "--porcelain", "-z") or "").split("\0") if line]


def _is_as_committed(root: Path, change: str) -> bool:
    """Tell whether a changed file is a notebook whose code is that of the last commit."""
    kind, name = change[:2], change[3:]
    if kind.strip() != "M" or not name.endswith(".ipynb"):
        return False
    top = _git(root, "rev-parse", "--show-toplevel")
    committed = _git(root, "show", f"HEAD:{name}")
    try:
        return _read_cells((Path(top or root) / name).read_text()) == _read_cells(committed or "")
    except (OSError, ValueError, KeyError):
        return False


def _read_cells(notebook: str) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(notebook)["cells"] if cell["cell_type"] == "code"]


def _diff_notebook(root: Path, name: str) -> str:
    """Return how the sources of a notebook's cells differ from the last commit."""
    path = root / name
    try:
        before = _list_lines(_git(root, "show", f"HEAD:./{name}"))
        after = _list_lines(path.read_text(encoding="utf-8") if path.is_file() else None)
    except (OSError, ValueError, KeyError, TypeError):
        return f"# changed, and no notebook that can be read: {name}"
    return "\n".join(difflib.unified_diff(before, after, f"a/{name}", f"b/{name}", lineterm=""))


def _list_lines(notebook: str | None) -> list[str]:
    """Return the lines of all cells, each cell under its kind; none where there is no notebook."""
    cells = json.loads(notebook)["cells"] if notebook else []
    return [
        line
        for cell in cells
        for line in (f"# %% [{cell['cell_type']}]", *"".join(cell["source"]).splitlines())
    ]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux: the platform module knows
    return platform.processor()


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", root, *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.rstrip()

"""Where a run's numbers come from: code, packages, machine."""

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
            ["git", "-C", root, *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.rstrip()

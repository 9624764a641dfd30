"""What a nursery imports before it forks, and whether it is safe to fork after that."""

import ast
import importlib
import importlib.util
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.kernels.threads import find_libraries

# What the notebooks of a workbench import through it; the backend comes with Keras.
USUAL = (
    "keras", "keras_hub", "numpy", "pandas", "PIL.Image", "plotly.graph_objects", "plotly.io", "pyarrow",
    "pyarrow.parquet", "sklearn", "ipywidgets", "yaml", "psutil",
)  # fmt: skip
# What a kernel imports while it starts, or for its first completion.
KERNEL = (
    "ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.debugger",
    "ipykernel.subshell_manager", "ipykernel.eventloops", "ipykernel.gui",
    "IPython.core.completerlib", "IPython.core.debugger", "IPython.core.oinspect",
    "IPython.extensions.storemagic", "IPython.utils.wildcard", "jedi", "sqlite3", "tornado.platform.asyncio",
)  # fmt: skip
# Threads that fork safely, by the name that the system knows: jemalloc (in pyarrow) starts its own again.
HARMLESS_THREADS = ("jemalloc_bg_thd",)


@dataclass
class Preloaded:
    """What was imported, how long that took, and what could not be."""

    modules: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)  # module → error
    variables: dict[str, str] = field(default_factory=dict)  # of the environment, set by the imports
    libraries: Any = None  # that keep threads, from `find_libraries`
    seconds: float = 0.0


def default_modules(notebooks: Iterable[str]) -> tuple[str, ...]:
    """Return what to preload for notebooks with this code: the usual, and what else they import."""
    names = {name: None for name in USUAL}
    for code in notebooks:
        names |= dict.fromkeys(name for name in find_imports(code) if name not in sys.stdlib_module_names)
    return tuple(names)


def find_imports(code: str) -> Iterator[str]:
    """Yield the top-level packages that `code` imports by statements; lines of IPython are skipped."""
    lines = [line for line in code.splitlines() if not line.lstrip().startswith(("%", "!"))]
    try:
        tree = ast.parse("\n".join(lines))
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def preload(names: Iterable[str]) -> Preloaded:
    """Import those of `names` that are installed packages; what cannot be imported is noted and left out."""
    started = time.monotonic()
    done = Preloaded()
    before = dict(os.environ)
    for name in filter(_is_installed, names):
        try:
            importlib.import_module(name)
            done.modules.append(name)
        except Exception as error:  # a package may raise anything; the kernel's own import will tell the user
            done.failures[name] = f"{type(error).__name__}: {error}"
    for name in KERNEL:
        importlib.import_module(name)
    # threadpoolctl, which we need ourselves, sets a variable that a kernel has only where it imports it too.
    done.variables = {name: value for name, value in os.environ.items() if before.get(name) != value}
    done.libraries = find_libraries()
    done.seconds = time.monotonic() - started
    return done


def why_unsafe() -> str | None:
    """Return why this process must not fork kernels: threads or devices that the imports left behind."""
    if len(threading.enumerate()) > 1:
        names = ", ".join(thread.name for thread in threading.enumerate()[1:])
        return f"the preloaded packages left threads running ({names})"
    strange = _native_threads() - _blas_threads()
    if strange > 0:
        return (
            f"the preloaded packages left {strange} unknown native thread{'s' if strange > 1 else ''} running"
        )
    devices = [path for path in _open_files() if path.startswith(("/dev/nvidia", "/dev/dri", "/dev/kfd"))]
    if devices:
        return f"the preloaded packages opened {devices[0]}"
    context = sys.modules.get("tensorflow.python.eager.context")
    if context and getattr(getattr(context, "_context", None), "_context_handle", None) is not None:
        return "the preloaded packages ran a TensorFlow operation"
    return None


def _is_installed(name: str) -> bool:
    """Tell whether `name` belongs to an installed package, and not to the project or the user."""
    top = name.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    places = [spec.origin, *(spec.submodule_search_locations or [])] if spec else []
    folders = [Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")]
    folders += [Path(folder) for folder in sys.path if folder.endswith(("site-packages", "dist-packages"))]
    return any(Path(place).is_relative_to(folder) for place in places if place for folder in folders)


def _native_threads() -> int:
    """Return the number of threads beside this one that are not known to be harmless."""
    names = [
        Path(f"/proc/self/task/{task}/comm").read_text().strip() for task in os.listdir("/proc/self/task")
    ]
    return len([name for name in names if name not in HARMLESS_THREADS]) - 1


def _blas_threads() -> int:
    """Return how many threads OpenBLAS keeps, which it ends before a fork and starts again on demand."""
    libraries = find_libraries().info()
    return sum(item["num_threads"] - 1 for item in libraries if item["internal_api"] == "openblas")


def _open_files() -> Iterator[str]:
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue  # that of the listing itself

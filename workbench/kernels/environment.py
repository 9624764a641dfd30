"""What must be equal for a kernel to come from a running nursery: its environment, as one key.

A process inherits some things that cannot be changed afterwards, and packages read others when they are
imported. Whatever is of that kind is part of the key; everything else is set in the forked child.
"""

import hashlib
import json
import os
import re
import resource
import site
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.kernels.settings import Settings

# Read by Python, C libraries or packages when they start or are imported; later changes have no effect.
# The lists were made by recording every getenv and os.environ access during the default imports.
KEY_PREFIXES = (
    "ABSL_", "ACC_", "ARROW_", "BLIS_", "CUDA_", "DEBUGPY_", "GCS_", "GEVENT_", "GFORTRAN_", "GOMP_",
    "GOTO_", "GRPC_", "HDF5_", "HF_", "IPYTHON", "JAX_", "JE_", "JOBLIB_", "KAGGLE", "KERAS_", "KMP_",
    "LC_", "LD_", "LOKY_", "MALLOC_", "MATPLOTLIB", "MKL_", "MPL", "NPY_", "NUMBA_", "NUMEXPR_",
    "NUMPY_", "NVIDIA_", "OMP_", "OPENBLAS_", "OPENSSL_", "PANDAS_", "PILLOW_", "PROTOCOL_BUFFERS_",
    "PSUTIL_", "PYCHARM_", "PYDEV", "PYPARSING", "PYTHON", "PYTORCH_", "PYZMQ_", "SCIPY_", "SKLEARN_",
    "TEST_", "TF2_", "TF_", "TOKENIZERS_", "TORCH_", "TORNADO_", "TPU_", "TRAITLETS_", "TRANSFORMERS_",
    "WRAPT_", "XLA_", "_PYTHON_",
)  # fmt: skip
KEY_VARIABLES = (
    "DEBUG_PYDEVD_PATHS_TRANSLATION", "ENABLE_RUNTIME_UPTIME_TELEMETRY", "GLIBC_TUNABLES", "HOME",
    "JUPYTER_ALLOW_INSECURE_WRITES", "JUPYTER_PLATFORM_DIRS", "JUPYTER_WIDGETS_ECHO", "LANG", "LANGUAGE",
    "PATHS_FROM_ECLIPSE_TO_PYTHON", "PY_SAX_PARSER", "SSLKEYLOGFILE", "SSL_CERT_DIR", "SSL_CERT_FILE",
    "TEMPORARILY_DISABLE_PROTOBUF_VERSION_CHECK", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
    "__PYVENV_LAUNCHER__",
)  # fmt: skip
# Of these prefixes, but read when the first operation runs.
READ_LATER = (
    "CUDA_VISIBLE_DEVICES", "TF_DETERMINISTIC_OPS", "TF_FORCE_GPU_ALLOW_GROWTH",
    "XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_PREALLOCATE",
)  # fmt: skip
# What a nursery has beside them; it sees no other variable, so that no other can bear on its imports.
NURSERY_VARIABLES = ("LOGNAME", "PATH", "TMPDIR", "USER")
# These are read at import too, but can be set in the child: see threads.py.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip

_DISTRIBUTION = re.compile(r"\.(dist-info|egg-info|egg-link|pth|egg)$")
_NAMESPACES = ("mnt", "net", "ipc", "pid", "user", "uts", "cgroup")


def describe(command: Sequence[str], environment: Mapping[str, str], settings: Settings) -> dict[str, Any]:
    """Return everything that tells one nursery from another, by kind.

    Args:
        command: Interpreter and its options.
        environment: Variables of the kernel that is asked for.
        settings: Those of the kernel's project.
    """
    return {
        "user": os.getuid(),
        "command": list(command),
        "interpreter": _stamp(Path(os.path.realpath(command[0]))),
        "packages": installed_packages(),
        "nursery": [_stamp(file) for file in sorted(Path(__file__).parent.glob("*.py"))],
        "variables": start_variables(environment),
        "keras": _read_keras_configuration(environment),
        "process": _inherited(),
        "preload": settings.preload,
        "idle": [settings.idle_children, settings.idle_minutes],
    }


def key_of(description: Mapping[str, Any]) -> str:
    """Return a description as 16 hexadecimal digits."""
    text = json.dumps(description, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def start_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are read at start or import."""
    return {name: value for name, value in sorted(environment.items()) if is_start_variable(name)}


def is_start_variable(name: str) -> bool:
    """Tell whether a variable has no effect any more once the packages are imported."""
    return name not in (*THREAD_VARIABLES, *READ_LATER) and (
        name in KEY_VARIABLES or name.startswith(KEY_PREFIXES)
    )


def installed_packages() -> str:
    """Return a hash that changes when a package is installed, upgraded or removed.

    Every installer writes the folder of a distribution's metadata anew, and its RECORD last.
    """
    digest = hashlib.sha256()
    for line in _distributions():
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _distributions() -> Iterator[str]:
    folders = site.getsitepackages() + ([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])
    yield _stamp(Path(sys.prefix) / "pyvenv.cfg")
    for folder in dict.fromkeys(folders):
        yield _stamp(Path(folder))
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if _DISTRIBUTION.search(entry.name):
                yield _stamp(Path(entry.path)) + (
                    _stamp(Path(entry.path, "RECORD")) if entry.is_dir() else ""
                )


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return f"{path} is not there"
    return f"{path} {status.st_ino} {status.st_size} {status.st_mtime_ns}"


def _read_keras_configuration(environment: Mapping[str, str]) -> str:
    """Return Keras's own file of settings, which it reads when it is imported."""
    home = environment.get("KERAS_HOME") or os.path.join(environment.get("HOME", ""), ".keras")
    try:
        return Path(home, "keras.json").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _inherited() -> dict[str, Any]:
    """Return what a process has from its parent and cannot change, or not without rights."""
    limits = {name: resource.getrlimit(getattr(resource, name))[1] for name in limit_names()}
    return {
        "groups": [os.getgid(), *sorted(os.getgroups())],
        "niceness": os.getpriority(os.PRIO_PROCESS, 0),
        "processors": sorted(os.sched_getaffinity(0)),
        "hard limits": limits,
        "control groups": _control_groups(),
        "namespaces": [os.readlink(f"/proc/self/ns/{name}") for name in _NAMESPACES],
        "root": os.readlink("/proc/self/root"),
    }


def limit_names() -> list[str]:
    """Return the names of the resource limits of this system."""
    return [name for name in dir(resource) if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"]


def _control_groups() -> list[str]:
    """Return the control groups without the scopes that a desktop makes for each terminal or login.

    A batch system makes one for each job, and a kernel must live in that of its client.
    """
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    desktop = re.compile(r"/(app|vte-spawn|tmux-spawn|session|run)[^/]*\.scope(?=/|$)")
    return [desktop.sub("", line) for line in lines]

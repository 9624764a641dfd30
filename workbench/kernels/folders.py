"""Where nurseries keep their sockets: a folder that only its user can enter."""

import os
import stat
import tempfile
from pathlib import Path

from workbench.errors import WorkbenchError

SOCKET_FILE = "socket"
LOCK_FILE = "lock"
LOG_FILE = "log"  # what the nursery and its preloaded packages printed
RECORD_FILE = "nursery.json"  # what the nursery is keyed by
COLD_FILE = "cold.json"  # why this environment cannot have warm kernels


def nurseries_folder() -> Path:
    """Return the private folder that holds one folder for each nursery; make it if there is none.

    Raises:
        WorkbenchError: It belongs to somebody else, or others can enter it.
    """
    user = os.getuid()
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{user}"
    if os.access(runtime, os.W_OK | os.X_OK):
        return _private(Path(runtime) / "workbench-kernels")
    return _private(Path(tempfile.gettempdir()) / f"workbench-kernels-{user}")


def nursery_folder(key: str) -> Path:
    """Return the private folder of the nursery with this key; make it if there is none."""
    return _private(nurseries_folder() / key)


def _private(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise WorkbenchError(
            f"{folder} cannot be made ({error}).\nSet XDG_RUNTIME_DIR to another folder."
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise WorkbenchError(
            f"{folder} is not a folder that only you can enter, so no kernel may be asked for there.\n"
            "Remove it, or set XDG_RUNTIME_DIR to a folder of your own."
        )
    return folder

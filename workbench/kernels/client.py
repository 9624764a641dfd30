"""Find the nursery of an environment, or start it, and ask it for something."""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.kernels import protocol
from workbench.kernels.environment import (
    NURSERY_VARIABLES,
    describe,
    installed_packages,
    key_of,
    start_variables,
)
from workbench.kernels.folders import (
    COLD_FILE,
    LOCK_FILE,
    LOG_FILE,
    RECORD_FILE,
    SOCKET_FILE,
    nurseries_folder,
    nursery_folder,
)
from workbench.kernels.preload import default_modules
from workbench.kernels.settings import read_settings
from workbench.runs import project_root, read_json, write_json

KEPT = 7 * 24 * 3600  # seconds that the log of a nursery is kept
ANSWER_PATIENCE = 5.0  # seconds for a status; a nursery that imports answers only when it has done so


class ColdKernel(Exception):
    """Why there is no warm kernel; the client takes a cold one instead."""


@dataclass(frozen=True)
class Place:
    """Where the nursery for a request listens, and how it is started."""

    folder: Path
    description: dict[str, Any]
    command: list[str]  # interpreter and its options
    environment: dict[str, str]
    project: Path


def find_place(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Place:
    """Return the place of the nursery for kernels of this interpreter, environment and folder.

    Raises:
        WorkbenchError: The project's settings are wrong, or there is no private folder.
    """
    own = dict(environment)
    if "PYTHONPATH" in own:  # the nursery starts elsewhere, so no entry may be relative
        paths = [os.path.join(folder, path) for path in own["PYTHONPATH"].split(os.pathsep)]
        own["PYTHONPATH"] = os.pathsep.join(paths)
    description = describe(command, own, read_settings(folder))
    seen = {name: value for name, value in own.items() if name in NURSERY_VARIABLES}
    seen |= start_variables(own)
    return Place(nursery_folder(key_of(description)), description, list(command), seen, project_root(folder))


def connect(place: Place) -> socket.socket:
    """Return a connection to the nursery at `place`, which is started if there is none.

    Raises:
        ColdKernel: It could not be started, or must not fork.
        ConnectionEnded: It was started, and has died already.
    """
    with open(place.folder / LOCK_FILE, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(OSError):
            return _connect(place.folder)
        if cold := read_json(place.folder / COLD_FILE):
            raise ColdKernel(cold["reason"])
        _start(place)
        try:
            return _connect(place.folder)
        except OSError as error:
            raise protocol.ConnectionEnded(str(error)) from error


def is_running(place: Place) -> bool:
    """Tell whether a nursery listens at `place`."""
    try:
        _connect(place.folder).close()
    except OSError:
        return False
    return True


def refuse_from_now_on(place: Place, reason: str) -> None:
    """Note why the nursery at `place` cannot be, so that not every kernel waits for it to fail."""
    write_json(place.folder / COLD_FILE, {"reason": reason})


def ask_all(request: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Ask every nursery of this user for its status or its end; yield folder and answer of each that runs.

    One that still imports answers nothing in time; its answer is empty.
    """
    for folder in sorted(nurseries_folder().iterdir()):
        try:
            with _connect(folder) as connection:
                protocol.send(connection, {"ask": request})
                connection.settimeout(ANSWER_PATIENCE)
                yield folder, _receive(connection)
        except OSError:  # it does not run
            continue


def _receive(connection: socket.socket) -> dict[str, Any]:
    reader = protocol.Reader(connection)
    try:
        while (received := reader.read()) is None:
            pass
    except protocol.ProtocolError:
        return {}
    return received[0]


def _connect(folder: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        with _short(folder) as short:
            connection.connect(f"{short}/{SOCKET_FILE}")
        if protocol.peer_user(connection) != os.getuid():
            raise PermissionError(f"another user listens in {folder}")
    except OSError:
        connection.close()
        raise
    return connection


def _start(place: Place) -> None:
    """Bind the socket, and start a nursery that listens to it."""
    (place.folder / SOCKET_FILE).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, open(place.folder / LOG_FILE, "wb") as log:
        with _short(place.folder) as short:
            listener.bind(f"{short}/{SOCKET_FILE}")
        os.chmod(place.folder / SOCKET_FILE, 0o600)
        listener.listen(64)
        _remove_old_folders()
        write_json(place.folder / RECORD_FILE, place.description | {"began": time.time()})
        configuration = {"modules": _modules(place), "packages": installed_packages()}
        configuration |= dict(zip(("idle_children", "idle_minutes"), place.description["idle"], strict=True))
        arguments = ["-m", "workbench.kernels.nursery", json.dumps(configuration), str(listener.fileno())]
        try:
            # It forks once more and leaves its child behind, so this ends soon.
            subprocess.run(
                [*place.command, *arguments],
                env=place.environment,
                cwd=place.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
                start_new_session=True,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ColdKernel(f"the nursery did not start ({error}); see {place.folder / LOG_FILE}") from error


def _remove_old_folders() -> None:
    """Remove what nurseries left behind that nobody has started for a while."""
    for folder in nurseries_folder().iterdir():
        with contextlib.suppress(OSError):
            if time.time() - (folder / RECORD_FILE).stat().st_mtime < KEPT:
                continue
            try:
                _connect(folder).close()
            except OSError:
                shutil.rmtree(folder)


def _modules(place: Place) -> list[str]:
    if place.description["preload"] is not None:
        return list(place.description["preload"])
    code = []
    for path in sorted(place.project.glob("notebooks/*.ipynb")):
        cells = (read_json(path) or {}).get("cells", [])
        code += ["".join(cell["source"]) for cell in cells if cell.get("cell_type") == "code"]
    return list(default_modules(code))


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """Give a path to `folder` that is short enough for a socket's address, however long its own is."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)

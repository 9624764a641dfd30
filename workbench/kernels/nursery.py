"""The process that has the imports behind it and forks a kernel for each request.

    python -m workbench.kernels.nursery CONFIGURATION SOCKET

The client that starts it has bound SOCKET, a descriptor, so that requests can wait there from the beginning.
It runs one thread and one loop, and holds nothing of the project or the user.
"""

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.kernels import protocol
from workbench.kernels.child import become_kernel, wait_for_request
from workbench.kernels.environment import installed_packages
from workbench.kernels.folders import COLD_FILE, SOCKET_FILE
from workbench.kernels.preload import Preloaded, preload, why_unsafe
from workbench.kernels.protocol import ProtocolError
from workbench.kernels.request import KernelRequest, parse_kernel_request
from workbench.runs import write_json

PATIENCE = 10.0  # seconds that a client has to send its request
MOST_CONNECTIONS = 64  # that have sent none yet
REPLENISH_AFTER = 1.0  # seconds; the kernel that was given away starts undisturbed
LOOK_AFTER = 30.0  # seconds between two looks at whether it is still of use


class _Born(BaseException):
    """Raised in a forked child: leaves the loop and all that belongs to the nursery."""

    def __init__(self, channel: socket.socket) -> None:
        super().__init__()
        self.channel = channel


@dataclass(eq=False)
class _Connection:
    """A client that has connected; `reader` is at its first message."""

    socket: socket.socket
    reader: protocol.Reader
    deadline: float
    child: "_Child | None" = None  # the kernel that it was given


@dataclass(eq=False)
class _Child:
    """A forked process: idle, or a kernel."""

    pid: int
    pidfd: int
    channel: socket.socket  # to hand over the request, and to hear that the kernel listens
    reader: protocol.Reader
    since: float = field(default_factory=time.time)
    folder: str = ""
    ready: bool = False
    connection: _Connection | None = None


class Nursery:
    """Answers requests until nobody has needed it for a while."""

    def __init__(
        self, listener: socket.socket, folder: Path, loaded: Preloaded, settings: dict[str, Any]
    ) -> None:
        self._listener = listener
        self._folder = folder
        self._loaded = loaded
        self._settings = settings
        self._packages = settings["packages"]
        self._selector = selectors.DefaultSelector()
        self._connections: set[_Connection] = set()
        self._idle: deque[_Child] = deque()
        self._kernels: dict[int, _Child] = {}
        self._started = time.time()
        self._used = self._looked = time.monotonic()
        self._unused_after = settings["idle_minutes"] * 60  # seconds
        self._look_after = min(LOOK_AFTER, self._unused_after)
        self._replenish_at = 0.0
        self._ending = False

    def serve(self) -> socket.socket | None:
        """Serve until the end, then return None; in a forked child return its channel to the nursery."""
        self._listener.setblocking(False)
        self._watch(self._listener, self._accept)
        try:
            while not self._ending:
                for key, _ in self._selector.select(self._pause()):
                    if key.fileobj in self._selector.get_map():  # an earlier one may have closed it
                        key.data()
                self._tend()
        except _Born as born:
            self._close_everything()
            return born.channel
        (self._folder / SOCKET_FILE).unlink(missing_ok=True)  # while it listens, so it is still its own
        self._close_everything()
        return None

    def _pause(self) -> float:
        """Return how long nothing needs to be done, in seconds."""
        now = time.monotonic()
        moments = [self._looked + self._look_after, *(item.deadline for item in self._waiting())]
        if len(self._idle) < self._settings["idle_children"]:
            moments.append(self._replenish_at)
        return max(0.0, min(moments) - now)

    def _tend(self) -> None:
        now = time.monotonic()
        for connection in [item for item in self._waiting() if item.deadline <= now]:
            self._refuse(connection, "the request did not come in time")
        if len(self._idle) < self._settings["idle_children"] and now >= self._replenish_at:
            try:
                self._idle.append(self._fork())
            except ProtocolError:  # no memory now: the next request tries again
                self._replenish_at = now + LOOK_AFTER
        if now < self._looked + self._look_after:
            return
        self._looked = now
        stale = installed_packages() != self._packages
        unused = now - self._used > self._unused_after
        gone = not (self._folder / SOCKET_FILE).exists()
        self._ending = self._ending or (not self._kernels and (stale or unused or gone))

    def _waiting(self) -> list[_Connection]:
        return [item for item in self._connections if item.child is None]

    # Requests

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return
        if protocol.peer_user(peer) != os.getuid() or len(self._waiting()) >= MOST_CONNECTIONS:
            peer.close()
            return
        peer.setblocking(False)
        connection = _Connection(peer, protocol.Reader(peer), time.monotonic() + PATIENCE)
        self._connections.add(connection)
        self._watch(peer, lambda: self._receive(connection))

    def _receive(self, connection: _Connection) -> None:
        try:
            received = connection.reader.read()
            if received is None:
                return
            message, descriptors = received
            try:
                if connection.child is not None:
                    raise ProtocolError("a connection serves one request")
                self._answer(connection, message, descriptors)
            finally:
                protocol.close_all(descriptors)
        except protocol.ConnectionEnded:
            self._drop(connection)
        except (ProtocolError, OSError) as error:
            self._refuse(connection, str(error))

    def _answer(self, connection: _Connection, message: dict[str, Any], descriptors: list[int]) -> None:
        match message:
            case {"ask": "kernel"}:
                self._give_kernel(connection, parse_kernel_request(message, descriptors), descriptors)
            case {"ask": "status"} if len(message) == 1 and not descriptors:
                protocol.send(connection.socket, self._status())
                self._drop(connection)
            case {"ask": "stop"} if len(message) == 1 and not descriptors:
                self._ending = True  # also when the one who asked has gone
                protocol.send(connection.socket, {"stopped": True, "kernels": len(self._kernels)})
            case _:
                raise ProtocolError("only a kernel, the status or the end can be asked for")

    def _give_kernel(self, connection: _Connection, request: KernelRequest, descriptors: list[int]) -> None:
        self._used = time.monotonic()
        self._replenish_at = self._used + REPLENISH_AFTER
        while True:
            child = self._idle.popleft() if self._idle else self._fork()
            try:
                protocol.send(child.channel, request.message(), descriptors)
                break
            except OSError:  # it was killed or stopped while it waited; it is buried in its turn
                signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        child.folder, child.since = request.folder, time.time()
        child.connection, connection.child = connection, child
        self._kernels[child.pid] = child
        protocol.send(connection.socket, {"pid": child.pid}, [child.pidfd])

    def _refuse(self, connection: _Connection, reason: str) -> None:
        with contextlib.suppress(OSError):
            protocol.send(connection.socket, {"error": reason})
        self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        """Forget a connection; a kernel that was not ready for its client yet has no use."""
        child = connection.child
        if child is not None:
            child.connection = None
            if not child.ready:
                signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        self._connections.discard(connection)
        self._selector.unregister(connection.socket)
        connection.reader.close()

    def _status(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "started": self._started,
            "modules": self._loaded.modules,
            "failures": self._loaded.failures,
            "seconds": self._loaded.seconds,
            "idle": [child.pid for child in self._idle],
            "kernels": [
                {"pid": child.pid, "started": child.since, "folder": child.folder}
                for child in self._kernels.values()
            ],
        }

    # Children

    def _fork(self) -> _Child:
        ours, theirs = socket.socketpair()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # the threads are known, see why_unsafe
                pid = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            raise ProtocolError(f"no process could be forked: {error}") from error
        if pid == 0:
            ours.close()
            raise _Born(theirs)
        theirs.close()
        ours.settimeout(PATIENCE)
        child = _Child(pid, os.pidfd_open(pid), ours, protocol.Reader(ours))
        self._watch(ours, lambda: self._hear(child))
        self._watch(child.pidfd, lambda: self._bury(child))
        return child

    def _hear(self, child: _Child) -> None:
        """Tell the client that its kernel listens, or why it does not."""
        with contextlib.suppress(ProtocolError, OSError):  # it died, or its client did: the pidfds tell
            received = child.reader.read()
            if received is None:
                return
            message, _ = received
            child.ready = "ready" in message
            if child.connection is not None:
                protocol.send(child.connection.socket, message)
        self._selector.unregister(child.channel)
        child.reader.close()

    def _bury(self, child: _Child) -> None:
        """Take notice of a child's end, and tell its client how it ended."""
        _, status = os.waitpid(child.pid, 0)
        self._selector.unregister(child.pidfd)
        os.close(child.pidfd)
        if child.channel.fileno() >= 0:
            self._selector.unregister(child.channel)
            child.reader.close()
        if child in self._idle:
            self._idle.remove(child)
            self._replenish_at = time.monotonic() + REPLENISH_AFTER
        if self._kernels.pop(child.pid, None):
            self._used = time.monotonic()
        if child.connection is not None:
            connection, child.connection.child = child.connection, None
            with contextlib.suppress(OSError):
                protocol.send(connection.socket, {"exit": os.waitstatus_to_exitcode(status)})
            self._drop(connection)

    def _watch(self, file: Any, react: Callable[[], None]) -> None:
        self._selector.register(file, selectors.EVENT_READ, react)

    def _close_everything(self) -> None:
        for connection in self._connections:
            connection.reader.close()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, int):
                os.close(key.fileobj)
            else:
                key.fileobj.close()
        self._selector.close()


def main() -> None:
    """Import, then serve; a forked child leaves this function as a kernel."""
    configuration = json.loads(sys.argv[1])
    listener = socket.socket(fileno=int(sys.argv[2]))
    if os.fork():
        os._exit(0)  # so that no client has to wait for the nursery as its parent
    folder = Path.cwd()
    sys.path.remove(str(folder))
    os.chdir("/")
    loaded = preload(configuration["modules"])
    reason = why_unsafe()
    if reason:
        write_json(folder / COLD_FILE, {"reason": reason})
        (folder / SOCKET_FILE).unlink(missing_ok=True)
        sys.exit(reason)
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page that the imports filled
    channel = Nursery(listener, folder, loaded, configuration).serve()
    if channel is None:
        return
    request = wait_for_request(channel)
    if request is not None:
        become_kernel(*request, loaded)


if __name__ == "__main__":
    main()

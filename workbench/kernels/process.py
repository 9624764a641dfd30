"""A kernel that was forked by the nursery, with the methods of `subprocess.Popen`."""

import contextlib
import os
import select
import signal
import socket
import time
from typing import Any

from workbench.kernels import protocol

EXIT_PATIENCE = 0.5  # seconds for the nursery to tell how a kernel ended
UNKNOWN_EXIT = 1  # the nursery was killed, so nobody knows
_TO_GROUP = 4  # PIDFD_SIGNAL_PROCESS_GROUP of Linux 6.9


class ForkedProcess:
    """A process that is no child of this one; its pidfd stays its own when its number is used again."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, pidfd: int, connection: socket.socket, reader: protocol.Reader) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._pidfd = pidfd
        self._connection = connection
        self._reader = reader

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal, or None while the process runs."""
        if self.returncode is None and self._has_ended(0):
            self.returncode = self._ask_exit_status()
            self._reader.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end, at most `timeout` seconds; return what `poll` returns."""
        if self.returncode is None:
            self._has_ended(timeout)
        return self.poll()

    def send_signal(self, number: int) -> None:
        """Send a signal to the process and the processes that it started."""
        try:
            signal.pidfd_send_signal(self._pidfd, number, None, _TO_GROUP)
        except OSError:  # an older system; the group has the number of the process
            if self.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, number)

    def terminate(self) -> None:
        """Ask the process to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process."""
        self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self._pidfd)
            self._reader.close()

    def _has_ended(self, timeout: float | None) -> bool:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def _ask_exit_status(self) -> int:
        end = time.monotonic() + EXIT_PATIENCE
        with contextlib.suppress(protocol.ProtocolError, OSError):
            while (left := end - time.monotonic()) > 0:
                self._connection.settimeout(left)
                received: Any = self._reader.read()
                if received is not None and isinstance(received[0].get("exit"), int):
                    return received[0]["exit"]
        return UNKNOWN_EXIT

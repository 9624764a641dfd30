"""The messages between client, nursery and child: a length and JSON, with descriptors beside it."""

import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

LONGEST = 1 << 20  # bytes of JSON; an environment is the largest thing in it
MOST_DESCRIPTORS = 4

_HEADER = struct.Struct("!I")
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class ProtocolError(Exception):
    """What came is no message; the connection is of no further use."""


class ConnectionEnded(ProtocolError):
    """The other side closed the connection, or died."""


def send(connection: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one message and copies of `descriptors`.

    Raises:
        ProtocolError: The message is too long.
        OSError: The other side is gone.
    """
    body = json.dumps(message).encode()
    if len(body) > LONGEST:
        raise ProtocolError(f"a message of {len(body)} bytes is too long; at most {LONGEST} are sent")
    frame = _HEADER.pack(len(body)) + body
    sent = socket.send_fds(connection, [frame], descriptors) if descriptors else connection.send(frame)
    if sent < len(frame):  # sending nothing fails when the other side has read all and gone
        connection.sendall(frame[sent:])


class Reader:
    """Collects messages from a connection, in however many pieces they come, and never reads beyond one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._frame = b""
        self._descriptors: list[int] = []

    def read(self) -> tuple[dict[str, Any], list[int]] | None:
        """Read once; return a message and its descriptors, or None while it is not complete.

        Raises:
            ProtocolError: It is no message of ours, or the connection ended.
        """
        try:
            data, descriptors, flags, _ = socket.recv_fds(
                self._connection, self._missing(), MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return None
        except OSError as error:
            raise ConnectionEnded(str(error)) from error
        self._descriptors += descriptors
        if flags & socket.MSG_CTRUNC or len(self._descriptors) > MOST_DESCRIPTORS:
            raise ProtocolError("too many descriptors")
        if not data:
            raise ConnectionEnded("the connection ended")
        self._frame += data
        if self._missing():
            return None
        body, self._frame = self._frame[_HEADER.size :], b""
        descriptors, self._descriptors = self._descriptors, []
        try:
            return _parse(body), descriptors
        except ProtocolError:
            close_all(descriptors)
            raise

    def close(self) -> None:
        """Close the connection and the descriptors of a message that is not complete."""
        close_all(self._descriptors)
        self._descriptors = []
        self._connection.close()

    def _missing(self) -> int:
        """Return how many bytes the message, or else its header, still lacks."""
        if len(self._frame) < _HEADER.size:
            return _HEADER.size - len(self._frame)
        (length,) = _HEADER.unpack(self._frame[: _HEADER.size])
        if not 0 < length <= LONGEST:
            raise ProtocolError(f"a message of {length} bytes")
        return _HEADER.size + length - len(self._frame)


def peer_user(connection: socket.socket) -> int:
    """Return the user id of the process at the other end, as the operating system knows it."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(data)[1]


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors that were received."""
    for descriptor in descriptors:
        os.close(descriptor)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("no JSON") from error
    if not isinstance(message, dict):
        raise ProtocolError("no JSON object")
    return message

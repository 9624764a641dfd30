"""What a nursery makes of requests that are none, and of those who may not ask."""

import contextlib
import json
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from disturbance import status_of
from waiting import wait_until

from workbench.errors import WorkbenchError
from workbench.kernels import client, protocol
from workbench.kernels.client import ask_all
from workbench.kernels.folders import SOCKET_FILE, nurseries_folder, nursery_folder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="warm kernels need Linux")
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be another user for a while")

Start = Callable[..., object]


def send_raw(place: client.Place, data: bytes, descriptors: list[int] | None = None) -> bytes:
    """Send bytes to the nursery and return all that comes back."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(place.folder / SOCKET_FILE))
        socket.send_fds(connection, [data], descriptors or [])
        answer = b""
        try:
            while piece := connection.recv(4096):
                answer += piece
        except ConnectionResetError:
            pass
        return answer


def framed(message: object) -> bytes:
    body = json.dumps(message).encode()
    return struct.pack("!I", len(body)) + body


GOOD = {
    "ask": "kernel", "arguments": ["-f", "x.json"], "folder": "/", "environment": {}, "umask": 0,
    "limits": {}, "ignored": [], "blocked": [],
}  # fmt: skip
BAD = {
    "empty": struct.pack("!I", 0),
    "too long": struct.pack("!I", protocol.LONGEST + 1) + b"x",
    "far too long": b"\xff" * 64,
    "no JSON": struct.pack("!I", 4) + b"\x00\xff{}",
    "deep": struct.pack("!I", 100_000) + b"[" * 100_000,
    "no object": framed([1, 2]),
    "nothing": framed({}),
    "other": framed({"ask": "run", "code": "1"}),
    "more": framed({"ask": "status", "also": 1}),
    "no descriptors": framed(GOOD),
    "unknown field": framed(GOOD | {"code": "print(1)"}),
    "missing field": framed({key: value for key, value in GOOD.items() if key != "folder"}),
    "wrong type": framed(GOOD | {"environment": {"A": 1}}),
    "zero byte": framed(GOOD | {"environment": {"A": "x\0y"}}),
    "umask": framed(GOOD | {"umask": 0o7777}),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_malformed_request_gets_an_error_and_breaks_nothing(
    start_kernel: Start, place: client.Place, data: bytes
) -> None:
    kernel = start_kernel()
    before = status_of(place)
    count = len(os.listdir(f"/proc/{before['pid']}/fd"))
    answer = send_raw(place, data)
    assert b"error" in answer
    assert b"pid" not in answer
    after = status_of(place)
    assert (after["pid"], after["kernels"]) == (before["pid"], before["kernels"])
    wait_until(lambda: len(os.listdir(f"/proc/{before['pid']}/fd")) <= count + 3)  # an idle child came
    assert kernel.value("1 + 1") == 2


def test_too_many_or_wrong_descriptors_are_closed(start_kernel: Start, place: client.Place) -> None:
    start_kernel()
    reading, writing = os.pipe()
    try:
        for count in (1, 2, 9):
            assert b"pid" not in send_raw(place, framed(GOOD), [writing] * count)
    finally:
        os.close(writing)
    assert os.read(reading, 1) == b""  # nobody holds the other end any more
    os.close(reading)


def test_silent_client_keeps_nobody_waiting(start_kernel: Start, place: client.Place) -> None:
    start_kernel()
    silent = [socket.socket(socket.AF_UNIX) for _ in range(80)]
    try:
        for connection in silent:
            connection.connect(str(place.folder / SOCKET_FILE))
        silent[0].send(b"\0")
        wait_until(lambda: bool(dict(ask_all("status")).get(place.folder)))  # when their time is over
        assert start_kernel().is_warm
    finally:
        for connection in silent:
            connection.close()


def test_folder_and_socket_are_private(start_kernel: Start, place: client.Place) -> None:
    start_kernel()
    assert stat.S_IMODE(nurseries_folder().stat().st_mode) == 0o700
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((place.folder / SOCKET_FILE).stat().st_mode) == 0o600


def test_folder_that_others_can_enter_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, start_kernel: Start
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(project))
    nurseries_folder().chmod(0o755)
    with pytest.raises(WorkbenchError, match="only you can enter"):
        nursery_folder("0" * 16)
    kernel = start_kernel()
    assert "only you can enter" in kernel.manager.provisioner.cold_reason
    assert kernel.value("1 + 1") == 2


@needs_root
def test_another_user_gets_nothing(start_kernel: Start, place: client.Place) -> None:
    kernel = start_kernel()
    listener = place.folder / SOCKET_FILE
    folder = os.open(place.folder, os.O_PATH)
    for path in (place.folder, listener):  # so that nothing but the check of the peer is left
        path.chmod(0o777)
    try:
        reading, writing = os.pipe()
        if (pid := os.fork()) == 0:
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(f"/proc/self/fd/{folder}/{SOCKET_FILE}")
                os.write(writing, b"connected ")
                with contextlib.suppress(OSError):
                    connection.send(framed({"ask": "status"}))
                    os.write(writing, connection.recv(100))
            os._exit(0)
        os.waitpid(pid, 0)
        assert os.read(reading, 200) == b"connected "
    finally:
        place.folder.chmod(0o700)
        listener.chmod(0o600)
        for descriptor in (folder, reading, writing):
            os.close(descriptor)
    assert kernel.value("1 + 1") == 2

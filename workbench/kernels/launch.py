"""Ask the nursery for a kernel that inherits from this process whatever a started one would inherit."""

import asyncio
import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.kernels import protocol
from workbench.kernels.client import ColdKernel, Place, connect, find_place, is_running, refuse_from_now_on
from workbench.kernels.environment import limit_names
from workbench.kernels.process import ForkedProcess
from workbench.kernels.request import RESET_BY_PYTHON, KernelRequest

LAUNCHER = ("-m", "ipykernel_launcher")
START_PATIENCE = 180.0  # seconds for the nursery to import and to fork
READY_PATIENCE = 60.0  # seconds for the kernel to bind its sockets

_OPTIONS = {"env", "cwd", "stdin", "stdout", "stderr", "independent", "kernel_id", "extra_arguments"}


async def launch(command: list[str], options: Mapping[str, Any]) -> ForkedProcess:
    """Return a kernel that was forked by the nursery and has bound its sockets.

    Args:
        command: What would start the kernel: an interpreter that runs ipykernel_launcher.
        options: Those of `subprocess.Popen` that jupyter_client hands to a provisioner.

    Raises:
        ColdKernel: A warm kernel is not possible, for the reason that it gives.
    """
    interpreter, arguments = _split(command)
    unknown = sorted({key for key, value in options.items() if value is not None} - _OPTIONS)
    if unknown:
        raise ColdKernel(f"a forked kernel cannot have the option {unknown[0]!r}")
    folder = os.path.abspath(options.get("cwd") or os.getcwd())
    environment = dict(options.get("env") or os.environ)
    if not options.get("independent"):
        environment["JPY_PARENT_PID"] = str(os.getpid())
    request = KernelRequest(arguments, folder, environment, **_inherited())
    try:
        place = find_place(interpreter, environment, Path(folder))
    except WorkbenchError as error:
        raise ColdKernel(str(error)) from error
    with contextlib.ExitStack() as stack:
        descriptors = _descriptors(options, stack)
        try:
            return await _ask(place, request, descriptors)
        except protocol.ConnectionEnded:  # it ended or was killed just now
            pass
        try:
            return await _ask(place, request, descriptors)
        except protocol.ConnectionEnded:
            if is_running(place):
                raise ColdKernel("the nursery has too many other clients now") from None
            reason = f"the nursery died while it imported packages; {place.folder}/log may tell why"
            refuse_from_now_on(place, reason)
            raise ColdKernel(reason) from None


async def _ask(place: Place, request: KernelRequest, descriptors: list[int]) -> ForkedProcess:
    connection = connect(place)
    reader = protocol.Reader(connection)
    try:
        await asyncio.to_thread(protocol.send, connection, request.message(), descriptors)
        connection.setblocking(False)
        message, received = await _hear(connection, reader, START_PATIENCE)
        if "pid" not in message or len(received) != 1:
            protocol.close_all(received)
            raise ColdKernel(message.get("error", "the nursery answered something else"))
        process = ForkedProcess(message["pid"], received[0], connection, reader)
    except OSError as error:
        reader.close()
        raise protocol.ConnectionEnded(str(error)) from error
    except BaseException:
        reader.close()
        raise
    try:
        message, _ = await _hear(connection, reader, READY_PATIENCE)
    except BaseException:
        process.kill()
        raise
    if "exit" in message:
        process.returncode = message["exit"]
    elif "ready" not in message:
        raise ColdKernel(message.get("error", "the nursery answered something else"))
    return process


async def _hear(
    connection: socket.socket, reader: protocol.Reader, patience: float
) -> tuple[dict[str, Any], list[int]]:
    """Return the next message and its descriptors, without blocking the event loop."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(connection, readable.set)
    try:
        async with asyncio.timeout(patience):
            while True:
                await readable.wait()
                readable.clear()  # it is set again while there is more
                if received := reader.read():
                    return received
    except TimeoutError:
        raise ColdKernel(f"the nursery did not answer within {patience:.0f} s") from None
    finally:
        loop.remove_reader(connection)


def _split(command: list[str]) -> tuple[list[str], list[str]]:
    """Return interpreter with options, and the arguments of ipykernel_launcher, of a kernel's command."""
    for place in range(1, len(command) - 1):
        if tuple(command[place : place + 2]) == LAUNCHER:
            if os.path.realpath(command[0]) != os.path.realpath(sys.executable):
                break
            return command[:place], command[place + 2 :]
    raise ColdKernel(f"its command is another than {sys.executable} {' '.join(LAUNCHER)}")


def _inherited() -> dict[str, Any]:
    """Return what a started process would inherit from this one and can be changed in a forked one."""
    status = Path("/proc/self/status").read_text()
    ignored = [number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN]
    return {
        "umask": int(re.search(r"^Umask:\s*(\d+)", status, re.M)[1], 8),
        "limits": {name: resource.getrlimit(getattr(resource, name))[0] for name in limit_names()},
        "ignored": sorted(int(number) for number in ignored if number not in RESET_BY_PYTHON),
        "blocked": sorted(int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    }


def _descriptors(options: Mapping[str, Any], stack: contextlib.ExitStack) -> list[int]:
    """Return the standard streams, and a pidfd of this process unless the kernel is to outlive it."""
    reading, writing = os.pipe()
    os.close(writing)
    stack.callback(os.close, reading)
    streams = [reading if options.get("stdin") is None else _descriptor(options["stdin"], 0, stack)]
    streams.append(_descriptor(options.get("stdout"), 1, stack))
    error = options.get("stderr")
    streams.append(streams[1] if error == subprocess.STDOUT else _descriptor(error, 2, stack))
    if not options.get("independent"):
        streams.append(os.pidfd_open(os.getpid()))
        stack.callback(os.close, streams[-1])
    return streams


def _descriptor(stream: Any, inherited: int, stack: contextlib.ExitStack) -> int:
    if stream is None:
        with contextlib.suppress(OSError):
            os.fstat(inherited)
            return inherited
        stream = subprocess.DEVNULL
    if stream == subprocess.PIPE:
        raise ColdKernel("a stream of it is to be a pipe to its client")
    if stream == subprocess.DEVNULL:
        descriptor = os.open(os.devnull, os.O_RDWR)
        stack.callback(os.close, descriptor)
        return descriptor
    return stream if isinstance(stream, int) else stream.fileno()

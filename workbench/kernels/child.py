"""A forked child: it waits for a request, makes itself as fresh as a new process, and becomes the kernel."""

import atexit
import contextlib
import importlib
import importlib.util
import multiprocessing.process
import os
import resource
import select
import signal
import socket
import sys
import tempfile
import threading
import time
from typing import Any

from ipykernel.kernelapp import IPKernelApp

from workbench.kernels import protocol
from workbench.kernels.late import heed_late_variables
from workbench.kernels.preload import Preloaded
from workbench.kernels.request import RESET_BY_PYTHON, STREAMS, KernelRequest, parse_kernel_request
from workbench.kernels.threads import apply_thread_counts

LAUNCHER = "ipykernel_launcher"  # the module that a cold kernel runs

_LAUNCHER_FILE = importlib.util.find_spec(LAUNCHER).origin
_PACKAGE = __package__.partition(".")[0]


def wait_for_request(channel: socket.socket) -> tuple[socket.socket, KernelRequest, list[int]] | None:
    """Wait until the nursery hands over a request; return None when it has ended instead."""
    for module in list(sys.modules.values()):
        getattr(
            module, "__file__", None
        )  # as ipykernel does: copies the pages that this writes to beforehand
    reader = protocol.Reader(channel)
    try:
        while (received := reader.read()) is None:
            pass
    except protocol.ProtocolError:
        return None
    message, descriptors = received
    return channel, parse_kernel_request(message, descriptors), descriptors


def become_kernel(
    channel: socket.socket, request: KernelRequest, descriptors: list[int], loaded: Preloaded
) -> None:
    """Take on everything that the request brings, and serve as a kernel until its end.

    Args:
        channel: To the nursery.
        request: What the client asked for.
        descriptors: Standard streams, and unless the kernel is to outlive its client, a pidfd of that.
        loaded: What the nursery has imported.
    """
    try:
        client = _take_streams(descriptors)
        _take_process_state(request, loaded.variables)
        _take_python_state(request, loaded.libraries)
    except (OSError, ValueError) as error:
        protocol.send(channel, {"error": f"the forked process could not be set up: {error}"})
        sys.exit(1)
    app = WarmKernelApp.instance(parent_handle=int(request.environment.get("JPY_PARENT_PID", 0)))
    app.channel, app.client = channel, client
    app.initialize(request.arguments)
    _configure_matplotlib()
    _configure_pandas()
    heed_late_variables(app.shell)
    app.start()
    _end()


def _end() -> None:
    """End as Python does, but for taking down every imported module, which takes longer than all the rest."""
    threading._shutdown()  # waits for the threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed, or nobody reads it
            stream.flush()
    os._exit(0)


def _configure_matplotlib() -> None:
    """Let matplotlib read its configuration in this folder, and take the backend of the kernel."""
    if matplotlib := sys.modules.get("matplotlib"):
        # The backend first, which the kernel has chosen: without one, any look at the values chooses another.
        matplotlib.rcParams["backend"] = os.environ["MPLBACKEND"]
        if matplotlib.matplotlib_fname() != os.path.join(matplotlib.get_data_path(), "matplotlibrc"):
            values = matplotlib.rc_params()
            matplotlib.rcParams.update({key: values[key] for key in values if key != "backend"})
            matplotlib.rcParamsOrig = matplotlib.rcParams.copy()
        _forget("matplotlib_inline")  # it registers with the kernel when it is imported


def _configure_pandas() -> None:
    """Let pandas show as many columns as it does where it is imported in a kernel, and not in a terminal."""
    if pandas := sys.modules.get("pandas"):
        pandas.set_option("display.max_columns", 20)


class WarmKernelApp(IPKernelApp):
    """The kernel's application, which tells when it listens, and watches its client, not its parent."""

    channel: socket.socket
    client: int | None

    def init_poller(self) -> None:
        """Watch the client: the parent is the nursery, without which a kernel goes on."""
        if self.client is not None:
            threading.Thread(target=_end_with, args=[self.client], name="ClientWatch", daemon=True).start()

    def init_kernel(self) -> None:
        """Tell the nursery that the sockets are bound; requests may come from now on."""
        try:
            protocol.send(self.channel, {"ready": True})
        except OSError:
            os._exit(1)  # the nursery died, so the client has given up on this kernel
        self.channel.close()
        super().init_kernel()


def _end_with(client: int) -> None:
    """End this process when the client, a pidfd, has ended."""
    poll = select.poll()
    poll.register(client, select.POLLIN)
    while not poll.poll():
        pass
    os._exit(1)


def _take_streams(descriptors: list[int]) -> int | None:
    """Make the first three descriptors the standard streams; return the client's pidfd, if any."""
    for number, descriptor in enumerate(descriptors[:STREAMS]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if not sys.__stdout__.write_through:  # as Python does when it starts
        sys.__stdout__.reconfigure(line_buffering=os.isatty(sys.__stdout__.fileno()))
    return descriptors[STREAMS] if len(descriptors) > STREAMS else None


def _take_process_state(request: KernelRequest, imported: dict[str, str]) -> None:
    os.setsid()
    os.umask(request.umask)
    for name, soft in request.limits.items():
        number = getattr(resource, name)
        resource.setrlimit(number, (soft, resource.getrlimit(number)[1]))
    for number in signal.valid_signals() - RESET_BY_PYTHON - {signal.SIGKILL, signal.SIGSTOP}:
        default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if number in request.ignored else default)
    signal.pthread_sigmask(signal.SIG_SETMASK, request.blocked)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(imported | request.environment)
    time.tzset()


def _take_python_state(request: KernelRequest, libraries: Any) -> None:
    sys.argv = [_LAUNCHER_FILE, *request.arguments]
    sys.orig_argv = [*sys.orig_argv[: sys.orig_argv.index("-m")], "-m", LAUNCHER, *request.arguments]
    importlib.invalidate_caches()
    tempfile.tempdir = None  # TMPDIR may be another
    multiprocessing.process.ORIGINAL_DIR = os.getcwd()
    multiprocessing.current_process().authkey = os.urandom(32)
    # Python seeds `random` after a fork, and TensorFlow and Keras draw their seeds when first needed.
    if numpy_random := sys.modules.get("numpy.random"):
        numpy_random.seed()
    apply_thread_counts(os.environ, libraries)
    _forget(_PACKAGE)  # the project's code is read when the notebook imports it


def _forget(package: str) -> None:
    """Let the next import of a package read it anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]

"""What works on this machine for kernels, and how to mend what does not."""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from workbench.errors import WorkbenchError
from workbench.kernels.choice import COLD_KERNEL, WARM_KERNEL
from workbench.kernels.support import why_unsupported
from workbench.provenance import keras_backend, package_versions

PATIENCE = 180  # seconds for a kernel's first reply


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    good: bool
    detail: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """Yield what was found, one thing after the other; the last starts a kernel and takes some seconds."""
    versions = package_versions()
    yield Finding("Python", True, f"{sys.version.split()[0]}, {sys.executable}")
    backend = keras_backend()
    installed = backend in versions
    version = versions.get(backend, "is not installed")
    yield Finding("Keras backend", installed, f"{backend} {version}", f"Install it: pip install {backend}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("processors", True, f"{cores} for this process")
    reason = why_unsupported()
    if reason:
        yield Finding("warm kernels", False, f"cold: {reason}", "Nothing to do; kernels start as usual.")
        return
    yield _try_kernel()


def _try_kernel() -> Finding:
    """Start a warm kernel and wait for its first reply."""
    from jupyter_client import KernelManager
    from jupyter_client.kernelspec import NoSuchKernel

    again = f"Install the package again in this environment: pip install workbench ({WARM_KERNEL} comes with it)."
    manager = KernelManager(kernel_name=WARM_KERNEL)
    client = None
    started = time.monotonic()
    try:
        manager.start_kernel()
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE)
        reason = manager.provisioner.cold_reason
        seconds = time.monotonic() - started
    except (NoSuchKernel, ModuleNotFoundError) as error:
        return Finding("warm kernels", False, f"cold: {error}", again)
    except RuntimeError as error:
        return Finding("warm kernels", False, f"no kernel answers: {error}", f"Try {COLD_KERNEL}.")
    finally:
        if client is not None:
            client.stop_channels()
        if manager.has_kernel:
            manager.shutdown_kernel(now=True)
    if reason:
        return Finding("warm kernels", False, f"cold: {reason}", "Every kernel works; it only starts later.")
    return Finding("warm kernels", True, f"warm: ready after {seconds:.1f} s")


def check_settings() -> None:
    """Raise what is wrong with the settings of this project.

    Raises:
        WorkbenchError: A setting is unknown or has the wrong type.
    """

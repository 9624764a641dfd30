"""What works on this machine for kernels, and how to mend what does not."""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from workbench.kernels.choice import COLD_KERNEL, WARM_KERNEL
from workbench.kernels.support import why_unsupported
from workbench.provenance import keras_backend, package_versions

PATIENCE = 180  # seconds for a kernel's first reply


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    good: bool
    detail: str
    advice: str = ""


def examine() -> Iterator[Check]:
    """Yield what was found, one thing after the other; the last starts a kernel and takes some seconds."""
    versions = package_versions()
    yield Check("Python", True, f"{sys.version.split()[0]}, {sys.executable}")
    backend = keras_backend()
    installed = backend in versions
    version = versions.get(backend, "is not installed")
    yield Check("Keras backend", installed, f"{backend} {version}", f"Install it: pip install {backend}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Check("processors", True, f"{cores} for this process")
    reason = why_unsupported()
    if reason:
        yield Check("warm kernels", False, f"cold: {reason}", "Nothing to do; kernels start as usual.")
        return
    yield _try_kernel()


def _try_kernel() -> Check:
    """Start a warm kernel and wait for its first reply."""
    from jupyter_client import KernelManager
    from jupyter_client.kernelspec import NoSuchKernel

    again = "Install workbench again in this environment; the kernel comes with it."
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
        return Check("warm kernels", False, f"cold: {error}", again)
    except RuntimeError as error:
        return Check("warm kernels", False, f"no kernel answers: {error}", f"Try {COLD_KERNEL}.")
    finally:
        if client is not None:
            client.stop_channels()
        if manager.has_kernel:
            manager.shutdown_kernel(now=True)
    if reason:
        return Check("warm kernels", False, f"cold: {reason}", "Every kernel works; it only starts later.")
    return Check("warm kernels", True, f"warm: ready after {seconds:.1f} s")

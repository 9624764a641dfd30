"""Whether this machine can have warm kernels at all; everything else here needs it."""

import os
import signal
import sys


def why_unsupported() -> str | None:
    """Return why no kernel can be forked on this system, or None where it can."""
    if sys.platform != "linux":
        return f"forking a process that has packages imported is not safe on {sys.platform}"
    if not hasattr(os, "pidfd_open") or not hasattr(signal, "pidfd_send_signal"):
        return "this Python knows no pidfd_open"
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return f"the system refuses pidfd_open ({error.strerror})"
    return None

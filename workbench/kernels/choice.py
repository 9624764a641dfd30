"""Which kernel a notebook of a pipeline runs in."""

import contextlib
import functools
import os
import sys
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.kernels.late import find_late_variables
from workbench.kernels.support import why_unsupported
from workbench.runs import read_json

WARM_KERNEL = "workbench-warm"
COLD_KERNEL = "python3"


def choose_kernel(notebook: Path, cold: bool = False) -> str | None:
    """Return the name of the kernel for a notebook; None for the one that the notebook itself names."""
    return None if cold or why_cold(notebook) else WARM_KERNEL


def why_cold(notebook: Path) -> str | None:
    """Return why a notebook cannot run in a warm kernel with the same results, or None where it can."""
    content = read_json(notebook) or {}
    named = content.get("metadata", {}).get("kernelspec", {}).get("name", COLD_KERNEL)
    if named == WARM_KERNEL:
        return None
    if named != COLD_KERNEL:
        return f"it names the kernel {named}"
    code = ["".join(cell["source"]) for cell in content.get("cells", []) if cell["cell_type"] == "code"]
    late = find_late_variables("\n".join(code))
    if late:
        return f"it names {late[0]}, which must be set before packages are imported"
    return why_unsupported() or _why_not_installed()


@functools.cache
def _why_not_installed() -> str | None:
    """Return why the warm kernel is not the usual one with the imports done."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel  # takes long, and may not be needed

    specs = KernelSpecManager()
    try:
        specs.get_kernel_spec(WARM_KERNEL)
        usual = specs.get_kernel_spec(COLD_KERNEL)
    except NoSuchKernel as error:
        return f"the kernel {error.name} is not installed"
    ours = os.path.basename(usual.argv[0]).startswith("python") and not os.path.dirname(usual.argv[0])
    if usual.env or not (ours or os.path.samefile(usual.argv[0], sys.executable)):
        return f"the kernel {COLD_KERNEL} has another interpreter or environment than this one"
    return None


def start_nursery(folder: Path) -> None:
    """Start the nursery for kernels in `folder`, if none runs, without waiting for its imports."""
    if why_unsupported():
        return
    from workbench.kernels.client import ColdKernel, connect, find_place  # these need Linux
    from workbench.kernels.protocol import ProtocolError

    with contextlib.suppress(ColdKernel, ProtocolError, WorkbenchError):  # the kernel's start will say why
        connect(find_place([sys.executable], os.environ, folder)).close()

"""The notebook front end that this process is a kernel of, if it is one."""

import sys
from typing import Any


def notebook_shell() -> Any:
    """Return the IPython shell of the Jupyter kernel that this process is, None if it is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell if hasattr(shell, "kernel") else None


def somebody_can_click() -> bool:
    """Tell whether the cell was sent by a front end with a person before it.

    Such a front end offers to answer `input()`; nbclient, and with it papermill and nbconvert, does not.
    https://jupyter-client.readthedocs.io/en/stable/messaging.html#execute
    """
    shell = notebook_shell()
    if shell is None:
        return False
    request = shell.kernel.get_parent("shell")
    return bool(request.get("content", {}).get("allow_stdin", True))

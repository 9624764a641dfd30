"""Variables that a notebook sets in a cell, after the packages that read them were imported."""

import os
import re
import sys
from typing import Any

from workbench.kernels.environment import THREAD_VARIABLES, is_start_variable
from workbench.kernels.threads import apply_thread_counts

# Read when the interpreter starts: too late in any kernel.
_ALWAYS_LATE = ("PYTHON", "LD_", "MALLOC_", "LC_")
_QUOTED = re.compile(r"""(?:["']|%env\s+|%set_env\s+)([A-Z_][A-Z0-9_]*)""")


def is_late(name: str) -> bool:
    """Tell whether a cell could set this variable with effect in a cold kernel, but not in a warm one."""
    return is_start_variable(name) and not name.startswith(_ALWAYS_LATE)


def find_late_variables(code: str) -> list[str]:
    """Return the variables that `code` names and that would have no effect in a warm kernel."""
    return [name for name in dict.fromkeys(_QUOTED.findall(code)) if is_late(name)]


def heed_late_variables(shell: Any) -> None:
    """After each cell apply new thread counts, and say once which variables came too late."""
    known = dict(os.environ)

    def look(*_: Any) -> None:
        changed = {name for name in {*known, *os.environ} if known.get(name) != os.environ.get(name)}
        known.clear()
        known.update(os.environ)
        if changed.intersection(THREAD_VARIABLES):
            apply_thread_counts(os.environ)
        late = sorted(filter(is_late, changed))
        if late:
            print(
                f"{', '.join(late)} came too late for this warm kernel, which has imported its packages."
                " Set it before the kernel starts, or choose the kernel `Python 3 (ipykernel)`.",
                file=sys.stderr,
            )

    shell.events.register("post_run_cell", look)

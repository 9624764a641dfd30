"""Thread counts of a kernel whose libraries were loaded before its environment was known."""

import os
import sys
from collections.abc import Mapping
from typing import Any

# Each library obeys the first of its variables that is set.
_OBEYED = {
    "openblas": ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"),
    "openmp": ("OMP_NUM_THREADS",),
    "mkl": ("MKL_NUM_THREADS", "OMP_NUM_THREADS"),
    "blis": ("BLIS_NUM_THREADS", "OMP_NUM_THREADS"),
}


def apply_thread_counts(environment: Mapping[str, str], libraries: Any = None) -> None:
    """Give the loaded libraries the thread counts that `environment` asks for.

    TensorFlow needs nothing here: it reads its variables when it runs its first operation.

    Args:
        environment: With the variables of the libraries, or without.
        libraries: From `find_libraries`, which is asked if they are not given.
    """
    for library in (libraries or find_libraries()).lib_controllers:
        wanted = _first_number(environment, _OBEYED.get(library.internal_api, ()))
        if wanted and library.internal_api == "openblas":
            wanted = min(wanted, len(os.sched_getaffinity(0)))  # as it does itself when it is loaded
        if wanted:
            library.set_num_threads(wanted)
    if arrow := sys.modules.get("pyarrow"):
        wanted = _first_number(environment, ("OMP_NUM_THREADS",))
        if wanted:
            arrow.set_cpu_count(wanted)
    if torch := sys.modules.get("torch"):
        wanted = _first_number(environment, _OBEYED["mkl"][::-1])
        if wanted:
            torch.set_num_threads(wanted)


def find_libraries() -> Any:
    """Return the controller of the loaded libraries that keep threads; finding them takes a while."""
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


def _first_number(environment: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    for name in names:
        number = (
            environment.get(name, "").partition(",")[0].strip()
        )  # OpenMP takes a list, one for each level
        if number.isdigit() and int(number) > 0:
            return int(number)
    return None

"""How many steps the machine bears at once."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

UNKNOWN_MEMORY = 2**30  # bytes that a step is taken to need that has never run
_ACCELERATED = ("tensorflow", "jax", "torch")  # packages that take hold of a GPU


@dataclass(frozen=True)
class Demand:
    """What one step takes while it runs."""

    threads: int
    memory: int  # bytes at its peak
    used: int = 0  # bytes that it already has
    device: str = ""  # of the GPU that is its own


class Capacity:
    """Decides whether one more step may start beside those that run.

    Args:
        jobs: Steps at once; None for as many as cores and free memory bear.
    """

    def __init__(self, jobs: int | None) -> None:
        self.jobs = jobs
        self.cores = count_cores()
        self.devices = list_devices()

    def admits(self, demand: Demand, running: Sequence[Demand]) -> bool:
        """Tell whether a step may start now; the first always may."""
        if not running:
            return True
        if self.jobs is not None:
            return len(running) < self.jobs
        if sum(other.threads for other in running) + demand.threads > self.cores:
            return False
        still_to_come = sum(max(0, other.memory - other.used) for other in running)
        return demand.memory + still_to_come <= free_memory()

    def free_device(self, packages: Iterable[str], running: Sequence[Demand]) -> str | None:
        """Return the GPU for a step that reaches these packages.

        Returns:
            Its number as in CUDA_VISIBLE_DEVICES, empty if the step needs none or there is none, None if
            all are taken.
        """
        if not self.devices or not any(name in _ACCELERATED for name in packages):
            return ""
        taken = {other.device for other in running}
        return next((device for device in self.devices if device not in taken), None)


def count_cores() -> int:
    """Return the cores that this process may use."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no control group, or no limit ("max")
        return cores


def free_memory() -> int:
    """Return the bytes of memory that may still be taken, by machine and control group."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        return min(free, limit - used)
    except (OSError, ValueError):
        return free


def list_devices() -> list[str]:
    """Return the NVIDIA GPUs as CUDA_VISIBLE_DEVICES names them; that variable may leave some out."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    return [str(number) for number, _ in enumerate(sorted(Path("/proc/driver/nvidia/gpus").glob("*")))]


def step_environment(threads: int, device: str) -> dict[str, str]:
    """Return the variables that fix a kernel's threads, and its GPU where it has one of its own.

    The number of threads is the step's, however many steps run: it decides the last bits of the results.
    """
    names = (
        "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
    )  # fmt: skip
    variables = dict.fromkeys(names, str(threads))
    variables |= {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return variables | ({"CUDA_VISIBLE_DEVICES": device} if device else {})

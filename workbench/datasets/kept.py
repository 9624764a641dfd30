"""Arrays that are computed once for the same input and kept under data/cache/."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from workbench.datasets.cache import build_folder, cache_root, discard_folder
from workbench.datasets.storage import DamagedError, open_array, write_array
from workbench.runs import read_json, write_json

_FACTS = "arrays.json"


def keep_arrays(
    kind: str,
    identity: str,
    compute: Callable[[], Mapping[str, np.ndarray]],
    cache_dir: str | Path | None = None,
) -> dict[str, np.ndarray]:
    """Return arrays by name: those that are kept, memory-mapped, or else what `compute` returns.

    Args:
        kind: Name of the folder in the cache.
        identity: A digest of all that the arrays follow from.
        compute: Makes them, also where what is kept is damaged.
        cache_dir: Where they are kept; data/cache of the project by default.
    """
    folder = cache_root(cache_dir) / kind / identity
    try:
        facts = read_json(folder / _FACTS)
        if facts:
            return {name: open_array(folder / f"{name}.npy", known) for name, known in facts.items()}
    except DamagedError:
        pass  # they are computed again
    discard_folder(folder)
    arrays = dict(compute())
    build_folder(folder.parent, functools.partial(_write, identity, arrays))
    return arrays


def _write(identity: str, arrays: Mapping[str, np.ndarray], folder: Path) -> str:
    facts = {name: write_array(folder / f"{name}.npy", array) for name, array in arrays.items()}
    write_json(folder / _FACTS, facts)
    return identity

"""The identity of a dataset's content, told without decoding it."""

from pathlib import Path

from workbench.datasets.cache import cache_root
from workbench.datasets.catalog import entry_stamp, find_entry


def source_stamp(spec: str, cache_dir: str | Path | None = None) -> str:
    """Return a hex identity of what a spec's data is now, without decoding it.

    Args:
        spec: As for `load_dataset`.
        cache_dir: Likewise.
    """
    if ":" not in spec:
        return entry_stamp(find_entry(spec))
    from workbench.datasets.dataset import open_dataset
    from workbench.datasets.options import Options  # these import numpy, and a name in the catalog needs none
    from workbench.datasets.prepared import prepared_folder
    from workbench.datasets.sources import find_source

    if spec.startswith("run:"):
        return open_dataset(prepared_folder(spec)).fingerprint
    return find_source(spec, Options(), cache_root(cache_dir)).stamp()

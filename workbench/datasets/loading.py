"""Load a dataset or pretrained weights by name or path; the first time they are fetched and prepared."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from workbench.datasets.cache import cache_root
from workbench.datasets.catalog import find_entry
from workbench.datasets.dataset import Dataset
from workbench.datasets.options import Options
from workbench.datasets.prepare import open_or_prepare
from workbench.datasets.prepared import open_prepared_run
from workbench.datasets.sources import find_source


def load_dataset(
    spec: str,
    *,
    split_seed: int = 0,
    image_size: Sequence[int] = (),
    max_samples: int = 0,
    val_fraction: float | None = None,
    test_fraction: float | None = None,
    text_column: str = "",
    label_column: str = "",
    on_error: str = "raise",
    cache_dir: str | Path | None = None,
) -> Dataset:
    """Load a dataset; the first time it is fetched, decoded and split, then it is opened from the cache.

    Args:
        spec: A name in data/catalog.yaml; "folder:PATH", images in one subfolder for each class, optionally
            under train/, val/ and test/; "csv:PATH", a table of texts (.csv, .tsv, .parquet, .jsonl); or
            "run:PATH", a run folder of 01_prepare_data. Relative paths start at the project root.
        split_seed: Decides which samples train, validate and test, and which ones `max_samples` keeps.
        image_size: [height, width] in pixels that images are resized to; [] for the catalog's size or
            their own.
        max_samples: How many samples to keep, in the classes' proportions; 0 for all.
        val_fraction: Part of what is not given as validation or test set; 0.1 by default.
        test_fraction: Likewise; the catalog's, else 0.1, by default.
        text_column: Column of the texts in a table; found by its name if empty.
        label_column: Column of the labels in a table; found by its name if empty.
        on_error: What to do with an unreadable image or incomplete row: "raise", or "skip" to leave it out
            and list it in the card.
        cache_dir: Where everything fetched or prepared is kept; data/cache of the project by default.

    Raises:
        OfflineError: It must be downloaded and cannot be.
        WorkbenchError: The spec, an option or the data itself does not work; the message says what to do.
    """
    options = Options(
        split_seed, image_size, max_samples, val_fraction, test_fraction, text_column, label_column, on_error
    )
    if spec.startswith("run:"):
        return open_prepared_run(spec, options)
    cache = cache_root(cache_dir)
    source = find_source(spec, options, cache)
    dataset = open_or_prepare(source, cache)
    return dataclasses.replace(
        dataset, recipe={"spec": spec, **options.to_json()}, card=dataset.card | source.about | {"spec": spec}
    )


def load_weights(name: str, cache_dir: str | Path | None = None) -> Path:
    """Return the folder with the files of a pretrained model in the catalog, fetched the first time.

    Args:
        name: A name under `weights` in data/catalog.yaml, such as "minilm-l6".
        cache_dir: As for `load_dataset`.
    """
    from workbench.datasets.fetch import fetch_member  # imports the parts of Python that speak HTTP

    return fetch_member(find_entry(name, "weights")["source"], cache_root(cache_dir))

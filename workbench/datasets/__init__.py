"""Datasets: from the catalog, a folder of images, a table of texts or a prepared run, to read-only arrays.

dataset = load_dataset("digits")
dataset.train.x, dataset.train.y, dataset.class_names
"""

import lazy_loader

# The command line asks for stamps, and shall not wait for numpy.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "catalog": ["load_catalog"],
        "dataset": ["Dataset", "Split", "open_dataset"],
        "loading": ["load_dataset", "load_weights"],
        "stamps": ["source_stamp"],
    },
)

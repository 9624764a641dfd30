"""Tables of data and results: data in, `DataFrame` out, nothing read or written."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.evaluation.selection import spread_over_classes

if TYPE_CHECKING:
    from workbench.datasets import Dataset, Split

SPLITS = ("train", "val", "test")


def table_split_sizes(dataset: "Dataset") -> pd.DataFrame:
    """Return one row for each split: samples, share of all samples, classes that occur."""
    labels = {name: getattr(dataset, name).y for name in SPLITS}
    total = sum(map(len, labels.values()))
    return pd.DataFrame(
        {
            "split": SPLITS,
            "samples": [len(labels[name]) for name in SPLITS],
            "share": [round(len(labels[name]) / max(total, 1), 4) for name in SPLITS],
            "classes": [len(np.unique(labels[name])) for name in SPLITS],
        }
    )


def table_text_samples(
    split: "Split", class_names: Sequence[str], count: int = 10, length: int = 200
) -> pd.DataFrame:
    """Return texts of a split with their class names, taking the classes in turn.

    Args:
        split: Texts (n,) and labels (n,).
        count: How many texts at most.
        length: Characters of each text to show.
    """
    chosen = spread_over_classes(split.y, count)
    return pd.DataFrame(
        {
            "class": [class_names[label] for label in split.y[chosen]],
            "text": [shorten(text, length) for text in split.x[chosen]],
        }
    )


def shorten(text: str, length: int) -> str:
    """Return `text` on one line, cut to `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"

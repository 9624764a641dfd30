"""Samples that lie far from all others."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.datasets.dataset import Dataset

MOST_SAMPLES = 4000  # that are compared with one another; the time grows with its square
_SIDE = 32  # pixels of an image that are compared along each side
_MOST_WORDS = 50_000


@dataclass(frozen=True)
class Outlier:
    """A sample far from its neighbours."""

    part: str  # the split
    row: int  # in the split
    distance: float  # to the neighbour, as a multiple of the median of all samples


def find_outliers(
    dataset: Dataset, count: int = 24, neighbours: int = 5, max_samples: int = MOST_SAMPLES
) -> list[Outlier]:
    """Return the samples with the greatest distance to their k-th nearest neighbour, farthest first.

    Images are compared by their pixels (Euclidean distance, about 32 a side), texts by the TF-IDF weights
    of their words (cosine distance). An outlier may be unreadable, wrongly labelled, or just rare.

    Args:
        dataset: Images or texts.
        count: How many at most.
        neighbours: k, counted without the sample itself.
        max_samples: Of a larger dataset every second, third, … sample is compared.

    Source:
        S. Ramaswamy, R. Rastogi and K. Shim (2000). Efficient algorithms for mining outliers from large data
        sets. SIGMOD, https://doi.org/10.1145/342009.335437 (definition 1).
    """
    places = [(part, row) for part, split in dataset.splits().items() for row in range(len(split))]
    places = places[:: -(-len(places) // max_samples) or 1]
    if len(places) < 3:
        return []
    splits = dataset.splits()
    samples = [splits[part].x[row] for part, row in places]
    text = dataset.task == "text-classification"
    features = _weigh_words(samples) if text else np.stack([_shrink(sample) for sample in samples])
    if features is None:
        return []
    distances = _distances(features, min(neighbours, len(places) - 1), "cosine" if text else "euclidean")
    typical = float(np.median(distances)) or 1.0
    farthest = np.argsort(-distances, kind="stable")[:count]
    return [Outlier(*places[number], distance=float(distances[number]) / typical) for number in farthest]


def _distances(features: Any, neighbour: int, metric: str) -> np.ndarray:
    """Return the distance of each row to its k-th nearest other row."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=neighbour, metric=metric, algorithm="brute").fit(features)
    return search.kneighbors()[0][:, -1]


def _weigh_words(texts: list[str]) -> Any:
    """Return TF-IDF weights, sparse (n, words); None where there is no word."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        return TfidfVectorizer(
            sublinear_tf=True, max_features=_MOST_WORDS, token_pattern=r"\w+", dtype=np.float32
        ).fit_transform(texts)
    except ValueError as error:
        if "empty vocabulary" in str(error):
            return None
        raise


def _shrink(image: np.ndarray) -> np.ndarray:
    """Return pixels from 0 to 1, averaged over blocks to about 32 a side, as one row."""
    height, width, channels = image.shape
    size = max(1, height // _SIDE), max(1, width // _SIDE)
    rows, columns = height // size[0], width // size[1]
    cropped = image[: rows * size[0], : columns * size[1]]
    blocks = cropped.reshape(rows, size[0], columns, size[1], channels)
    return (blocks.mean(axis=(1, 3), dtype=np.float32) / 255).reshape(-1)

"""What a model has to beat: guessing the majority class, and a linear model of the raw input.

Both are fitted on the training set alone. Work is bounded so that a baseline costs seconds, and the name of a
baseline says where a bound was met.
"""

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from workbench.errors import WorkbenchError
from workbench.evaluation.predictions import Predictions
from workbench.evaluation.results import Result

if TYPE_CHECKING:
    from workbench.datasets import Dataset

MOST_PIXELS = 32 * 32  # of an image; a larger one is averaged down to this
MOST_VALUES = 32_000_000  # training samples times features; CIFAR-10 has four times as many
FEWEST_IMAGES = 2_000  # to train on, however large they are
MOST_TERMS = 100_000  # words and pairs of words of the text baseline, the most frequent ones
ITERATIONS = 40  # of the solver; all of CIFAR-10 and twice as many gain 0.02 for ten times the time

# An ideograph or kana, a run of other letters and digits, or one sign of punctuation (also an emoji).
_IDEOGRAPHS = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+|[^\w\s]"


def evaluate_baselines(dataset: "Dataset") -> list[Result]:
    """Fit the trivial and the simple baseline of a dataset and return their test predictions.

    Raises:
        WorkbenchError: There is no baseline for the dataset's task.
    """
    simple = {"image-classification": fit_pixels, "text-classification": fit_words}
    if dataset.task not in simple:
        raise WorkbenchError(
            f"There is no baseline for the task {dataset.task!r} of the dataset {dataset.name}.\n"
            f"Baselines exist for {' and '.join(simple)}."
        )
    return [fit_majority(dataset), simple[dataset.task](dataset)]


def fit_majority(dataset: "Dataset") -> Result:
    """Give every test sample the class frequencies of the training set as its probabilities."""
    counts = np.bincount(dataset.train.y, minlength=len(dataset.class_names))
    frequencies = counts / counts.sum()
    return _result("majority class", dataset, np.tile(frequencies, (len(dataset.test), 1)))


def fit_pixels(dataset: "Dataset") -> Result:
    """Fit a logistic regression on pixels scaled to 0 to 1."""
    height, width, channels = dataset.input_shape
    factor = min(max(1, math.ceil(math.sqrt(height * width / MOST_PIXELS))), height, width)
    features = (height // factor) * (width // factor) * channels
    train, test = dataset.train, dataset.test
    chosen = _stratified_subset(train.y, max(MOST_VALUES // features, FEWEST_IMAGES))
    name = "logistic regression on pixels"
    if factor > 1:
        name += f", averaged over {factor} x {factor}"
    if len(chosen) < len(train):
        name += f", {len(chosen):,} of {len(train):,} training images"
    model = LogisticRegression(max_iter=ITERATIONS)
    _fit_bounded(model, _pixels(train.x, chosen, factor), train.y[chosen])
    test_pixels = _pixels(test.x, np.arange(len(test)), factor)
    return _result(name, dataset, _all_classes(model, test_pixels, dataset))


def fit_words(dataset: "Dataset") -> Result:
    """Fit a logistic regression on TF-IDF weights of words and pairs of words."""
    vectorizer = TfidfVectorizer(
        token_pattern=_TOKEN, ngram_range=(1, 2), sublinear_tf=True, max_features=MOST_TERMS
    )
    model = LogisticRegression(C=10, max_iter=ITERATIONS)  # TF-IDF rows have length 1: penalize less
    _fit_bounded(model, vectorizer.fit_transform(dataset.train.x), dataset.train.y)
    probabilities = _all_classes(model, vectorizer.transform(dataset.test.x), dataset)
    return _result("logistic regression on TF-IDF", dataset, probabilities)


def _fit_bounded(model: LogisticRegression, features: Any, labels: np.ndarray) -> None:
    """Fit with one thread, so that the result is the same to the bit however many there are."""
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # the iterations are bounded on purpose
        model.fit(features, labels)


def _all_classes(model: LogisticRegression, features: Any, dataset: "Dataset") -> np.ndarray:
    """Return (n, k) probabilities, 0 for classes that the training set does not hold."""
    probabilities = np.zeros((features.shape[0], len(dataset.class_names)))
    probabilities[:, model.classes_] = model.predict_proba(features)
    return probabilities


def _pixels(images: np.ndarray, chosen: np.ndarray, factor: int) -> np.ndarray:
    """Return the chosen images averaged over squares of `factor` pixels: (n, features) float32 from 0 to 1.

    Pixels beyond the last whole square are left out.
    """
    height, width = (side // factor for side in images.shape[1:3])
    batches = []
    for start in range(0, len(chosen), 1024):  # a few images at a time, they may be large
        batch = images[chosen[start : start + 1024], : height * factor, : width * factor]
        squares = batch.reshape(len(batch), height, factor, width, factor, -1)
        batches.append(squares.mean(axis=(2, 4), dtype=np.float32).reshape(len(batch), -1) / 255)
    return np.concatenate(batches)


def _stratified_subset(labels: np.ndarray, count: int) -> np.ndarray:
    """Return `count` random indices in the proportions of the classes, or all when there are no more."""
    if len(labels) <= count:
        return np.arange(len(labels))
    shuffled = np.random.default_rng(0).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    ordered = labels[order]
    rank = np.arange(len(labels)) - np.searchsorted(ordered, ordered)
    position = (rank + 0.5) / np.bincount(labels)[ordered]  # within its class, from 0 to 1
    return np.sort(order[np.argsort(position, kind="stable")[:count]])


def _result(name: str, dataset: "Dataset", probabilities: np.ndarray) -> Result:
    predictions = Predictions(
        ids=dataset.test.ids,
        labels=np.asarray(dataset.test.y),
        probabilities=probabilities.astype(np.float32),
        class_names=tuple(dataset.class_names),
    )
    return Result(name, "baseline", predictions)

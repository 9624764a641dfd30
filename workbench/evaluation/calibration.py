"""Whether probabilities deserve trust: reliability, expected calibration error, temperature scaling."""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import optimize, special

from workbench.errors import WorkbenchError
from workbench.evaluation.predictions import Predictions
from workbench.evaluation.statistics import RESAMPLES, widen_degenerate, wilson_interval

BINS = 15
_FEWEST_IN_BIN = 10  # samples; fewer bins are made where there are not enough
_HOTTEST = 100.0  # where the search for a temperature ends
_SMALLEST = float(np.finfo(np.float32).tiny)  # for the logarithm of a probability of 0


def measure_reliability(predictions: Predictions, bins: int = BINS) -> pd.DataFrame:
    """Return confidence and accuracy in bins of equally many samples, from the least to the most confident.

    Adaptive bins (Nguyen & O'Connor 2015, https://aclanthology.org/D15-1182) all rest on as much evidence,
    where bins of equal width leave most samples in the last one. Samples of one confidence stay together.

    Returns:
        Columns `samples`, `confidence` (mean probability of the predicted class), `accuracy`, `low` and
        `high` (Wilson's interval of the accuracy).
    """
    confidence, correct, numbers = _bin_samples(predictions, bins)
    rows = []
    for number in np.unique(numbers):
        chosen = numbers == number
        hits, samples = correct[chosen].sum(), chosen.sum()
        low, high = wilson_interval(hits, samples)
        rows.append((samples, confidence[chosen].mean(), hits / samples, low, high))
    return pd.DataFrame(rows, columns=["samples", "confidence", "accuracy", "low", "high"])


def measure_calibration_error(predictions: Predictions, bins: int = BINS) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy over adaptive bins.

    Guo et al. 2017 (https://arxiv.org/abs/1706.04599), equation 3.
    """
    table = measure_reliability(predictions, bins)
    gaps = (table["confidence"] - table["accuracy"]).abs()
    return float((gaps * table["samples"]).sum() / table["samples"].sum())


def bound_calibration_error(
    predictions: Predictions, bins: int = BINS, resamples: int = RESAMPLES, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Return a bootstrap interval of the expected calibration error.

    Noise in a bin counts as a gap, so the error is too high, and on resamples higher still: plain bootstrap
    intervals of a calibrated model lie above its error of 0. Here the interval begins at 0 unless the error
    is above what the noise alone would give; where it is, at the percentile of gaps with the variance of
    their noise taken off. It ends at the percentile less the bias that the resamples show. This is
    cautious: it covers 94 to 100 in 100 (`tests/test_coverage.py`). Where all answers are right, or all
    wrong, resamples know no other; the interval is then wider by the share that so many samples may miss.

    Args:
        predictions: Of n samples.
        bins: As for the error.
        resamples: How many.
        seed: The result is the same to the byte for the same seed.
        level: Of the interval.
    """
    confidence, correct, numbers = _bin_samples(predictions, bins)
    gap, size = confidence - correct, len(numbers)
    counts = np.bincount(numbers)
    observed = np.bincount(numbers, gap)
    noise = np.bincount(numbers, gap**2) - observed**2 / counts  # variance of each bin's sum
    random = np.random.default_rng(seed)
    drawn = np.empty((resamples, len(counts)))
    for row in drawn:
        chosen = random.integers(0, size, size)
        row[:] = np.bincount(numbers[chosen], gap[chosen], minlength=len(counts))
    low, high = (1 - level) / 2, (1 + level) / 2
    error, errors = np.abs(observed).sum() / size, np.abs(drawn).sum(axis=1) / size
    from_noise = np.abs(drawn - observed).sum(axis=1) / size
    without_noise = np.sqrt(np.maximum(drawn**2 - 2 * noise, 0)).sum(axis=1) / size
    start = np.quantile(without_noise, low) if error > np.quantile(from_noise, high) else 0.0
    end = max(np.quantile(without_noise, high), np.quantile(errors, high) - (errors.mean() - error))
    if not np.ptp(correct):
        room = widen_degenerate(size)
        start, end = max(start - room, 0), min(end + room, 1)
    return float(start), float(end)


def fit_temperature(validation: Predictions) -> float:
    """Return the temperature that makes the probabilities of a validation set most likely.

    Guo et al. 2017 (https://arxiv.org/abs/1706.04599), section 4.2; above 1 it makes a model less sure. Fit
    it on validation samples, never on those of the test.

    Raises:
        WorkbenchError: There is no sample.
    """
    if not len(validation):
        raise WorkbenchError(
            "The validation set has no sample, so no temperature can be fitted.\nGive val_fraction above 0."
        )
    logits = _logits(validation)
    rows = np.arange(len(logits))

    def loss(log_temperature: float) -> float:
        scaled = special.log_softmax(logits / np.exp(log_temperature), axis=1)
        return -scaled[rows, validation.labels].mean()

    bounds = (-np.log(_HOTTEST), np.log(_HOTTEST))
    found = optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def scale_temperature(predictions: Predictions, temperature: float) -> Predictions:
    """Return the predictions with their logits divided by a temperature; the predicted classes stay.

    Raises:
        WorkbenchError: The temperature is not above 0.
    """
    if not temperature > 0:
        raise WorkbenchError(f"A temperature of {temperature} divides nothing.\nGive one above 0.")
    scaled = special.softmax(_logits(predictions) / temperature, axis=1)
    return replace(predictions, probabilities=scaled.astype(np.float32))


def _bin_samples(predictions: Predictions, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return confidence (n,), correctness (n,) and the number of the bin (n,) of every sample."""
    if not len(predictions):
        raise WorkbenchError(
            "There is no sample, so the calibration cannot be measured.\nGive a test set with samples."
        )
    guesses = predictions.probabilities.argmax(axis=1)
    confidence = predictions.probabilities.max(axis=1).astype(np.float64)
    bins = max(1, min(bins, len(confidence) // _FEWEST_IN_BIN))
    edges = np.quantile(confidence, np.linspace(0, 1, bins + 1)[1:-1], method="lower")
    numbers = np.searchsorted(edges, confidence, side="left")
    numbers = np.unique(numbers, return_inverse=True)[1]  # bins that equal edges leave empty go
    return confidence, (guesses == predictions.labels).astype(np.float64), numbers


def _logits(predictions: Predictions) -> np.ndarray:
    return np.log(predictions.probabilities.astype(np.float64).clip(_SMALLEST))

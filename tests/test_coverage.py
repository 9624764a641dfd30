"""Simulated experiments: how often intervals hold the truth, and how often tests find what is not there.

Each case repeats an experiment a thousand times and more; the bounds allow for the Monte Carlo error.
"""

import numpy as np
import pytest
from scipy import special, stats

from workbench.evaluation import Predictions, bound_calibration_error, measure_calibration_error
from workbench.evaluation.statistics import (
    cross_difference,
    cross_mean,
    mcnemar,
    percentile_interval,
    permute_pairs,
    resample_measure,
    t_interval,
    wilson_interval,
)

RESAMPLES = 200


def simulate_answers(
    random: np.random.Generator, spread: float, seeds: int, samples: int, hardness: np.ndarray
) -> np.ndarray:
    """Return which answers of a model are right, (seeds, samples) bool; its expected accuracy is 0.8.

    A sample is hard for all models, harder for this one, and harder again for this seed; some seeds are
    better than others by `spread`, in the same unit.
    """
    own = random.normal(0, 1, samples)
    single = random.normal(0, 1, (seeds, samples))
    luck = random.normal(0, spread, (seeds, 1))
    level = stats.norm.ppf(0.8) * np.sqrt(hardness.var() + 2 + spread**2)
    return level + luck + hardness + own + single > 0


def draw_weights(random: np.random.Generator, samples: int) -> np.ndarray:
    """Return how often each sample is in each resample, as a share: (RESAMPLES, samples)."""
    return random.multinomial(samples, np.full(samples, 1 / samples), RESAMPLES) / samples


def simulate_crossed(
    spreads: tuple[float, float], seeds: int, samples: int, repeats: int
) -> tuple[float, float]:
    """Return the coverage of the interval of a difference and of a mean, whose truths are 0 and 0.8."""
    random = np.random.default_rng(0)
    held = np.zeros(2)
    for number in range(repeats):
        if number % 20 == 0:
            weights = draw_weights(random, samples)
        hardness = random.normal(0, 1.5, samples)
        hardness *= 1.5 / hardness.std()
        answers = [simulate_answers(random, spread, seeds, samples, hardness) for spread in spreads]
        values = [rows.mean(axis=1) for rows in answers]
        resampled = [weights @ rows.T for rows in answers]
        low, high = cross_difference(*values, *resampled, samples).interval()
        held[0] += low <= 0 <= high
        low, high = cross_mean(values[0], resampled[0], samples).interval()
        held[1] += low <= 0.8 <= high
    return tuple(held / repeats)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    "spreads",
    [(0.0, 0.0), (0.2, 0.2), (0.4, 0.4), (0.05, 0.3)],
    ids=["none", "like the samples'", "large", "unequal"],
)
def test_intervals_over_seeds_and_samples_hold_the_truth(spreads: tuple[float, float], seeds: int) -> None:
    difference, mean = simulate_crossed(spreads, seeds, samples=300, repeats=1500)
    assert 0.93 <= difference <= 0.97
    assert 0.93 <= mean <= 0.97


@pytest.mark.parametrize("seeds", [3, 5])
def test_seeds_alone_would_miss_the_noise_of_the_test_samples(seeds: int) -> None:
    """What the literature warns of: an interval over seeds alone does not speak of other test samples."""
    random = np.random.default_rng(1)
    held = 0
    for _ in range(500):
        answers = simulate_answers(random, 0.05, seeds, 300, random.normal(0, 1.5, 300))
        low, high = t_interval(answers.mean(axis=1))
        held += low <= 0.8 <= high
    assert held / 500 < 0.9


def test_t_interval_of_five_seeds_holds_the_truth_where_the_bootstrap_does_not() -> None:
    random = np.random.default_rng(0)
    held = np.zeros(2)
    repeats = 4000
    for _ in range(repeats):
        values = random.normal(0, 1, 5)
        low, high = t_interval(values)
        held[0] += low <= 0 <= high
        means = values[random.integers(0, 5, (300, 5))].mean(axis=1)
        low, high = percentile_interval(means)
        held[1] += low <= 0 <= high
    assert held[0] / repeats == pytest.approx(0.95, abs=0.012)
    assert held[1] / repeats < 0.87


@pytest.mark.parametrize(("samples", "share"), [(50, 0.9), (200, 0.98), (1000, 0.7)])
def test_wilson_interval_holds_the_truth(samples: int, share: float) -> None:
    successes = np.arange(samples + 1)
    chances = stats.binom.pmf(successes, samples, share)
    intervals = np.array([wilson_interval(number, samples) for number in successes])
    covered = chances[(intervals[:, 0] <= share) & (share <= intervals[:, 1])].sum()
    assert 0.925 <= covered <= 0.985  # exact; the steps of counts keep it off 0.95


def simulate_pair(random: np.random.Generator, samples: int) -> tuple[Predictions, Predictions]:
    """Return two models that are equally good, on samples that are hard for both."""
    labels = random.integers(0, 3, samples)
    hard = random.random(samples) < 0.4
    both = []
    for _ in range(2):
        guesses = np.where(hard & (random.random(samples) < 0.6), random.integers(0, 3, samples), labels)
        both.append(Predictions(np.arange(samples).astype(str), labels, np.eye(3)[guesses], ("a", "b", "c")))
    return both[0], both[1]


def test_paired_tests_of_equal_models_are_wrong_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    repeats = 1000
    found = np.zeros(3)
    for number in range(repeats):
        one, other = simulate_pair(random, 150)
        correct = [each.probabilities.argmax(1) == each.labels for each in (one, other)]
        found[0] += mcnemar(*correct)[0] < 0.05
        found[1] += permute_pairs("macro_f1", one, other, 199, seed=number) <= 0.05
        low, high = percentile_interval(np.diff(resample_measure("macro_f1", [one, other], 300, number)))
        found[2] += not low <= 0 <= high
    mcnemar_rate, permutation_rate, bootstrap_rate = found / repeats
    assert mcnemar_rate <= 0.064  # exact and corrected tests are cautious
    assert permutation_rate == pytest.approx(0.05, abs=0.021)
    assert bootstrap_rate == pytest.approx(0.05, abs=0.025)


@pytest.mark.parametrize("sharpness", [1.0, 1.6])
def test_interval_of_the_calibration_error_holds_the_truth(sharpness: float) -> None:
    """The truth is the mean gap of very many samples of the same model."""
    random = np.random.default_rng(0)

    def draw(samples: int) -> Predictions:
        logits = random.normal(0, 1.5, (samples, 3))
        chances = special.softmax(logits, axis=1)
        labels = (random.random((samples, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(0, 2)
        said = special.softmax(logits * sharpness, axis=1)
        return Predictions(np.arange(samples).astype(str), labels, said, ("a", "b", "c"))

    truth = measure_calibration_error(draw(1_000_000))
    repeats = 200
    held = 0
    for number in range(repeats):
        low, high = bound_calibration_error(draw(800), resamples=300, seed=number)
        held += low <= truth <= high
    assert 0.9 <= held / repeats <= 1

"""Several labels, numbers and rankings: measures as sums, resampling and tests against references."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from workbench.errors import WorkbenchError
from workbench.evaluation import Outputs, measure_outputs
from workbench.evaluation.rankings import RANKING_MEASURES, measure_queries
from workbench.evaluation.statistics import (
    MEASURES_OF_TASK,
    compute_measure,
    count_units,
    cross_difference,
    permute_pairs,
    resample_measure,
)

CASES = [(task, measure) for task in MEASURES_OF_TASK for measure in MEASURES_OF_TASK[task]][
    len(MEASURES_OF_TASK["classification"]) :
]


def make_outputs(task: str, seed: int, skill: float = 1.0, samples: int = 120, width: int = 3) -> Outputs:
    """Return what a model says of samples that are the same for every seed."""
    truth_random, random = np.random.default_rng(0), np.random.default_rng(seed + 1)
    groups = None
    if task == "multi-label":
        targets = truth_random.integers(0, 2, (samples, width)).astype(float)
        outputs = np.clip((targets * skill + random.random((samples, width))) / (1 + skill), 0, 1)
    elif task == "regression":
        targets = 50 + truth_random.normal(0, 3, (samples, width))
        outputs = targets + random.normal(0, 1 / skill, (samples, width))
    else:
        targets = truth_random.integers(0, 3, (samples, 1)).astype(float)
        outputs = np.round(targets * skill + random.normal(0, 1, (samples, 1)), 1)
        groups = np.sort(truth_random.integers(0, samples // 12, samples)).astype(str)
    names = tuple(f"name {number}" for number in range(targets.shape[1]))
    return Outputs(task, np.arange(samples).astype(str), targets, outputs, names, groups)


def take(outputs: Outputs, rows: np.ndarray) -> Outputs:
    return Outputs(
        outputs.task, np.arange(len(rows)).astype(str), outputs.targets[rows], outputs.outputs[rows],
        outputs.names,
    )  # fmt: skip


def rank(scores: list[float], relevance: list[float]) -> Outputs:
    count = len(scores)
    columns = (np.array(values, float)[:, None] for values in (relevance, scores))
    return Outputs("ranking", np.arange(count).astype(str), *columns, ("relevance",), np.full(count, "q"))


class TestMeasures:
    @pytest.mark.parametrize(("task", "measure"), CASES)
    def test_written_as_sums_agree_with_scikit_learn(self, task: str, measure: str) -> None:
        runs = [make_outputs(task, seed, skill) for seed, skill in enumerate((0.3, 1.0, 2.0))]
        expected = [measure_outputs(run)[measure] for run in runs]
        np.testing.assert_allclose(compute_measure(measure, runs), expected, rtol=1e-6)

    @pytest.mark.parametrize("measure", ["macro_f1", "micro_f1"])
    def test_of_labels_that_nobody_has_or_says_count_nothing(self, measure: str) -> None:
        run = make_outputs("multi-label", 0)
        run.targets[:, 1] = 0
        run.outputs[:, 1] = 0
        expected = metrics.f1_score(run.targets, run.outputs >= 0.5, average=measure[:5], zero_division=0)
        assert compute_measure(measure, [run])[0] == pytest.approx(expected)

    def test_of_another_task_are_refused_with_those_there_are(self) -> None:
        with pytest.raises(WorkbenchError, match=r"'accuracy'.*task regression.*\n.*mae, rmse, r2"):
            compute_measure("accuracy", [make_outputs("regression", 0)])

    def test_of_different_samples_are_refused(self) -> None:
        one, other = make_outputs("regression", 0), make_outputs("regression", 0, samples=100)
        with pytest.raises(WorkbenchError, match="120 samples of 3 quantities and 100 samples"):
            compute_measure("mae", [one, other])

    def test_of_large_numbers_that_hardly_vary_keep_their_digits(self) -> None:
        run = make_outputs("regression", 0)
        run.targets[:] = 1e7 + run.targets / 100
        run.outputs[:] = 1e7 + run.outputs / 100
        assert compute_measure("r2", [run])[0] == pytest.approx(metrics.r2_score(run.targets, run.outputs))


class TestTies:
    @pytest.mark.parametrize("measure", RANKING_MEASURES)
    @pytest.mark.parametrize(
        ("scores", "relevance"),
        [
            ([1, 1, 1, 1, 1], [0, 1, 0, 1, 0]),
            ([3, 2, 2, 2, 1], [0, 0, 1, 0, 1]),
            ([2, 2, 1, 1, 1], [0, 0, 1, 1, 0]),
        ],
    )
    def test_of_scores_count_as_in_a_random_order(
        self, measure: str, scores: list[float], relevance: list[float]
    ) -> None:
        """The order in which the items happen to be stored changes nothing."""
        found = {
            round(
                measure_queries(rank([scores[i] for i in order], [relevance[i] for i in order]), measure)[0],
                12,
            )
            for order in permutations(range(5))
        }
        assert len(found) == 1

    def test_reciprocal_rank_is_the_mean_over_all_orders_of_tied_items(self) -> None:
        scores, relevance = [3.0, 2.0, 2.0, 2.0, 2.0, 1.0], [0, 0, 1, 0, 1, 1]
        ranks = []
        for order in permutations(range(1, 5)):
            placed = [relevance[0], *(relevance[i] for i in order), relevance[5]]
            ranks.append(1 / (placed.index(1) + 1))
        assert measure_queries(rank(scores, relevance), "mrr")[0] == pytest.approx(np.mean(ranks))

    def test_recall_shares_the_last_places_among_tied_items(self) -> None:
        scores, relevance = [2.0] * 8 + [1.0] * 4, [0] * 8 + [1, 1, 0, 0]
        assert measure_queries(rank(scores, relevance), "recall_10")[0] == pytest.approx(0.5)


class TestResampling:
    @pytest.mark.parametrize("measure", ["mae", "rmse", "r2"])
    def test_of_numbers_agrees_with_scipy(self, measure: str) -> None:
        one, other = make_outputs("regression", 1), make_outputs("regression", 2, 1.1)
        resampled = resample_measure(measure, [one, other], 4000, seed=0)
        found = np.quantile(resampled[:, 0] - resampled[:, 1], [0.025, 0.975])

        def difference(rows: np.ndarray) -> float:
            first, second = (measure_outputs(take(run, rows))[measure] for run in (one, other))
            return first - second

        reference = stats.bootstrap(
            (np.arange(120),), difference, n_resamples=800, method="percentile", vectorized=False, rng=1
        )
        spread = reference.standard_error
        np.testing.assert_allclose(found, reference.confidence_interval, atol=0.2 * spread)

    def test_of_rankings_draws_whole_queries(self) -> None:
        run = make_outputs("ranking", 1)
        values = measure_queries(run, "ndcg_10")
        assert count_units(run) == len(values) < len(run)
        resampled = resample_measure("ndcg_10", [run], 5000)[:, 0]
        assert resampled.std() == pytest.approx(values.std() / len(values) ** 0.5, rel=0.05)

    @pytest.mark.parametrize(("task", "measure"), [("regression", "mae"), ("ranking", "ndcg_10")])
    def test_permutation_agrees_with_scipy(self, task: str, measure: str) -> None:
        one, other = make_outputs(task, 1, 1.0), make_outputs(task, 2, 1.25)
        if task == "regression":
            values = [np.abs(run.outputs - run.targets).mean(axis=1) for run in (one, other)]
        else:
            values = [measure_queries(run, measure) for run in (one, other)]
        reference = stats.permutation_test(
            values, lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=20_000, rng=0
        )
        found = permute_pairs(measure, one, other, 20_000)
        assert found == pytest.approx(reference.pvalue, abs=0.012)

    def test_permutation_does_not_depend_on_the_unit_of_the_numbers(self) -> None:
        one, other = make_outputs("regression", 1), make_outputs("regression", 2, 1.25)
        p_value = permute_pairs("mae", one, other, 2000)
        for run in (one, other):
            run.targets[:] *= 1e-15
            run.outputs[:] *= 1e-15
        assert permute_pairs("mae", one, other, 2000) == p_value

    @pytest.mark.parametrize(("task", "measure"), CASES)
    def test_is_the_same_to_the_byte_for_the_same_seed(self, task: str, measure: str) -> None:
        runs = [make_outputs(task, seed) for seed in range(3)]
        first, second = (resample_measure(measure, runs, 100, seed=5).tobytes() for _ in range(2))
        assert first == second


class TestSimulations:
    @pytest.mark.parametrize("seeds", [3, 5])
    @pytest.mark.parametrize("spread", [0.0, 0.1])
    def test_interval_of_a_difference_of_errors_holds_the_truth(self, seeds: int, spread: float) -> None:
        """Two methods are equally good; a sample is hard for both, and some seeds are better than others."""
        random, held, repeats, samples = np.random.default_rng(0), 0, 1500, 200
        for number in range(repeats):
            if number % 20 == 0:
                weights = random.multinomial(samples, np.full(samples, 1 / samples), 200) / samples
            hardness = random.lognormal(0, 0.5, samples)
            luck = np.exp(random.normal(0, spread, (2 * seeds, 1)))
            errors = np.abs(luck * hardness * random.normal(0, 1, (2 * seeds, samples)))
            one, other = errors[:seeds], errors[seeds:]
            found = cross_difference(
                one.mean(axis=1), other.mean(axis=1), weights @ one.T, weights @ other.T, samples
            )
            low, high = found.interval()
            held += low <= 0 <= high
        assert 0.93 <= held / repeats <= 0.97

    def test_permutation_of_equal_rankings_is_wrong_as_often_as_it_says(self) -> None:
        random, found, repeats = np.random.default_rng(0), 0, 400
        relevance = np.tile([1.0, 0, 0, 0], 30)[:, None]
        groups = np.repeat(np.arange(30), 4).astype(str)
        ids = np.arange(120).astype(str)
        for number in range(repeats):
            one, other = (
                Outputs("ranking", ids, relevance, relevance + random.normal(0, 1, (120, 1)), ("r",), groups)
                for _ in range(2)
            )
            found += permute_pairs("mrr", one, other, 199, seed=number) <= 0.05
        assert found / repeats == pytest.approx(0.05, abs=0.033)

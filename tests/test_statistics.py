"""Resampling, tests and planning against scipy, statsmodels and scikit-learn."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower
from statsmodels.stats.proportion import proportion_confint

from workbench.errors import WorkbenchError
from workbench.evaluation import Predictions
from workbench.evaluation.statistics import (
    RESAMPLED_MEASURES,
    adjust_p_values,
    compute_measure,
    cross_difference,
    cross_mean,
    fisher,
    mcnemar,
    permute_pairs,
    plan_seeds,
    resample_measure,
    t_interval,
    wilson_interval,
)

REFERENCES = {
    "accuracy": lambda labels, guesses, _: metrics.accuracy_score(labels, guesses),
    "balanced_accuracy": lambda labels, guesses, _: metrics.balanced_accuracy_score(labels, guesses),
    "macro_f1": lambda labels, guesses, _: metrics.f1_score(
        labels, guesses, labels=np.unique(labels), average="macro", zero_division=0
    ),
    "weighted_f1": lambda labels, guesses, _: metrics.f1_score(
        labels, guesses, average="weighted", zero_division=0
    ),
    "kappa": lambda labels, guesses, _: metrics.cohen_kappa_score(labels, guesses),
    "matthews": lambda labels, guesses, _: metrics.matthews_corrcoef(labels, guesses),
    "log_loss": lambda labels, _, values: metrics.log_loss(labels, values, labels=range(values.shape[1])),
    "top_5": lambda labels, _, values: metrics.top_k_accuracy_score(
        labels, values, k=5, labels=range(values.shape[1])
    ),
    "brier": lambda labels, _, values: ((values - np.eye(values.shape[1])[labels]) ** 2).sum(axis=1).mean(),
}


def make_predictions(
    samples: int, classes: int, skill: float, seed: int, labels_seed: int = 0
) -> Predictions:
    labels = np.random.default_rng(0).integers(0, classes, samples)
    random = np.random.default_rng(seed + 1)
    values = random.random((samples, classes))
    values[np.arange(samples), labels] += skill * random.random(samples)
    values = (values / values.sum(axis=1, keepdims=True)).astype(np.float32)
    names = tuple(f"class {number}" for number in range(classes))
    return Predictions(np.arange(samples).astype(str), labels, values, names)


class TestMeasures:
    @pytest.mark.parametrize(
        ("measure", "classes"),
        [
            (measure, classes)
            for measure in RESAMPLED_MEASURES
            for classes in (2, 7, 100)
            if measure != "top_5" or classes > 5
        ],
    )
    def test_written_as_sums_agree_with_scikit_learn(self, measure: str, classes: int) -> None:
        runs = [make_predictions(300, classes, skill, seed) for seed, skill in enumerate((0.2, 1.0, 3.0))]
        expected = [
            REFERENCES[measure](run.labels, run.probabilities.argmax(1), run.probabilities) for run in runs
        ]
        np.testing.assert_allclose(compute_measure(measure, runs), expected, rtol=1e-6)

    def test_of_constant_predictions_are_defined(self) -> None:
        runs = [Predictions(np.arange(4).astype(str), np.array([0, 0, 1, 1]), np.eye(2)[[0] * 4], ("a", "b"))]
        found = {name: compute_measure(name, runs)[0] for name in ("kappa", "matthews", "macro_f1")}
        assert found == pytest.approx({"kappa": 0, "matthews": 0, "macro_f1": 1 / 3})

    def test_that_do_not_exist_are_refused(self) -> None:
        with pytest.raises(WorkbenchError, match=r"'f2' cannot be resampled.*\n.*macro_f1"):
            compute_measure("f2", [make_predictions(10, 2, 1, 0)])

    def test_of_the_top_five_of_five_classes_is_refused(self) -> None:
        with pytest.raises(WorkbenchError, match="Of 5 classes the top 5 hold every one"):
            compute_measure("top_5", [make_predictions(10, 5, 1.0, 0)])

    def test_of_different_samples_are_refused(self) -> None:
        with pytest.raises(WorkbenchError, match="different test sets"):
            compute_measure("accuracy", [make_predictions(10, 2, 1, 0), make_predictions(12, 2, 1, 0)])


class TestResampling:
    @pytest.mark.parametrize("measure", ["macro_f1", "log_loss"])
    def test_of_pairs_agrees_with_scipy(self, measure: str) -> None:
        one, other = make_predictions(200, 3, 1.0, 1), make_predictions(200, 3, 1.3, 2)
        resampled = resample_measure(measure, [one, other], 4000, seed=0)
        found = np.quantile(resampled[:, 0] - resampled[:, 1], [0.025, 0.975])

        def difference(rows: np.ndarray) -> float:
            scores = [
                REFERENCES[measure](
                    run.labels[rows], run.probabilities[rows].argmax(1), run.probabilities[rows]
                )
                for run in (one, other)
            ]
            return scores[0] - scores[1]

        reference = stats.bootstrap(
            (np.arange(200),), difference, n_resamples=800, method="percentile", vectorized=False, rng=1
        )
        spread = reference.standard_error
        np.testing.assert_allclose(found, reference.confidence_interval, atol=0.2 * spread)
        assert np.std(resampled[:, 0] - resampled[:, 1]) == pytest.approx(spread, rel=0.1)

    def test_of_one_resample_is_refused(self) -> None:
        with pytest.raises(WorkbenchError, match="1 resamples show no spread"):
            resample_measure("accuracy", [make_predictions(10, 2, 1.0, 0)], 1)

    def test_counts_every_resample_exactly(self) -> None:
        """With one sample there is but one resample, and it is the sample."""
        run = Predictions(np.array(["a"]), np.array([1]), np.array([[0.1, 0.9]]), ("x", "y"))
        assert resample_measure("accuracy", [run], 50).tolist() == [[1.0]] * 50

    @pytest.mark.parametrize("measure", ["macro_f1", "brier"])
    def test_is_the_same_to_the_byte_for_the_same_seed(self, measure: str) -> None:
        runs = [make_predictions(500, 4, 1, seed) for seed in range(3)]
        first, again = (resample_measure(measure, runs, 300, seed=7) for _ in range(2))
        assert first.tobytes() == again.tobytes()
        assert first.tobytes() != resample_measure(measure, runs, 300, seed=8).tobytes()

    def test_of_many_classes_takes_the_sparse_way_to_the_same_numbers(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        runs = [make_predictions(200, 30, 2, seed) for seed in range(2)]
        dense = resample_measure("macro_f1", runs, 50)
        monkeypatch.setattr("workbench.evaluation.statistics.class_sums._DENSE_COLUMNS", 0)
        np.testing.assert_array_equal(resample_measure("macro_f1", runs, 50), dense)


class TestTests:
    @pytest.mark.parametrize("skill", [1.02, 1.5, 4.0])
    def test_mcnemar_agrees_with_statsmodels(self, skill: float) -> None:
        runs = [make_predictions(400, 3, 1.0, 1), make_predictions(400, 3, skill, 2)]
        one, other = (run.probabilities.argmax(1) == run.labels for run in runs)
        p_value, name = mcnemar(one, other)
        table = [[(one & other).sum(), (one & ~other).sum()], [(~one & other).sum(), (~one & ~other).sum()]]
        few = (one != other).sum() < 25
        expected = statsmodels_mcnemar(np.array(table), exact=bool(few), correction=True).pvalue
        assert p_value == pytest.approx(expected)
        assert ("exact" in name) == few

    def test_mcnemar_of_few_differences_is_exact(self) -> None:
        one, other = np.array([True] * 8 + [False] * 2), np.array([True] * 2 + [False] * 7 + [True])
        p_value, name = mcnemar(one, other)
        assert name == "McNemar's exact test"
        assert p_value == pytest.approx(stats.binomtest(1, 7).pvalue)

    def test_mcnemar_of_equal_answers_claims_nothing(self) -> None:
        same = np.array([True, False, True])
        assert mcnemar(same, same)[0] == 1

    @pytest.mark.parametrize("measure", ["macro_f1", "log_loss"])
    def test_permutation_agrees_with_scipy(self, measure: str) -> None:
        one, other = make_predictions(80, 3, 1.0, 1), make_predictions(80, 3, 1.9, 2)
        pairs = np.stack([one.probabilities, other.probabilities])

        def difference(first: np.ndarray, second: np.ndarray) -> float:
            scores = [
                REFERENCES[measure](one.labels, values.argmax(1), values)
                for values in (pairs[first, np.arange(80)], pairs[second, np.arange(80)])
            ]
            return scores[0] - scores[1]

        reference = stats.permutation_test(
            (np.zeros(80, int), np.ones(80, int)),
            difference,
            permutation_type="samples",
            n_resamples=500,
            vectorized=False,
            rng=1,
        )
        assert permute_pairs(measure, one, other, 4000) == pytest.approx(reference.pvalue, abs=0.05)

    def test_fisher_agrees_with_scipy(self) -> None:
        assert fisher(5, 20, 30, 400) == pytest.approx(stats.fisher_exact([[5, 15], [30, 370]]).pvalue)

    @pytest.mark.parametrize(("method", "name"), [("holm", "holm"), ("bh", "fdr_bh")])
    def test_corrections_agree_with_statsmodels(self, method: str, name: str) -> None:
        p_values = np.random.default_rng(0).random(20) ** 3
        np.testing.assert_allclose(adjust_p_values(p_values, method), multipletests(p_values, method=name)[1])

    def test_correction_leaves_out_what_was_not_tested(self) -> None:
        found = adjust_p_values(np.array([0.01, np.nan, 0.04]))
        np.testing.assert_allclose(found, [0.02, np.nan, 0.04])

    def test_correction_that_does_not_exist_is_refused(self) -> None:
        with pytest.raises(WorkbenchError, match="no correction 'none'"):
            adjust_p_values(np.array([0.5]), "none")


class TestIntervals:
    def test_t_agrees_with_scipy(self) -> None:
        values = np.array([0.91, 0.93, 0.9, 0.94, 0.92])
        expected = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
        assert t_interval(values) == pytest.approx(expected)
        assert np.isnan(t_interval(values[:1])).all()

    @pytest.mark.parametrize("successes", [0, 3, 97, 100])
    def test_wilson_agrees_with_statsmodels(self, successes: int) -> None:
        expected = proportion_confint(successes, 100, method="wilson")
        assert wilson_interval(successes, 100) == pytest.approx(expected, abs=1e-12)

    def test_over_seeds_is_the_one_of_welch_where_the_test_samples_add_nothing(self) -> None:
        one, other = np.array([0.9, 0.92, 0.91]), np.array([0.85, 0.89, 0.88, 0.84])
        still = [np.tile(values, (10, 1)) for values in (one, other)]
        found = cross_difference(one, other, *still, samples=10_000)
        reference = stats.ttest_ind(one, other, equal_var=False)
        assert found.p_value == pytest.approx(reference.pvalue)
        assert found.interval() == pytest.approx(tuple(reference.confidence_interval()))

    def test_over_samples_is_normal_where_the_seeds_agree(self) -> None:
        random = np.random.default_rng(0)
        noise = random.normal(0, 0.01, (2000, 1))
        one, other = np.full(3, 0.9), np.full(3, 0.88)
        found = cross_difference(one, other, one + noise, other - noise, samples=10_000)
        assert found.seed_variance == pytest.approx(0)
        assert found.error == pytest.approx(2 * noise.std(ddof=1), rel=1e-6)

    def test_over_seeds_that_agree_by_different_mistakes_is_that_of_their_mean(self) -> None:
        """Two seeds of 20 samples miss two each, not the same ones: their covariance is below zero."""
        hits = np.ones((2, 20))
        hits[0, :2] = hits[1, 2:4] = 0
        random = np.random.default_rng(0)
        weights = random.multinomial(20, np.full(20, 1 / 20), 20_000) / 20
        resampled, perfect = weights @ hits.T, np.ones((20_000, 2))
        expected = (hits.mean(axis=0).var() / 20) ** 0.5  # of a mean of 20 samples
        found = cross_mean(hits.mean(axis=1), resampled, 20)
        assert found.error == pytest.approx(expected, rel=0.03)
        found = cross_difference(np.ones(2), hits.mean(axis=1), perfect, resampled, 20)
        assert found.error == pytest.approx(expected, rel=0.03)
        assert found.p_value == pytest.approx(2 * stats.t.sf(0.1 / expected, 19), rel=0.2)


class TestPlanning:
    @pytest.mark.parametrize("difference", [0.02, 0.01, 0.005])
    def test_of_seeds_agrees_with_statsmodels(self, difference: float) -> None:
        plan = plan_seeds(difference, (0.01, 0.01))
        power = TTestIndPower()
        assert power.power(difference / 0.01, plan.seeds, 0.05) >= 0.8
        assert power.power(difference / 0.01, plan.seeds - 1, 0.05) < 0.8

    def test_says_when_no_number_of_seeds_suffices(self) -> None:
        plan = plan_seeds(0.005, (0.01, 0.01), sample_variance=0.01**2, samples=1000)
        assert plan.seeds is None
        assert plan.test_samples == pytest.approx(1000 * (0.01 * 2.8016 / 0.005) ** 2, rel=0.01)
        assert "test set would need about" in str(plan)

    def test_of_no_difference_is_refused(self) -> None:
        with pytest.raises(WorkbenchError, match="cannot be found"):
            plan_seeds(0, (0.01, 0.01))

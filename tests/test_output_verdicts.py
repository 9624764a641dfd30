"""`compare(runs)` for numbers, several labels and rankings."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

import workbench as wb
from workbench.cli import commands
from workbench.errors import WorkbenchError
from workbench.evaluation import Outputs, Result, ablate, compare, find_slices, judge, measure_outputs
from workbench.tables import table_estimates, table_measures, table_pairs

TASKS = ("multi-label", "regression", "ranking")
SAMPLES = 600


def make_outputs(task: str, noise: float, seed: int, samples: int = SAMPLES, data_seed: int = 0) -> Outputs:
    """Return what a model says that is off by `noise`; the truth is the same for every seed."""
    truth, random = np.random.default_rng(data_seed), np.random.default_rng(100 + seed)
    groups = None
    if task == "multi-label":
        targets = truth.integers(0, 2, (samples, 3)).astype(float)
        outputs = np.clip(0.5 + (targets - 0.5) / 2 + noise * random.normal(0, 1, targets.shape), 0, 1)
    elif task == "regression":
        targets = truth.normal(20, 5, (samples, 1))
        outputs = targets + noise * 3 * random.normal(0, 1, targets.shape)
    else:
        targets = (truth.random((samples, 1)) < 0.2).astype(float)
        outputs = targets + noise * 3 * random.normal(0, 1, targets.shape)
        groups = (np.arange(samples) // 6).astype(str)
    names = tuple("abc"[: targets.shape[1]])
    return Outputs(task, np.arange(samples).astype(str), targets, outputs, names, groups)


def result(task: str, model: str, noise: float, seed: int, **options: Any) -> Result:
    return Result(model, "model", make_outputs(task, noise, seed, **options), seed)


def constant(outputs: Outputs, value: float) -> Outputs:
    return Outputs(
        outputs.task, outputs.ids, outputs.targets, np.full_like(outputs.outputs, value), outputs.names,
        outputs.groups,
    )  # fmt: skip


@pytest.fixture
def train(project: Path) -> Callable[..., str]:
    """Make a finished run that stored outputs, and return its folder."""

    def make(
        task: str,
        model: str,
        noise: float,
        seed: int,
        *,
        outputs: Outputs | None = None,
        epochs: tuple[dict[str, float], ...] = (),
        details: dict[str, str] | None = None,
        data_seed: int = 0,
        **parameters: Any,
    ) -> str:
        path = f"runs/made/{model}-{data_seed}-seed={seed}"
        run = wb.start_run(path, parameters={"seed": seed, **parameters}, name="train")
        run.record(dataset={"name": "made", "task": task, "fingerprint": f"{data_seed}" * 32})
        run.record(model=model, **(details or {}))
        for number, metrics in enumerate(epochs):
            run.log.write("epoch", epoch=number, step=1, metrics=metrics)
        saved = outputs or make_outputs(task, noise, seed, data_seed=data_seed)
        wb.evaluation.write_outputs(run, saved)
        run.finish()
        return path

    return make


def rules(verdict: wb.evaluation.Verdict) -> list[str]:
    return [finding.rule for finding in verdict.findings]


class TestSentence:
    @pytest.mark.parametrize(
        ("task", "measure", "unit", "size"),
        [
            ("regression", "mae", " of mean absolute error", "600 test samples"),
            ("multi-label", "macro_f1", " points of macro-F1", "600 test samples"),
            ("ranking", "ndcg_10", " of NDCG@10", r"\d\d test queries"),
        ],
    )
    def test_claims_what_the_data_carry_by_the_measure_of_the_task(
        self, train: Callable[..., str], task: str, measure: str, unit: str, size: str
    ) -> None:
        runs = [
            train(task, model, noise, seed)
            for model, noise in (("far", 0.4), ("near", 0.2))
            for seed in range(5)
        ]
        (verdict,) = compare(runs, resamples=1000)
        assert verdict.measure == measure
        found = re.match(
            rf"near is better than far by (\S+){unit} \(95 % interval (\S+) to (\S+); 5 seeds, {size}; "
            r"t over seeds and paired bootstrap over test samples\)\.",
            verdict.sentence,
        )
        assert found, verdict.sentence
        difference, low, high = map(float, found.groups())
        assert 0 < low < difference < high
        assert verdict.plan(verdict.pairs[0].difference).seeds == 2
        assert verdict.plan(verdict.pairs[0].difference / 1e6).seeds is None

    def test_says_where_the_data_do_not_separate(self) -> None:
        results = [result("regression", name, 0.3, seed) for name in "ab" for seed in range(3)]
        results[3:] = [result("regression", "b", 0.3, 10 + seed) for seed in range(3)]
        verdict = judge(results, "rmse", "made", resamples=1000)
        assert "These data do not separate" in verdict.sentence
        assert "root mean squared error" in verdict.sentence

    @pytest.mark.parametrize(
        ("task", "measure", "test", "effect"),
        [
            ("multi-label", "exact_match", "McNemar's test", "near more labels right on"),
            ("multi-label", "micro_f1", "paired permutation test", "near more labels right on"),
            ("regression", "r2", "paired permutation test", "near closer on"),
            ("ranking", "mrr", "paired permutation test", "near higher NDCG on"),
        ],
    )
    def test_of_single_runs_names_the_right_test(
        self, task: str, measure: str, test: str, effect: str
    ) -> None:
        results = [result(task, "near", 0.2, 0), result(task, "far", 0.5, 1)]
        verdict = judge(results, measure, "made", resamples=500)
        (pair,) = verdict.pairs
        assert (pair.better, pair.separates()) == ("near", True)
        assert test in pair.test
        assert pair.effect.startswith(effect)
        assert "one seed of near and of far" in verdict.sentence

    def test_interval_of_one_model_over_seeds_alone_is_that_of_scipy(self) -> None:
        verdict = judge(
            [result("regression", "a", 0.3, seed) for seed in range(5)], "", "made", resamples=500
        )
        (estimate,) = verdict.estimates
        expected = stats.t.interval(0.95, 4, np.mean(estimate.values), stats.sem(estimate.values))
        assert estimate.seed_interval == pytest.approx(expected)
        assert estimate.low < estimate.value < estimate.high

    def test_is_the_same_to_the_byte_for_the_same_seed(self) -> None:
        results = [result("ranking", name, 0.3, seed) for name in "ab" for seed in range(3)]
        tables = [table_pairs(judge(results, "", "made", resamples=300)).to_csv() for _ in range(2)]
        assert tables[0] == tables[1]

    def test_command_prints_it(self, train: Callable[..., str]) -> None:
        runs = [
            train("regression", name, noise, seed)
            for name, noise in (("far", 0.5), ("near", 0.2))
            for seed in (1, 2, 3)
        ]
        done = CliRunner().invoke(commands, ["compare", *runs, "--measure", "rmse"], catch_exceptions=False)
        assert done.exit_code == 0
        assert "near is better than far by" in done.output
        assert "of root mean squared error" in done.output


class TestEvidence:
    def test_measures_of_every_run_stand_in_one_table(self) -> None:
        results = [result("regression", "a", 0.3, seed) for seed in range(2)]
        found = table_measures(results).iloc[1]
        assert found["rmse"] == pytest.approx(measure_outputs(results[1].predictions)["rmse"])

    def test_choices_of_a_matrix_are_ablated(self, train: Callable[..., str]) -> None:
        runs = [
            train("regression", f"net-{width}", noise, seed, width=width)
            for width, noise in ((8, 0.5), (64, 0.2))
            for seed in range(3)
        ]
        (row,) = ablate(wb.evaluation.read_results(runs), resamples=300).to_dict("records")
        assert (row["from"], row["to"]) == ("8", "64")
        assert 0 < row["low"] < row["gain"] < row["high"], "a smaller error is a gain"


class TestGuards:
    def test_notice_that_the_test_data_validated_a_regression(self, train: Callable[..., str]) -> None:
        outputs = make_outputs("regression", 0.3, 0)
        measured = measure_outputs(outputs)
        same = {"val_loss": measured["rmse"] ** 2 * (1 + 2e-5), "val_mae": measured["mae"] * (1 - 2e-5)}
        half = {"val_loss": same["val_loss"], "val_mae": same["val_mae"] * 1.01}
        marked = train("regression", "leaky", 0, 0, outputs=outputs, epochs=(half, same))
        (verdict,) = compare([marked], resamples=100)
        assert rules(verdict)[0] == "test_data_in_training"
        assert "in epoch 2" in verdict.findings[0].message
        assert "the squared error and the absolute error" in verdict.findings[0].message
        fair = train("regression", "fair", 0, 0, outputs=outputs, epochs=(half, half))
        assert "test_data_in_training" not in rules(compare([fair], resamples=100)[0])

    def test_notice_that_the_test_data_validated_several_labels(self, train: Callable[..., str]) -> None:
        import keras

        outputs = make_outputs("multi-label", 0.2, 0)
        loss = keras.losses.BinaryCrossentropy()(outputs.targets, outputs.outputs)
        accuracy = keras.metrics.BinaryAccuracy(threshold=0.49999)
        accuracy.update_state(outputs.targets, outputs.outputs)
        same = {"val_loss": float(loss), "val_binary_accuracy": float(accuracy.result())}
        (verdict,) = compare(
            [train("multi-label", "leaky", 0, 0, outputs=outputs, epochs=(same,))], resamples=99
        )
        assert "test_data_in_training" in rules(verdict)

    def test_notice_a_baseline_within_the_interval(self, train: Callable[..., str]) -> None:
        runs = [train("regression", "net", 0.3, seed) for seed in range(3)]
        runs.append(train("regression", "linear", 0.3, 9, details={"kind": "baseline"}))
        (verdict,) = compare(runs, resamples=300)
        assert {estimate.model: estimate.kind for estimate in verdict.estimates}["linear"] == "baseline"
        assert "baseline_within_interval" in rules(verdict)

    def test_refuse_a_kind_of_run_that_there_is_not(self, train: Callable[..., str]) -> None:
        run = train("regression", "net", 0.3, 0, details={"kind": "guess"})
        with pytest.raises(WorkbenchError, match=r"'guess'.*\n.*model, baseline"):
            compare([run])


class TestHardInputs:
    """The inputs for which a wrong number would be easiest to get."""

    @pytest.mark.parametrize("task", TASKS)
    def test_constant_predictions_are_marked(self, task: str) -> None:
        flat = constant(make_outputs(task, 0.3, 0), 0.75)
        verdict = judge([Result("flat", "model", flat, 0)], "", "made", resamples=200)
        assert "constant_predictions" in rules(verdict)
        assert not np.isnan(verdict.estimates[0].value)

    def test_a_target_that_does_not_vary_defines_no_explained_variance(self) -> None:
        results = [result("regression", name, 0.3, seed) for seed, name in enumerate("ab")]
        for each in results:
            each.predictions.targets[:] = 7
        verdict = judge(results, "r2", "made", resamples=200)
        assert "constant_targets" in rules(verdict)
        assert str(verdict.estimates[0]) == "undefined"
        assert "not defined" in verdict.estimates[0].note
        assert verdict.sentence == "Nothing can be said of a and b: these samples define no R²."
        assert np.isnan(table_pairs(verdict)["p"][0])

    def test_few_samples_leave_the_explained_variance_without_an_interval(self) -> None:
        results = [result("regression", name, 0.3, seed, samples=3) for name in "ab" for seed in range(3)]
        verdict = judge(results, "r2", "made", resamples=500)
        assert "not defined on" in verdict.estimates[0].note
        assert np.isnan(verdict.estimates[0].low)
        assert "do not separate" in verdict.sentence
        assert "not defined on every resample" in verdict.sentence

    def test_labels_that_no_sample_has_are_named(self) -> None:
        each = result("multi-label", "net", 0.3, 0)
        each.predictions.targets[:, 2] = 0
        verdict = judge([each], "", "made", resamples=200)
        (finding,) = [finding for finding in verdict.findings if finding.rule == "constant_labels"]
        assert finding.severity == "warning"
        assert finding.message.startswith("c is the same for all 600 test samples")
        each.predictions.targets[:] = 1
        assert "error" in {f.severity for f in judge([each], "", "made", resamples=99).findings}

    def test_queries_without_a_relevant_item_are_counted(self) -> None:
        each = result("ranking", "net", 0.3, 0)
        each.predictions.targets[:60] = 0
        verdict = judge([each], "", "made", resamples=200)
        (finding,) = [finding for finding in verdict.findings if finding.rule == "undefined_queries"]
        assert finding.evidence["queries"] - finding.evidence["left_out"] == verdict.estimates[0].samples

    def test_a_ranking_without_any_relevant_item_is_refused(self) -> None:
        each = result("ranking", "net", 0.3, 0)
        each.predictions.targets[:] = 0
        with pytest.raises(WorkbenchError, match="None of the 600 items of 100 queries is relevant"):
            judge([each], "", "made")

    @pytest.mark.parametrize("task", TASKS)
    def test_identical_predictions_are_not_separated(self, task: str) -> None:
        same = make_outputs(task, 0.3, 0)
        for seeds in (1, 3):
            results = [Result(name, "model", same, seed) for name in "ab" for seed in range(seeds)]
            verdict = judge(results, "", "made", resamples=200)
            assert "do not separate" in verdict.sentence
            assert verdict.pairs[0].p_value == 1
            assert "tells the two apart" in verdict.pairs[0].note

    def test_no_error_at_all_is_marked(self) -> None:
        perfect = make_outputs("regression", 0, 0)
        results = [Result("oracle", "model", perfect, seed) for seed in range(3)]
        (estimate,) = judge(results, "mae", "made", resamples=200).estimates
        assert str(estimate) == "0.0000 (no interval)"
        assert "do not vary" in estimate.note
        labels = make_outputs("multi-label", 0, 0)
        results = [Result("oracle", "model", labels, seed) for seed in range(3)]
        (estimate,) = judge(results, "exact_match", "made", resamples=200).estimates
        assert estimate.high == 1 > estimate.low
        assert "no mistake in 600 samples" in estimate.note

    @pytest.mark.parametrize("task", TASKS)
    def test_one_seed_is_marked(self, task: str) -> None:
        verdict = judge([result(task, "net", 0.3, 0)], "", "made", resamples=200)
        assert verdict.estimates[0].note == "one seed: says nothing of other seeds"

    @pytest.mark.parametrize("task", TASKS)
    def test_different_test_sets_are_refused_with_their_fingerprints(
        self, train: Callable[..., str], task: str
    ) -> None:
        runs = [train(task, "one", 0.3, 0), train(task, "two", 0.3, 0, data_seed=1)]
        with pytest.raises(WorkbenchError, match=r"(?s)2 different test sets.*000000000000.*600 .*111111"):
            compare(runs)

    def test_runs_of_different_tasks_are_refused(self, train: Callable[..., str]) -> None:
        runs = [train("regression", "one", 0.3, 0), train("ranking", "two", 0.3, 0)]
        with pytest.raises(WorkbenchError, match="different test sets"):
            compare(runs)

    def test_many_labels_take_their_time_but_work(self) -> None:
        random = np.random.default_rng(0)
        targets = (random.random((400, 100)) < 0.1).astype(float)
        names, ids = tuple(f"label {n}" for n in range(100)), np.arange(400).astype(str)
        results = [
            Result("net", "model", Outputs("multi-label", ids, targets, said, names), seed)
            for seed in range(3)
            for said in [np.clip(0.6 * targets + 0.6 * random.random((400, 100)), 0, 1)]
        ]
        (estimate,) = judge(results, "macro_f1", "made", resamples=300).estimates
        assert estimate.low < estimate.value < estimate.high

    def test_numbers_of_any_unit_keep_their_digits(self) -> None:
        results = [
            result("regression", name, noise, seed)
            for name, noise in (("a", 0.2), ("b", 0.5))
            for seed in range(3)
        ]
        for each in results:
            each.predictions.targets[:] *= 1e-7
            each.predictions.outputs[:] *= 1e-7
        verdict = judge(results, "mae", "made", resamples=300)
        assert re.search(r"better than b by 0\.00000\d*[1-9]\d* of mean", verdict.sentence), verdict.sentence
        assert "e-0" in table_estimates(verdict)["every_run"][0]

    def test_what_is_for_classes_alone_says_so(self, train: Callable[..., str]) -> None:
        runs = [train("regression", "net", 0.3, seed) for seed in range(2)]
        results = wb.evaluation.read_results(runs)
        for call in (
            lambda: wb.evaluation.load_test_data(results),
            lambda: wb.evaluation.average_predictions(results),
            lambda: find_slices(results, {"column": ["x"] * SAMPLES}),
        ):
            with pytest.raises(WorkbenchError, match="the task of net is regression"):
                call()
        with pytest.raises(WorkbenchError, match=r'no baselines to fit.*\n.*kind="baseline"'):
            compare(runs, baselines=True)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda o: o | {"targets": np.where(o["targets"] > 20, np.nan, 0)}, "targets of .* are NaN"),
            (lambda o: o | {"ids": np.array(["a"] * SAMPLES)}, "only 1 different ids"),
            (lambda o: o | {"task": "ranking", "targets": o["targets"] - 99, "groups": o["ids"]}, "below 0"),
            (lambda o: o | {"task": "ranking", "groups": o["ids"][1:]}, "599 groups for 600 items"),
        ],
    )
    def test_outputs_that_cannot_be_are_refused(self, change: Callable[[dict], dict], message: str) -> None:
        good = make_outputs("regression", 0.3, 0)
        with pytest.raises(WorkbenchError, match=message):
            Outputs(**change(dict(vars(good))))

    def test_damaged_numbers_are_refused_when_read(self, train: Callable[..., str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        run = train("regression", "net", 0.3, 0)
        path = Path(run) / "artifacts/predictions.parquet"
        table = pq.read_table(path)
        column = table["output_0"].to_numpy().copy()
        column[3] = np.inf
        place = table.column_names.index("output_0")
        pq.write_table(table.set_column(place, "output_0", pa.array(column)), path)
        with pytest.raises(
            WorkbenchError, match=rf"(?s){run}.*outputs of 1 of 600 samples are NaN or infinite"
        ):
            compare([run])

    def test_run_of_a_pipeline_that_dropped_a_seed_is_noticed(self, train: Callable[..., str]) -> None:
        runs = [train("regression", "net", 0.3, seed) for seed in range(4)]
        for run in runs:
            (Path(run) / "step.json").write_text(json.dumps({"label": Path(run).name}))
        (verdict,) = compare(runs[:3], resamples=100)
        assert "dropped_seeds" in rules(verdict)

"""`compare(runs)`: the right test, one honest sentence, and what casts doubt on it."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

import workbench as wb
from workbench.cli import commands
from workbench.datasets import Split
from workbench.errors import WorkbenchError
from workbench.evaluation import Predictions, Result, compare, format_estimate, judge
from workbench.tables import table_estimates, table_pairs

NAMES = ("a", "b", "c")


def make_split(samples: int, seed: int = 0) -> Split:
    labels = np.random.default_rng(seed).integers(0, len(NAMES), samples)
    ids = np.array([f"{seed}-{number}" for number in range(samples)])
    return Split({"image": np.zeros((samples, 1, 1, 1), np.uint8)}, {"label": labels}, ids)


def make_probabilities(split: Split, accuracy: float, seed: int) -> np.ndarray:
    """Return probabilities of a model that is right on the easier samples, give or take the seed's luck."""
    hardness = np.random.default_rng(99).random(len(split))
    random = np.random.default_rng(seed)
    right = 0.9 * hardness + 0.1 * random.random(len(split)) < accuracy
    guesses = np.where(right, split.y, (split.y + 1) % len(NAMES))
    return 0.1 + 0.7 * np.eye(len(NAMES))[guesses]


@pytest.fixture
def train(project: Path) -> Callable[..., str]:
    """Make a finished run of a model, and return its folder."""

    def make(
        model: str,
        seed: int,
        accuracy: float,
        *,
        samples: int = 2000,
        dataset: str = "shapes",
        data_seed: int = 0,
        probabilities: np.ndarray | None = None,
        epochs: list[dict[str, float]] | None = None,
        finish: bool = True,
        folder: str = "",
        **parameters: Any,
    ) -> str:
        split = make_split(samples, data_seed)
        path = folder or f"runs/made/{model}-{dataset}-seed={seed}"
        run = wb.start_run(path, parameters={"seed": seed, **parameters}, name="02_train")
        (run.path / "step.json").write_text(json.dumps({"label": f"{model}-seed={seed}"}))
        run.record(
            dataset={
                "name": dataset,
                "task": "image-classification",
                "fingerprint": f"{data_seed}" * 32,
                "class_names": list(NAMES),
                "recipe": {},
                "sizes": {"test": samples},
            },
            model=model,
        )
        for number, metrics in enumerate(epochs or []):
            run.log.write("epoch", epoch=number, step=1, metrics=metrics)
        values = make_probabilities(split, accuracy, seed) if probabilities is None else probabilities
        wb.write_predictions(run, split, values, NAMES)
        if finish:
            run.finish()
        return path

    return make


def rules(verdict: wb.evaluation.Verdict) -> list[str]:
    return [finding.rule for finding in verdict.findings]


class TestSentence:
    def test_claims_what_the_data_carry(self, train: Callable[..., str]) -> None:
        runs = [train("vgg", seed, 0.85) for seed in range(5)] + [
            train("cnn", seed, 0.8) for seed in range(5)
        ]
        (verdict,) = compare(runs)
        found = re.match(
            r"vgg is better than cnn by (\S+) points of accuracy \(95 % interval (\S+) to (\S+); 5 seeds, "
            r"2,000 test images; t over seeds and paired bootstrap over test samples\)\.",
            verdict.sentence,
        )
        assert found, verdict.sentence
        difference, low, high = map(float, found.groups())
        assert 0 < low < difference < high
        assert difference == pytest.approx(5.5, abs=0.5)
        assert "few_seeds" not in rules(verdict)

    def test_does_not_separate_models_that_are_equally_good(self, train: Callable[..., str]) -> None:
        runs = [train(name, seed + 10 * (name == "b"), 0.8) for name in "ab" for seed in range(3)]
        (verdict,) = compare(runs)
        assert verdict.sentence.startswith("These data do not separate ")
        assert verdict.pairs[0].low < 0 < verdict.pairs[0].high

    def test_of_many_models_names_the_correction_and_the_ties(self, train: Callable[..., str]) -> None:
        skill = {"one": 0.9, "two": 0.9, "three": 0.7}
        runs = [
            train(name, seed + 10 * number, accuracy)
            for number, (name, accuracy) in enumerate(skill.items())
            for seed in range(3)
        ]
        (verdict,) = compare(runs, correction="bh")
        assert re.match(r"These data do not separate (one and two|two and one): difference", verdict.sentence)
        assert re.search(r"(one|two) is better than three\.$", verdict.sentence)
        assert "Benjamini-Hochberg over 3 pairs" in verdict.describe(verdict.pairs[0])
        assert all(pair.adjusted >= pair.p_value for pair in verdict.pairs)

    def test_of_a_pair_that_only_the_correction_does_not_separate_tells_its_p_value(
        self, train: Callable[..., str]
    ) -> None:
        runs = [train(name, seed + 10 * (name == "b"), 0.8) for name in "abc" for seed in range(3)]
        (verdict,) = compare(runs)
        pair = replace(verdict.pairs[0], low=0.001, high=0.02, adjusted=0.123)
        assert verdict.describe(pair).endswith(
            " The interval is that of this pair alone; adjusted for all, p = 0.12."
        )
        assert "p = " not in verdict.describe(replace(pair, low=-0.001))
        assert "p = " not in verdict.describe(replace(pair, adjusted=0.01))

    def test_of_several_datasets_corrects_over_all_of_them(self, train: Callable[..., str]) -> None:
        runs = [
            train(model, seed, accuracy, dataset=name, data_seed=number)
            for number, name in enumerate(("shapes", "colours"))
            for model, accuracy in (("vgg", 0.9), ("cnn", 0.8))
            for seed in range(3)
        ]
        verdicts = compare(runs)
        assert [verdict.dataset for verdict in verdicts] == ["shapes", "colours"]
        assert all("Holm over 2 pairs" in verdict.sentence for verdict in verdicts)

    def test_plans_seeds_apart_from_the_claim(self, train: Callable[..., str]) -> None:
        runs = [train(name, seed + 10 * (name == "b"), 0.8) for name in "ab" for seed in range(3)]
        (verdict,) = compare(runs)
        assert verdict.plan(0.05).seeds >= 2
        assert verdict.plan(0.0001).seeds is None

    def test_is_the_same_to_the_byte_for_the_same_seed(self, train: Callable[..., str]) -> None:
        runs = [train(name, seed, 0.8) for name in "ab" for seed in range(3)]
        tables = [table_pairs(compare(runs, "macro_f1", resamples=500)[0]).to_csv() for _ in range(2)]
        assert tables[0] == tables[1]


class TestChoiceOfTest:
    def test_for_the_accuracy_of_single_runs_is_mcnemar(self, train: Callable[..., str]) -> None:
        (verdict,) = compare([train("vgg", 0, 0.9), train("cnn", 0, 0.8)])
        (pair,) = verdict.pairs
        assert "McNemar's test, paired bootstrap" in pair.test
        assert "one seed of vgg and of cnn: other seeds may turn it round" in verdict.sentence
        assert "few_seeds" in rules(verdict)

    def test_for_other_measures_of_single_runs_is_a_permutation(self, train: Callable[..., str]) -> None:
        (verdict,) = compare([train("vgg", 0, 0.9), train("cnn", 0, 0.8)], "log_loss", resamples=500)
        assert "paired permutation test" in verdict.pairs[0].test
        assert verdict.pairs[0].better == "vgg", "a smaller log loss is the better one"
        assert verdict.pairs[0].difference > 0

    def test_tells_what_it_assumes_and_what_was_checked(self, train: Callable[..., str]) -> None:
        runs = [train(name, seed, 0.8) for name in "ab" for seed in range(4)]
        (verdict,) = compare(runs, resamples=200)
        row = table_pairs(verdict).iloc[0]
        assert "seeds are independent" in row["assumptions"]
        assert "the same 2,000 samples" in row["checked"]
        assert "spread of a over 4 seeds looks normal (Shapiro-Wilk" in row["checked"]
        assert verdict.basis == f"Assumed: {row['assumptions']}.\nChecked: {row['checked']}."

    def test_interval_of_one_model_is_wider_than_that_over_seeds_alone(
        self, train: Callable[..., str]
    ) -> None:
        (verdict,) = compare([train("cnn", seed, 0.8, samples=200) for seed in range(5)])
        (estimate,) = verdict.estimates
        low, high = estimate.seed_interval
        mean = np.mean(estimate.values)
        expected = stats.t.interval(0.95, 4, mean, stats.sem(estimate.values))
        assert (low, high) == pytest.approx(expected)
        assert estimate.high - estimate.low > high - low


class TestGuards:
    def test_notice_that_the_test_data_validated_the_training(self, train: Callable[..., str]) -> None:
        split = make_split(2000)
        values = make_probabilities(split, 0.8, 0)
        guesses = values.argmax(axis=1)
        loss = float(-np.log(values[np.arange(2000), split.y] / values.sum(1)).mean())
        same = {"val_loss": loss * (1 + 2e-6), "val_accuracy": float((guesses == split.y).mean())}
        other = {"val_loss": loss * 1.01, "val_accuracy": same["val_accuracy"]}
        (marked,) = compare([train("cnn", 0, 0.8, epochs=[other, same, other])], resamples=100)
        assert rules(marked)[0] == "test_data_in_training"
        assert "in epoch 2" in marked.findings[0].message
        (fair,) = compare([train("fair", 0, 0.8, epochs=[other, other])], resamples=100)
        assert "test_data_in_training" not in rules(fair)

    def test_notice_a_baseline_within_the_interval(self) -> None:
        split = make_split(300)
        results = [
            Result(
                name, kind, Predictions(split.ids, split.y, make_probabilities(split, 0.8, seed), NAMES), seed
            )
            for name, kind, seed in (("cnn", "model", 0), ("cnn", "model", 1), ("simple", "baseline", None))
        ]
        verdict = judge(results, "accuracy", "shapes", resamples=300)
        assert "baseline_within_interval" in rules(verdict)

    def test_notice_seeds_that_were_dropped(self, train: Callable[..., str]) -> None:
        runs = [train("cnn", seed, 0.8) for seed in range(3)]
        train("cnn", 3, 0.5)
        train("cnn", 4, 0.5, finish=False)
        (verdict,) = compare(runs, resamples=100)
        (finding,) = [finding for finding in verdict.findings if finding.rule == "dropped_seeds"]
        assert "seed 3 (finished) and 4 (running)" in finding.message
        (complete,) = compare([*runs, "runs/made/cnn-shapes-seed=3"], resamples=100)
        assert "4 (running)" in str(complete.findings)
        assert "3 (finished)" not in str(complete.findings)

    def test_count_a_repeated_seed_once(self, train: Callable[..., str]) -> None:
        runs = [train("cnn", 0, 0.8), train("cnn", 1, 0.8), train("cnn", 1, 0.8, folder="runs/other/again")]
        (verdict,) = compare(runs, resamples=100)
        assert verdict.estimates[0].seeds == (0, 1)
        assert "repeated_seeds" in rules(verdict)

    def test_round_to_the_digits_that_the_samples_carry(self, train: Callable[..., str]) -> None:
        (verdict,) = compare([train("cnn", seed, 0.8, samples=100) for seed in range(3)], resamples=300)
        assert "few_test_samples" in rules(verdict)
        assert re.fullmatch(r"0\.\d\d \(0\.\d\d to 0\.\d\d\)", table_estimates(verdict)["reported"][0])


class TestHardInputs:
    def test_one_class_in_the_test_set_is_marked(self) -> None:
        labels = np.zeros(50, int)
        predictions = Predictions(np.arange(50).astype(str), labels, np.full((50, 3), 1 / 3), NAMES)
        verdict = judge([Result("cnn", "model", predictions, 0)], "macro_f1", "shapes", resamples=100)
        assert {"one_class", "constant_predictions"} <= set(rules(verdict))
        assert np.isnan(wb.evaluation.measure_predictions(predictions)["roc_auc"])

    @pytest.mark.parametrize(
        ("row", "message"), [([np.nan, 0.5, 0.5], "NaN or infinite"), ([0.5, 0.5, 0.5], "sum 1.5")]
    )
    def test_what_is_no_probability_is_refused_when_read(
        self, train: Callable[..., str], row: list[float], message: str
    ) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        run = train("cnn", 0, 0.8)
        path = Path(run) / "artifacts/predictions.parquet"
        table = pq.read_table(path)
        for number, value in enumerate(row):
            column = table[f"p_{number}"].to_numpy().copy()
            column[7] = value
            table = table.set_column(2 + number, f"p_{number}", pa.array(column))
        pq.write_table(table, path)
        with pytest.raises(WorkbenchError, match=rf"(?s){run}.*{message}"):
            compare([run])

    def test_different_test_sets_are_refused_with_their_fingerprints(self, train: Callable[..., str]) -> None:
        runs = [train("cnn", 0, 0.8, data_seed=0), train("vgg", 0, 0.8, data_seed=1)]
        with pytest.raises(
            WorkbenchError, match=r"(?s)2 different test sets.*fingerprint 000000000000.*1111111"
        ):
            compare(runs)

    def test_one_seed_is_marked(self, train: Callable[..., str]) -> None:
        (verdict,) = compare([train("cnn", 0, 0.8)], resamples=100)
        assert verdict.estimates[0].note == "one seed: says nothing of other seeds"
        assert "There is only one model, cnn: accuracy 0." in verdict.sentence

    @pytest.mark.parametrize("seeds", [range(1), range(3), range(5)])
    def test_identical_predictions_are_not_separated(self, train: Callable[..., str], seeds: range) -> None:
        split = make_split(2000)
        same = make_probabilities(split, 0.8, 0)
        runs = [train(name, seed, 0, probabilities=same) for name in ("one", "two") for seed in seeds]
        for measure in ("accuracy", "macro_f1", "log_loss", "brier"):
            (verdict,) = compare(runs, measure, resamples=200)
            assert "do not separate" in verdict.sentence
            assert "no test sample of 2,000 tells the two apart" in verdict.sentence
            assert verdict.pairs[0].p_value == 1

    def test_no_error_leaves_room_for_one(self, train: Callable[..., str]) -> None:
        split = make_split(200)
        perfect = np.eye(3)[split.y]
        runs = [train("cnn", seed, 1, samples=200, probabilities=perfect) for seed in range(3)]
        (verdict,) = compare(runs, resamples=200)
        (estimate,) = verdict.estimates
        assert (estimate.value, estimate.high) == (1, 1)
        assert estimate.low == pytest.approx(1 - 1.96**2 / (200 + 1.96**2), abs=1e-4)
        assert "no mistake in 200 samples" in estimate.note
        (other,) = compare(runs, "macro_f1", resamples=200)
        assert str(other.estimates[0]) == "1.0000 (no interval)"

    def test_equal_losses_of_all_samples_have_no_interval(self) -> None:
        split = make_split(60)
        said = 0.1 + 0.7 * np.eye(3)[split.y]
        runs = [Predictions(split.ids, split.y, values, NAMES) for values in (np.eye(3)[split.y], said)]
        results = [Result(name, "model", run, 0) for name, run in zip(("sure", "less"), runs, strict=True)]
        verdict = judge(results, "log_loss", "shapes", resamples=200)
        assert [str(each) for each in verdict.estimates] == ["0.0000 (no interval)", "0.2231 (no interval)"]
        assert "the difference does not vary over resamples of the 60 test samples" in verdict.sentence

    def test_a_measure_that_is_blind_is_not_taken_for_equal_answers(self) -> None:
        labels, ids = np.zeros(60, int), np.arange(60).astype(str)
        guesses = {"a": (np.arange(60) < 5).astype(int), "b": (np.arange(60) < 20).astype(int)}
        results = [
            Result(name, "model", Predictions(ids, labels, np.eye(3)[said], NAMES), 0)
            for name, said in guesses.items()
        ]
        verdict = judge(results, "kappa", "shapes", resamples=200)
        assert "does not vary over resamples of the 60 test samples" in verdict.pairs[0].note
        assert "tells the two apart" not in verdict.pairs[0].note

    def test_a_hundred_classes_take_their_time_but_work(self) -> None:
        random = np.random.default_rng(0)
        labels = random.integers(0, 100, 1000)
        names = tuple(f"class {number}" for number in range(100))
        results = []
        for seed in range(3):
            values = random.random((1000, 100)) + 0.6 * np.eye(100)[labels]
            values /= values.sum(axis=1, keepdims=True)
            predictions = Predictions(np.arange(1000).astype(str), labels, values, names)
            results.append(Result("cnn", "model", predictions, seed))
        verdict = judge(results, "macro_f1", "many", resamples=300)
        assert verdict.estimates[0].low < verdict.estimates[0].value < verdict.estimates[0].high
        (estimate,) = judge(results, "top_5", "many", resamples=300).estimates
        assert verdict.estimates[0].value < estimate.value
        assert estimate.low < estimate.value < estimate.high

    def test_nothing_to_judge_is_refused(self) -> None:
        with pytest.raises(WorkbenchError, match="no model to judge"):
            judge([], "accuracy", "shapes")
        with pytest.raises(WorkbenchError, match="no model to judge"):
            compare([])

    @pytest.mark.parametrize(
        ("estimate", "text"),
        [
            ((0.91234, 0.9, 0.92468), "0.912 (0.900 to 0.925)"),
            ((0.91234, 0.86, 0.9647), "0.91 (0.86 to 0.96)"),
            ((0.5, 0.1, 0.9), "0.5 (0.1 to 0.9)"),
            ((1.0, np.nan, np.nan), "1.0000 (no interval)"),
            ((np.nan, np.nan, np.nan), "undefined"),
            ((-0.0001, -0.02, 0.0198), "0.000 (-0.020 to 0.020)"),
        ],
    )
    def test_numbers_are_rounded_by_their_interval(self, estimate: tuple[float, ...], text: str) -> None:
        assert format_estimate(*estimate) == text


class TestCommand:
    def test_prints_the_table_and_the_sentence(self, train: Callable[..., str]) -> None:
        runs = [train(name, seed, skill) for name, skill in (("vgg", 0.9), ("cnn", 0.8)) for seed in range(3)]
        done = CliRunner().invoke(commands, ["compare", *runs, "--find", "0.01"], catch_exceptions=False)
        assert done.exit_code == 0
        assert "vgg is better than cnn by" in done.output
        assert "Planning: No number of seeds finds a difference of 0.01" in done.output
        assert "Assumed: the test samples are independent draws" in done.output
        assert "Checked: both were tested on the same 2,000 samples" in done.output
        assert re.search(r"cnn\s+0\.\d+ \(0\.\d+ to 0\.\d+\)", done.output)

    def test_tells_what_was_found_where_seeds_cannot_be_planned(self, train: Callable[..., str]) -> None:
        runs = [
            train(name, 0, 0.8, dataset=dataset, data_seed=number)
            for number, dataset in enumerate(("shapes", "colours"))
            for name in ("vgg", "cnn")
        ]
        done = CliRunner().invoke(commands, ["compare", *runs, "--find", "0.01"], catch_exceptions=False)
        assert done.output.count("Planning: The spread over seeds is not known") == 2

    def test_takes_the_trainings_of_a_pipeline(self, train: Callable[..., str], project: Path) -> None:
        runs = [train(name, seed, 0.8) for name in ("vgg", "cnn") for seed in range(2)]
        steps = {run: {"run": run, "state": "done"} for run in [*runs, "runs/made/none"]}
        (project / "runs/made/state.json").write_text(json.dumps({"steps": steps, "pipeline": "made"}))
        done = CliRunner().invoke(commands, ["compare", "made"], catch_exceptions=False)
        assert "do not separate" in done.output

    def test_of_a_pipeline_without_trainings_says_so(self, project: Path) -> None:
        (project / "runs/made").mkdir(parents=True)
        steps = {"train": {"run": "runs/made/none", "state": "failed"}}
        (project / "runs/made/state.json").write_text(json.dumps({"steps": steps, "pipeline": "made"}))
        done = CliRunner().invoke(commands, ["compare", "made"])
        assert "The pipeline made has no training with stored predictions" in str(done.exception)

    def test_of_a_run_that_is_none_says_so(self, project: Path) -> None:
        done = CliRunner().invoke(commands, ["compare", "runs/none"])
        assert isinstance(done.exception, WorkbenchError)
        assert "runs/none is no run folder and no pipeline" in str(done.exception)

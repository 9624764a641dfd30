"""What verification says of two runs: noise, drift, and whether a conclusion holds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import workbench as wb
from workbench.reports.manifest import describe_run
from workbench.verification.compare import compare_runs
from workbench.verification.conclusions import compare_conclusions
from workbench.verification.spread import Pair, differs_in_seed
from workbench.verification.verdicts import (
    DRIFTED,
    IDENTICAL,
    NOT_COMPARABLE,
    WITHIN,
    judge_number,
    measure_noise,
    measure_noise_left_out,
)


class TestComparison:
    @pytest.fixture
    def describe(self, project: Path) -> Callable[..., dict[str, Any]]:
        """Make a finished run and describe it."""

        def make(folder: str, named: bool = True, **results: float) -> dict[str, Any]:
            run = wb.start_run(folder, parameters={}, name="train")
            run.log.write("epoch", epoch=0, metrics={"loss": results["loss"]}, seconds=0)
            run.save_table("notes", pd.DataFrame({"run": [folder], "note": ["n"]}))
            run.finish(accuracy=results["accuracy"])
            return describe_run(wb.open_run(folder), "train", {folder: "train"} if named else {})

        return make

    def test_is_within_noise_where_another_seed_could_fall(self, describe: Callable[..., Any]) -> None:
        seeds = [describe(f"runs/{n}", accuracy=0.9 + n / 100, loss=0.5 + n / 100) for n in range(3)]
        new = describe("runs/new", accuracy=0.905, loss=0.52)
        found = {line.what: line for line in compare_runs(Pair(seeds[0], new, seeds, ""))}
        assert found["accuracy"].verdict == WITHIN
        assert "from 3 seeds" in found["accuracy"].note
        assert found["curve of loss"].verdict == WITHIN

    def test_takes_no_runs_that_differ_in_more_than_their_seed_for_noise(self) -> None:
        run = {"pipeline": "p", "step": "train", "declared": {"seed": 0, "model": "cnn"}}
        other_seed = run | {"declared": {"seed": 1, "model": "cnn"}}
        other_model = run | {"declared": {"seed": 0, "model": "vgg"}}
        assert differs_in_seed(run, other_seed)
        assert not differs_in_seed(run, other_model)

    def test_takes_run_folders_by_their_labels(self, describe: Callable[..., Any]) -> None:
        old, new = (describe(f"runs/{n}", accuracy=0.9, loss=0.5) for n in range(2))
        assert {line.verdict for line in compare_runs(Pair(old, new, [old], ""))} == {IDENTICAL}
        other = describe("runs/2", named=False, accuracy=0.9, loss=0.5)
        found = {line.what: line for line in compare_runs(Pair(old, other, [old], ""))}
        assert found["table notes, row 1, run"].verdict == DRIFTED

    def test_of_what_changed_is_no_drift(self, describe: Callable[..., Any]) -> None:
        old, new = describe("runs/0", accuracy=0.9, loss=0.5), describe("runs/1", accuracy=0.8, loss=0.5)
        found = {line.what: line for line in compare_runs(Pair(old, new, [old], "code changed"))}
        assert found["accuracy"].verdict == NOT_COMPARABLE
        assert found["curve of loss"].verdict == IDENTICAL


class TestConclusions:
    @staticmethod
    def evaluation(better: str, separated: str) -> dict[str, Any]:
        names = {"net", "other"}
        summary = "dataset,model,kind,run,seed,accuracy,test_samples\n"
        summary += "d,net,model,r,0,0.9,9\nd,other,model,s,0,0.8,9\n"
        (worse,) = names - {better}
        pairs = f"better,worse,reported,separated\n{better},{worse},0.1 (0.0 to 0.2),{separated}\n"
        tables = {"summary": {"csv": summary}, "pairs": {"csv": pairs}}
        return {"label": "evaluate", "folder": "runs/e", "tables": tables}

    @pytest.mark.parametrize(
        ("better", "separated", "verdict"),
        [("net", "yes", IDENTICAL), ("other", "yes", DRIFTED), ("net", "no", DRIFTED)],
    )
    def test_are_those_of_the_evaluations_tests(self, better: str, separated: str, verdict: str) -> None:
        found = compare_conclusions(self.evaluation("net", "yes"), self.evaluation(better, separated))
        lines = {line.what: line for line in found}
        assert lines["net or other"].verdict == verdict
        assert lines["net or other"].before == "net is better"
        assert list(lines) == ["net or other"]  # a rank that was tested is no question of its own


class TestVerdicts:
    def test_noise_is_the_prediction_interval_of_one_more_seed(self) -> None:
        values = [0.91, 0.94, 0.95, 0.93, 0.97]
        noise = measure_noise(values)
        middle, spread = np.mean(values), stats.sem(values) * np.sqrt(6)  # s √(1 + 1/5) = (s / √5) √6
        assert (noise.low, noise.high) == pytest.approx(stats.t.interval(0.95, 4, middle, spread))

    def test_noise_of_a_mean_holds_as_often_as_it_says(self) -> None:
        random = np.random.default_rng(0)
        trials = random.normal(size=(4000, 2, 5))
        held = [measure_noise(list(old), of_mean=True).holds(new.mean()) for old, new in trials]
        assert np.mean(held) == pytest.approx(0.95, abs=0.015)  # four standard errors

    def test_leaving_seeds_out_tells_the_noise_of_a_mean_and_of_a_sum(self) -> None:
        values = np.array([0.91, 0.94, 0.95, 0.93, 0.97])
        mean = measure_noise(values.tolist(), of_mean=True)
        left_out = (values.sum() - values) / 4
        noise = measure_noise_left_out(values.mean(), values.mean(), left_out.tolist())
        assert (noise.low, noise.high) == pytest.approx((mean.low, mean.high))
        total = measure_noise_left_out(values.sum(), values.sum(), (values.sum() - values).tolist())
        assert (total.low, total.high) == pytest.approx((5 * mean.low, 5 * mean.high))

    def test_leaving_seeds_out_tells_the_noise_of_a_ratio(self) -> None:
        random = np.random.default_rng(0)
        held = []
        for old, new in random.normal(5, 1, size=(2000, 2, 2, 8)):
            ratios = [up.mean() / down.mean() for up, down in (old, new)]
            left_out = [new[0][seeds].mean() / new[1][seeds].mean() for seeds in ~np.eye(8, dtype=bool)]
            held.append(measure_noise_left_out(*ratios, left_out).holds(ratios[1]))
        assert np.mean(held) == pytest.approx(0.95, abs=0.02)  # four standard errors

    def test_one_seed_says_nothing_of_noise(self) -> None:
        assert measure_noise([0.5]) is None
        assert judge_number(0.5, 0.6, None)[0] == DRIFTED
        assert judge_number(0.5, 0.5, None)[0] == IDENTICAL
        assert judge_number(float("nan"), float("nan"), None)[0] == IDENTICAL

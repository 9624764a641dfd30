"""What a report says of intervals, verdicts and doubts."""

import json
from pathlib import Path

import numpy as np
import pytest

import workbench as wb
from workbench.evaluation import Predictions, Result, judge, log_findings
from workbench.runs import write_json
from workbench.tables import table_estimates, table_summary

NAMES = ("a", "b")


def make_result(model: str, kind: str, accuracy: float, seed: int | None) -> Result:
    random = np.random.default_rng(seed or 9)
    labels = np.arange(400) % 2
    guesses = np.where(random.random(400) < accuracy, labels, 1 - labels)
    predictions = Predictions(np.arange(400).astype(str), labels, 0.2 + 0.6 * np.eye(2)[guesses], NAMES)
    return Result(model, kind, predictions, seed)


def build_report(project: Path, **judged: list[str]) -> str:
    """Return the report on evaluations, by their names, of the runs in these folders."""
    folder, steps = project / "runs/made", {}
    results = [make_result("net", "model", 0.8, seed) for seed in (1, 2, 3)]
    results.append(make_result("simple", "baseline", 0.8, None))
    verdict = judge(results, "accuracy", "shapes", resamples=500)
    for name, runs in judged.items():
        run = wb.start_run(folder / name, parameters={"runs": runs}, name="04_evaluate")
        run.save_table("summary", table_summary("shapes", results))
        run.save_table("estimates", table_estimates(verdict))
        run.record(verdicts=[f"{name}: {verdict.sentence}"])
        log_findings(run, verdict.findings)
        run.finish(accuracy=verdict.estimates[0].value)
        write_json(run.path / "step.json", {"label": name, "step": name})
        steps[name] = {"run": str(run.path), "state": "done", "step": name, "notebook": "notebooks/04.ipynb"}
    state = {"pipeline": "made", "title": "Made", "file": "pipelines/made.yaml", "steps": steps}
    (folder / "state.json").write_text(json.dumps(state))
    return wb.build_report(folder).read_text(encoding="utf-8")


@pytest.fixture
def report(project: Path) -> str:
    """The report on an evaluation of a model that a baseline equals."""
    return build_report(project, evaluate=["runs/one"])


def test_begins_with_what_may_be_claimed(report: str) -> None:
    claim = report.index("These data do not separate")
    assert report.index("What may be claimed") < claim < report.index('id="results"')


def test_rounds_by_the_interval_and_shows_it(report: str) -> None:
    estimates = Path("runs/made/evaluate/artifacts/tables/estimates.csv").read_text()
    reported = next(line.split(",")[4] for line in estimates.splitlines() if line.startswith("shapes,net"))
    assert " to " in reported
    assert reported in report
    assert "(95 % interval; 3 runs)" in report


def test_tells_what_casts_doubt(report: str) -> None:
    assert "is not shown to beat the baseline" in report
    assert "further digits are noise" in report


def test_claims_by_the_comparison_of_most_runs(project: Path) -> None:
    runs = ["runs/one", "runs/two"]
    report = build_report(project, evaluate=runs[:1], compare=runs, other=["runs/three"])
    claimed = report[report.index("What may be claimed") : report.index('id="results"')]
    assert ["evaluate: These" in claimed, "compare: These" in claimed, "other: These" in claimed] == [
        False,
        True,
        True,
    ]

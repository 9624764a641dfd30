"""What casts doubt on a comparison, noticed from run folders and predictions alone."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workbench.datasets.identity import digest_samples
from workbench.evaluation.measures import describe_measure, scale_of
from workbench.evaluation.predictions import Predictions
from workbench.evaluation.results import Result, group_by_model, keep_different_seeds
from workbench.evaluation.rounding import carried_decimals, join_names
from workbench.evaluation.sample_guards import find_constant_predictions, find_constant_truth
from workbench.evaluation.validated import find_same_numbers, measure_as_keras
from workbench.findings import Finding
from workbench.runs import Run, RunRecord, find_runs, show_path

if TYPE_CHECKING:
    import pandas as pd

    from workbench.evaluation.verdicts import Verdict

_FINE_HALF_WIDTH = 0.005  # of a share: half a point, from which the first decimal of a percentage is noise
_BENCHMARKS = "Bouthillier et al. 2021, https://arxiv.org/abs/2103.03098"
_LEAKAGE = "Kapoor & Narayanan 2023, https://doi.org/10.1016/j.patter.2023.100804"


def check_results(results: Sequence[Result], verdict: "Verdict") -> list[Finding]:
    """Return what casts doubt on a comparison, the most severe first.

    Args:
        results: All results, with repeated seeds.
        verdict: What was concluded from them.
    """
    found = [
        *_find_test_data_in_training(results),
        *_find_beaten_by_baseline(verdict),
        *_find_dropped_seeds(results),
        *_find_repeated_seeds(results),
        *_find_few_seeds(results),
        *_find_too_many_digits(verdict),
        *find_constant_truth(results),
        *find_constant_predictions(results),
    ]
    return sorted(found, key=lambda finding: -finding.rank)


def log_findings(run: Run, findings: Sequence[Finding]) -> "pd.DataFrame":
    """Write findings to the event log of a run, where the report finds them, and return them as a table.

    Several of one rule become one, because a reader of the log takes the last of each rule for its latest
    word.
    """
    import pandas as pd

    for rule in dict.fromkeys(finding.rule for finding in findings):
        same = [finding for finding in findings if finding.rule == rule]
        worst = max(same, key=lambda finding: finding.rank)
        message = " ".join(finding.message for finding in same)
        advice = " ".join(dict.fromkeys(finding.advice for finding in same))
        evidence = worst.evidence if len(same) == 1 else {"each": [dict(f.evidence) for f in same]}
        joined = replace(worst, message=message, advice=advice, evidence=evidence)
        run.log.write("finding", **joined.as_event())
    rows = [(finding.severity, finding.message, finding.advice) for finding in findings]
    return pd.DataFrame(rows, columns=["severity", "finding", "advice"])


def _find_test_data_in_training(results: Sequence[Result]) -> Iterator[Finding]:
    """Find runs that were validated on the test set: on its batches, or with the very numbers that it gives.

    Batches of the workbench say which samples they hold. Whatever else fed a training, its validation gives
    the loss and the accuracy of the test set; of numbers these are the squared and the absolute error; of
    rankings there are none that all trainings log. That two sets of samples agree in both numbers is as good
    as excluded.

    Early stopping, the best epoch and a schedule can only choose by what was validated.
    """
    for result in results:
        if result.run is None:
            continue
        if _identify(result) in result.run.details.get("validated_on", {}):
            where = show_path(result.run.path)
            yield _accuse(result, f"in {where} the batches of the validation held its very samples.", {})
            continue
        measured = measure_as_keras(result.predictions)
        for event in result.run.events():
            same = find_same_numbers(event["metrics"], measured) if event["type"] == "epoch" else {}
            if len(same) == 2:
                how = (
                    f"in epoch {event['epoch'] + 1} of {show_path(result.run.path)} the validation gave "
                    f"{join_names(list(same))} of the test set."
                )
                yield _accuse(result, how, {name: event["metrics"][name] for name in same.values()})
                break


def _identify(result: Result) -> str:
    saved = result.predictions
    return digest_samples(saved.ids, saved.labels if isinstance(saved, Predictions) else saved.targets)


def _accuse(result: Result, how: str, evidence: dict[str, float]) -> Finding:
    return Finding(
        "test_data_in_training",
        "error",
        f"{result.model} was validated on the test data while it trained: {how}",
        "Validate on dataset.val and train again; a test set that chose an epoch flatters it.",
        {"run": show_path(result.run.path), **evidence},
        _LEAKAGE,
    )


def _find_beaten_by_baseline(verdict: "Verdict") -> Iterator[Finding]:
    baselines = [estimate for estimate in verdict.estimates if estimate.kind == "baseline"]
    if not baselines:
        return
    best = baselines[0].model
    for pair in verdict.pairs:
        if best not in (pair.better, pair.worse) or (pair.worse == best and pair.separates()):
            continue
        model = pair.worse if pair.better == best else pair.better
        if model in [baseline.model for baseline in baselines]:
            continue
        yield Finding(
            "baseline_within_interval",
            "warning",
            f"{model} is not shown to beat the baseline {best}. {verdict.describe(pair)}",
            "Claim no gain: report it, or bring more test samples, more seeds or a better model.",
            {"difference": pair.difference, "low": pair.low, "high": pair.high, "p": pair.adjusted},
            _BENCHMARKS,
        )


def _find_dropped_seeds(results: Sequence[Result]) -> Iterator[Finding]:
    """Find runs beside those compared that differ from them in the seed alone."""
    records = [result.run for result in results if result.run is not None]
    known = {record.path for record in records}
    folders = {record.path.parent for record in records if record.step is not None}
    siblings = [other for folder in sorted(folders) for other in find_runs(folder) if other.path not in known]
    for model, members in group_by_model(results).items():
        own = [member.run for member in members if member.run is not None]
        seeds = {run.parameters.get("seed") for run in own}
        dropped = {
            other.parameters["seed"]: other
            for other in siblings
            if other.parameters.get("seed") not in seeds and any(_differ_in_seed(other, run) for run in own)
        }
        if dropped:
            listing = join_names([f"{seed} ({run.status})" for seed, run in sorted(dropped.items())])
            yield Finding(
                "dropped_seeds",
                "warning",
                f"{model} was also trained with the seed {listing}, which the comparison leaves out.",
                "Take in every seed that was trained, the failed ones too: run them to their end.",
                {"runs": [show_path(run.path) for run in dropped.values()]},
                _BENCHMARKS,
            )


def _differ_in_seed(one: RunRecord, other: RunRecord) -> bool:
    def rest(run: RunRecord) -> dict[str, Any]:
        return {key: value for key, value in run.parameters.items() if key not in ("seed", "run_dir")}

    return one.name == other.name and "seed" in one.parameters and rest(one) == rest(other)


def _find_repeated_seeds(results: Sequence[Result]) -> Iterator[Finding]:
    kept = {id(result) for result in keep_different_seeds(results)}
    repeated = [result for result in results if id(result) not in kept]
    if repeated:
        names = join_names(sorted({f"{result.model} with seed {result.seed}" for result in repeated}))
        yield Finding(
            "repeated_seeds",
            "warning",
            f"There is more than one run of {names}; only the first counts, because the same seed again "
            "is no new draw.",
            "Give each seed once.",
            {"runs": [show_path(result.run.path) for result in repeated if result.run]},
        )


def _find_few_seeds(results: Sequence[Result]) -> Iterator[Finding]:
    groups = group_by_model(result for result in keep_different_seeds(results) if result.kind == "model")
    few = {model: len(members) for model, members in groups.items() if len(members) < 3}
    if few:
        yield Finding(
            "few_seeds",
            "info",
            f"The spread over seeds is not known of {join_names(list(few))}: fewer than three seeds.",
            "Train five seeds, so that the claim is about the method and not about one lucky training.",
            {"seeds": few},
            _BENCHMARKS,
        )


def _find_too_many_digits(verdict: "Verdict") -> Iterator[Finding]:
    scale, _ = scale_of(verdict.measure)
    best = verdict.estimates[0]
    half = (best.high - best.low) / 2
    if scale != 100 or not half > _FINE_HALF_WIDTH:
        return
    decimals = carried_decimals(best.low * scale, best.high * scale)
    name = describe_measure(verdict.measure)
    yield Finding(
        "few_test_samples",
        "info",
        f"{best.samples:,} {verdict.noun} leave the {name} of {best.model} open by "
        f"{half * scale:.{max(decimals, 1)}f} points either way: further digits are noise.",
        f"Write {best.value * scale:.{decimals}f} %, or test on more samples.",
        {"half_width": half, "samples": best.samples},
    )

"""`compare(runs)`: every model with its interval, every pair with its test, and one honest sentence."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from workbench.errors import WorkbenchError
from workbench.evaluation.estimates import Estimate, estimate_model, sample_runs
from workbench.evaluation.guards import check_results
from workbench.evaluation.measures import describe_measure, is_lower_better, scale_of
from workbench.evaluation.pairs import Pair, compare_pair
from workbench.evaluation.predictions import TASK
from workbench.evaluation.results import (
    Result,
    choose_measure,
    keep_different_seeds,
    load_test_data,
    read_result_groups,
)
from workbench.evaluation.rounding import carried_decimals, format_value, join_names
from workbench.evaluation.statistics import RESAMPLES, Plan, adjust_p_values, plan_seeds
from workbench.findings import Finding

_NOUNS = {
    "image-classification": "test images",
    "text-classification": "test texts",
    "ranking": "test queries",
}
_CORRECTIONS = {"holm": "Holm", "bh": "Benjamini-Hochberg"}


@dataclass(frozen=True)
class Verdict:
    """What the data say about several models on one test set by one measure.

    Args:
        dataset: Its name.
        measure: The measure's name.
        noun: What the test samples are.
        estimates: Of every model, best first.
        pairs: All pairs, in the order of the estimates.
        findings: What casts doubt on the comparison.
        correction: How p-values were adjusted, in words; empty for a single pair.
    """

    dataset: str
    measure: str
    noun: str
    estimates: tuple[Estimate, ...]
    pairs: tuple[Pair, ...]
    findings: tuple[Finding, ...]
    correction: str

    @property
    def sentence(self) -> str:
        """What may be claimed."""
        if not self.pairs:
            only = self.estimates[0]
            return f"There is only one model, {only.model}: {describe_measure(self.measure)} {only}."
        best = self.estimates[0].model
        own = [pair for pair in self.pairs if pair.better == best]
        if len(own) == 1:
            return self.describe(own[0])
        ties = [pair.worse for pair in own if not pair.separates()]
        if ties:
            rest = [pair.worse for pair in own if pair.separates()]
            tail = f" {best} is better than {join_names(rest)}." if rest else ""
            if len(ties) == 1:
                return self.describe(next(pair for pair in own if pair.worse == ties[0])) + tail
            return f"These data do not separate {join_names([best, *ties])}.{tail}"
        return f"{best} is better than all others; {self.describe(own[0])}"

    def describe(self, pair: Pair) -> str:
        """Return what may be said of one pair, with its uncertainty and how it was found."""
        name, (scale, unit) = describe_measure(self.measure), scale_of(self.measure)
        if np.isnan(pair.difference):
            return f"Nothing can be said of {pair.better} and {pair.worse}: these samples define no {name}."
        low, high = pair.low * scale, pair.high * scale
        decimals = carried_decimals(low, high)
        interval = (
            "no interval" if np.isnan(low) else f"95 % interval {low:z.{decimals}f} to {high:z.{decimals}f}"
        )
        tests = "; ".join(filter(None, (pair.test, self.correction)))
        basis = f"{interval}; {_count_seeds(pair)}, {self.estimates[0].samples:,} {self.noun}; {tests}"
        note = f" Note: {pair.note}." if pair.note else ""
        size = pair.difference * scale
        size = f"{format_value(size) if np.isnan(low) else f'{size:z.{decimals}f}'}{unit}"
        if pair.separates():
            return f"{pair.better} is better than {pair.worse} by {size} of {name} ({basis}).{note}"
        if low > 0 and self.correction:
            note = (
                f" The interval is that of this pair alone; adjusted for all, p = {pair.adjusted:.2g}.{note}"
            )
        return (
            f"These data do not separate {pair.better} and {pair.worse}: "
            f"difference of {name} {size} ({basis}).{note}"
        )

    @property
    def basis(self) -> str:
        """What the tests of all pairs take for granted, and what of that was checked; empty without pairs."""
        parts = (
            ("Assumed", (each for pair in self.pairs for each in pair.assumptions)),
            ("Checked", (each for pair in self.pairs for each in pair.checks)),
        )
        return "\n".join(f"{what}: {'; '.join(dict.fromkeys(each))}." for what, each in parts if self.pairs)

    def plan(self, difference: float, power: float = 0.8) -> Plan:
        """Return how many seeds a true difference between the two best models would need to be found.

        Args:
            difference: In units of the measure: 0.01 is one point of accuracy.
            power: The chance to find it.

        Raises:
            WorkbenchError: There is only one model, or no model has the spread of its seeds known.
        """
        pair = self.pairs[0] if self.pairs else None
        known = [deviation for deviation in pair.deviations if deviation > 0] if pair else []
        if not known:
            raise WorkbenchError(
                "The spread over seeds is not known, so seeds cannot be planned.\n"
                "Give at least two models, one of them with three seeds or more."
            )
        deviations = tuple(deviation or max(known) for deviation in pair.deviations)
        return plan_seeds(difference, deviations, pair.error_samples, self.estimates[0].samples, power)


def compare(
    runs: Sequence[str],
    measure: str = "",
    *,
    baselines: bool = False,
    correction: str = "holm",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Verdict]:
    """Compare the models of finished runs, with the test that the design allows.

    The runs stored probabilities of classes (`write_predictions`), or outputs of another task
    (`write_outputs`): several labels, numbers or rankings. One that called run.record(kind="baseline") counts
    as a baseline.

    Args:
        runs: Run folders of any pipelines, relative to the project root; several seeds of a model are joined.
            Either all were tested on the same samples, or every model was on each of several datasets.
        measure: One of `statistics.MEASURES_OF_TASK`; empty for the first one of the task.
        baselines: Whether to fit the baselines of the dataset and compare with them too; for classes only.
        correction: For many pairs: "holm" or "bh".
        resamples: Bootstrap resamples of the test set.
        seed: Of the resamples; the result is the same to the byte for the same seed.

    Returns:
        One verdict for each dataset.

    Raises:
        WorkbenchError: There is no run, one is unfinished or has no predictions, or the test sets do not
            allow a comparison.
    """
    if not runs:
        raise _no_model()
    every, drafts = [], []
    for results in read_result_groups(runs):
        name = results[0].run.dataset["name"]
        if baselines:
            _require_fittable(results)
            from workbench.evaluation.baselines import evaluate_baselines

            results = results + evaluate_baselines(load_test_data(results))
        every.append(results)
        drafts.append(_draft(results, measure, name, resamples, seed))
    return _conclude(every, drafts, correction)


def judge(
    results: Sequence[Result],
    measure: str,
    dataset: str,
    *,
    correction: str = "holm",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Verdict:
    """Return the verdict on models and baselines that were tested on the same samples.

    Args:
        results: At least one.
        measure: One of `statistics.MEASURES_OF_TASK`; empty for the first one of the task.
        dataset: Its name.
        correction: For many pairs: "holm" or "bh".
        resamples: Bootstrap resamples of the test set.
        seed: Of the resamples.

    Raises:
        WorkbenchError: There is no result, no test sample, or no such measure.
    """
    draft = _draft(results, measure, dataset, resamples, seed)
    return _conclude([results], [draft], correction)[0]


def _require_fittable(results: Sequence[Result]) -> None:
    task = results[0].predictions.task
    if task != TASK:
        raise WorkbenchError(
            f"There are no baselines to fit for the task {task}.\n"
            "Leave baselines out, and give the run of a baseline of your own, which calls "
            'run.record(kind="baseline").'
        )


def _no_model() -> WorkbenchError:
    return WorkbenchError("There is no model to judge.\nGive the folders of finished training runs.")


def _draft(results: Sequence[Result], measure: str, dataset: str, resamples: int, seed: int) -> Verdict:
    """Return a verdict whose p-values are not adjusted yet."""
    if not results:
        raise _no_model()
    measure = choose_measure(results, measure)
    sample = sample_runs(measure, keep_different_seeds(results), resamples, seed)
    sign = 1 if is_lower_better(measure) else -1
    every = (estimate_model(sample, name) for name in sample.groups)
    estimates = sorted(every, key=lambda each: (np.isnan(each.value), sign * each.value))
    pairs = [compare_pair(sample, one.model, other.model) for one, other in combinations(estimates, 2)]
    return Verdict(dataset, measure, _name_samples(results), tuple(estimates), tuple(pairs), (), "")


def _conclude(every: Sequence[Sequence[Result]], drafts: Sequence[Verdict], correction: str) -> list[Verdict]:
    """Adjust the p-values over the pairs of all verdicts together, then look for what casts doubt on them."""
    adjusted = adjust_p_values(np.array([p.p_value for v in drafts for p in v.pairs]), correction)
    words = f"{_CORRECTIONS[correction]} over {len(adjusted)} pairs" if len(adjusted) > 1 else ""
    values = iter(adjusted)
    verdicts = []
    for results, draft in zip(every, drafts, strict=True):
        pairs = tuple(replace(pair, adjusted=float(next(values))) for pair in draft.pairs)
        verdict = replace(draft, pairs=pairs, correction=words)
        verdicts.append(replace(verdict, findings=tuple(check_results(results, verdict))))
    return verdicts


def _name_samples(results: Sequence[Result]) -> str:
    tasks = [result.run.dataset.get("task") for result in results if result.run and result.run.dataset]
    return _NOUNS.get((*tasks, results[0].predictions.task)[0], "test samples")


def _count_seeds(pair: Pair) -> str:
    one, other = pair.seeds
    return f"{one} seed{'s' if one > 1 else ''}" if one == other else f"{one} and {other} runs"

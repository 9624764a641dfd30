"""Test samples that cannot tell models apart, and models that say the same to all of them."""

from collections.abc import Iterator, Sequence

import numpy as np

from workbench.evaluation.outputs import THRESHOLD, Outputs
from workbench.evaluation.predictions import Predictions
from workbench.evaluation.rankings import find_queries
from workbench.evaluation.results import Result
from workbench.evaluation.rounding import join_names
from workbench.findings import Finding

_LEARNED_NOTHING = "Look at its training: a diverged loss, dead units or a wrong last layer."
_NAMED = 5  # labels or quantities that a finding names


def find_constant_truth(results: Sequence[Result]) -> Iterator[Finding]:
    """Find test samples whose truth does not vary."""
    first = results[0].predictions
    if isinstance(first, Predictions):
        yield from _find_one_class(first)
    elif first.task == "multi-label":
        yield from _find_constant_labels(first)
    elif first.task == "regression":
        yield from _find_constant_quantities(first)
    else:
        yield from _find_undefined_queries(first)


def find_constant_predictions(results: Sequence[Result]) -> Iterator[Finding]:
    """Find models that say the same of every test sample."""
    for result in results:
        if result.kind == "model" and len(result.predictions) > 1:
            said = _describe_constant(result.predictions)
            seed = f" (seed {result.seed})" if result.seed is not None else ""
            if said:
                yield Finding(
                    "constant_predictions",
                    "error",
                    f"{result.model}{seed} {said}: it has learned nothing.",
                    _LEARNED_NOTHING,
                    {"said": said},
                )


def _describe_constant(predictions: Predictions | Outputs) -> str:
    """Return what a model says of every sample, empty where that varies."""
    if isinstance(predictions, Predictions):
        said = np.unique(predictions.probabilities.argmax(axis=1))
        return f"says {predictions.class_names[said[0]]} to every test sample" if len(said) == 1 else ""
    values = predictions.outputs
    if predictions.task == "multi-label":
        guesses = values >= THRESHOLD
        named = [name for name, guess in zip(predictions.names, guesses[0], strict=True) if guess]
        labels = _name_some(named) if named else "no label"
        return f"says {labels} to every test sample" if (guesses == guesses[0]).all() else ""
    if predictions.task == "regression":
        constant = ", ".join(f"{value:.4g}" for value in values[0, :_NAMED])
        return f"says {constant} to every test sample" if not np.ptp(values, axis=0).any() else ""
    queries = [rows for rows in find_queries(predictions) if len(rows) > 1]
    alike = queries and not any(np.ptp(values[rows]) for rows in queries)
    return "gives all items of a query the same score" if alike else ""


def _find_one_class(predictions: Predictions) -> Iterator[Finding]:
    present = np.unique(predictions.labels)
    if len(present) == 1:
        name = predictions.class_names[present[0]]
        yield Finding(
            "one_class",
            "error",
            f"All {len(predictions)} test samples are of the class {name}, so nothing can be said of telling "
            "classes apart.",
            "Test on samples of every class.",
            {"class": name},
        )


def _find_constant_labels(outputs: Outputs) -> Iterator[Finding]:
    if constant := _constant_targets(outputs):
        every = len(constant) == len(outputs.names)
        yield Finding(
            "constant_labels",
            "error" if every else "warning",
            f"{_name_some(constant)} is the same for all {len(outputs)} test samples, so nothing can be said "
            "of telling these labels apart; macro-F1 counts them all the same.",
            "Test on samples with and without every label, or leave these labels out.",
            {"labels": constant},
        )


def _find_constant_quantities(outputs: Outputs) -> Iterator[Finding]:
    if constant := _constant_targets(outputs):
        yield Finding(
            "constant_targets",
            "error",
            f"{_name_some(constant)} is the same for all {len(outputs)} test samples, so a constant would "
            "predict it without a mistake and R² is not defined.",
            "Test on samples that differ in it.",
            {"quantities": constant},
        )


def _constant_targets(outputs: Outputs) -> list[str]:
    """Return the names of what is the same for all test samples."""
    columns = zip(outputs.names, outputs.targets.T, strict=True)
    return [name for name, values in columns if not np.ptp(values)]


def _find_undefined_queries(outputs: Outputs) -> Iterator[Finding]:
    total, defined = len(np.unique(outputs.groups)), len(find_queries(outputs))
    if defined < total:
        yield Finding(
            "undefined_queries",
            "warning",
            f"{total - defined:,} of {total:,} test queries have no relevant item and are left out: no "
            "measure is defined on them.",
            "Say so where the number is published.",
            {"queries": total, "left_out": total - defined},
        )


def _name_some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return join_names([*names[:_NAMED], *([f"{more} more"] if more > 0 else [])])

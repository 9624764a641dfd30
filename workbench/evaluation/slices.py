"""Where a model is better or worse than elsewhere: by class, by length, by brightness, by any column."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.errors import WorkbenchError
from workbench.evaluation.estimates import Estimate, estimate_model, sample_runs
from workbench.evaluation.measures import is_lower_better
from workbench.evaluation.predictions import Predictions
from workbench.evaluation.results import Result, average_predictions, require_classes
from workbench.evaluation.statistics import adjust_p_values, fisher

if TYPE_CHECKING:
    from workbench.datasets import Dataset

PARTS = 4  # into which numbers are cut, with equally many samples in each
_RESAMPLES = 2_000
_MOST_VALUES = 12  # of numbers that count as names
_COLUMNS = ["group", "samples", "value", "low", "high", "elsewhere", "gap", "gap_low", "gap_high", "p"]


def describe_samples(dataset: "Dataset") -> dict[str, np.ndarray]:
    """Return what is known of every test sample by name: its class, and how it looks or how long it is."""
    names = np.array(dataset.class_names, dtype=object)
    columns = {"class": names[dataset.test.y]}
    if dataset.task == "image-classification":
        flat = [np.asarray(image, np.float32) for image in dataset.test.x]
        columns["brightness"] = np.array([image.mean() / 255 for image in flat])
        columns["contrast"] = np.array([image.std() / 255 for image in flat])
    elif dataset.task == "text-classification":
        columns["words"] = np.array([len(text.split()) for text in dataset.test.x])
    return columns


def measure_groups(
    results: Sequence[Result], column: Sequence[Any], measure: str = "accuracy", resamples: int = _RESAMPLES
) -> pd.DataFrame:
    """Return a measure of one model in each group of test samples, beside all samples outside of the group.

    The interval of a gap joins those of its two sides (Zou & Donner 2008,
    https://doi.org/10.1002/sim.3095); the test asks whether mistakes are as frequent on both sides
    (Fisher's exact test on the seeds' averaged probabilities).

    Args:
        results: The seeds of one model.
        column: (n,) what groups the test samples: names; or numbers, which are cut into four parts. A pandas
            Categorical may name groups that no sample is in. A sample whose value is missing (NaN, None) or
            infinite is in no group.
        measure: One of `statistics.RESAMPLED_MEASURES`.
        resamples: Of the bootstrap.

    Returns:
        Columns `group`, `samples`, `value`, `low`, `high`, `elsewhere` (the value outside), `gap` (value less
        elsewhere), `gap_low`, `gap_high`, `p`; NaN where a group or its outside is empty.

    Raises:
        WorkbenchError: There are no results, or the column does not belong to the test samples.
    """
    if not results:
        raise WorkbenchError("There is no model to measure.\nGive the results of one model's seeds.")
    require_classes(results, "Groups of test samples cannot be measured")
    groups = _group(column)
    if len(groups) != len(results[0].predictions):
        raise WorkbenchError(
            f"The column groups {len(groups)} samples, but there are {len(results[0].predictions)} for the "
            "test.\nGive one value for each test sample, in their order."
        )
    together = average_predictions(results)
    wrong = together.probabilities.argmax(axis=1) != together.labels
    rows = []
    for name in groups.categories:
        inside = np.asarray(groups == name)
        if inside.all() or not inside.any():
            rows.append((name, int(inside.sum()), *[np.nan] * (len(_COLUMNS) - 2)))
            continue
        own, rest = (_estimate(results, mask, measure, resamples) for mask in (inside, ~inside))
        p_value = fisher(
            int(wrong[inside].sum()), int(inside.sum()), int(wrong[~inside].sum()), (~inside).sum()
        )
        rows.append((name, own.samples, own.value, own.low, own.high, rest.value, *_gap(own, rest), p_value))
    return pd.DataFrame(rows, columns=_COLUMNS)


def find_slices(
    results: Sequence[Result],
    columns: Mapping[str, Sequence[Any]],
    measure: str = "accuracy",
    resamples: int = _RESAMPLES,
) -> pd.DataFrame:
    """Return the groups of all columns, the worst first, with p-values corrected for their number.

    Args:
        results: The seeds of one model.
        columns: What groups the test samples, by name, such as `describe_samples` gives.
        measure: As for `measure_groups`.
        resamples: Likewise.

    Returns:
        The columns of `measure_groups`, with `column`, `p_adjusted` (Benjamini-Hochberg over all groups) and
        `worse`: whether the model is shown to be worse there than elsewhere.

    Raises:
        WorkbenchError: There are no results or columns, or a column does not belong to the test samples.
    """
    if not columns:
        raise WorkbenchError(
            "There is no column to group the test samples by.\n"
            "Give describe_samples(dataset), or columns of your own: {name: one value for each test sample}."
        )
    tables = []
    for name, column in columns.items():
        table = measure_groups(results, column, measure, resamples)
        table.insert(0, "column", name)
        tables.append(table)
    found = pd.concat(tables, ignore_index=True)
    found["p_adjusted"] = adjust_p_values(found["p"].to_numpy(), "bh")
    sign = -1 if is_lower_better(measure) else 1
    found["worse"] = (found["p_adjusted"] < 0.05) & (sign * found["gap"] < 0)
    order = (sign * found["gap"]).sort_values(kind="stable", na_position="last").index
    return found.loc[order].reset_index(drop=True)


def _group(column: Sequence[Any]) -> pd.Categorical:
    if isinstance(column, pd.Categorical):
        return column
    found = np.asarray(column)
    if found.ndim != 1:
        raise WorkbenchError(
            f"The column has the shape {found.shape}.\nGive one value for each test sample, in their order."
        )
    values = pd.Series(found).replace([np.inf, -np.inf], np.nan)
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > _MOST_VALUES:
        parts = pd.qcut(values, PARTS, duplicates="drop")
        names = [f"{part.left:.3g} to {part.right:.3g}" for part in parts.cat.categories]
        return pd.Categorical.from_codes(parts.cat.codes, pd.Index(names), ordered=True)
    return pd.Categorical(values)


def _estimate(results: Sequence[Result], mask: np.ndarray, measure: str, resamples: int) -> Estimate:
    chosen = [replace(result, predictions=_take(result.predictions, mask)) for result in results]
    return estimate_model(sample_runs(measure, chosen, resamples), results[0].model)


def _take(predictions: Predictions, mask: np.ndarray) -> Predictions:
    return Predictions(
        predictions.ids[mask],
        predictions.labels[mask],
        predictions.probabilities[mask],
        predictions.class_names,
    )


def _gap(own: Estimate, rest: Estimate) -> tuple[float, float, float]:
    gap = own.value - rest.value
    down = np.hypot(own.value - own.low, rest.high - rest.value)
    up = np.hypot(own.high - own.value, rest.value - rest.low)
    return gap, gap - down, gap + up

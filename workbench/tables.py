"""Tables of data and results: data in, `DataFrame` out, nothing read or written."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.evaluation.selection import spread_over_classes
from workbench.runs import show_path

if TYPE_CHECKING:
    from workbench.datasets import Dataset, Split
    from workbench.evaluation.results import Result
    from workbench.evaluation.verdicts import Verdict

GROUP = ["dataset", "model", "kind"]  # columns that name the rows of one model in a summary


def table_split_sizes(dataset: "Dataset") -> pd.DataFrame:
    """Return one row for each split: samples, share of all samples, classes that occur."""
    labels = {name: split.y for name, split in dataset.splits().items()}
    total = sum(map(len, labels.values()))
    return pd.DataFrame(
        {
            "split": list(labels),
            "samples": [len(values) for values in labels.values()],
            "share": [round(len(values) / max(total, 1), 4) for values in labels.values()],
            "classes": [len(np.unique(values)) for values in labels.values()],
        }
    )


def table_text_samples(
    split: "Split", class_names: Sequence[str], count: int = 10, length: int = 200
) -> pd.DataFrame:
    """Return texts of a split with their class names, taking the classes in turn.

    Args:
        split: Texts (n,) and labels (n,).
        count: How many texts at most.
        length: Characters of each text to show.
    """
    chosen = spread_over_classes(split.y, count)
    return pd.DataFrame(
        {
            "class": [class_names[label] for label in split.y[chosen]],
            "text": [shorten(text, length) for text in split.x[chosen]],
        }
    )


def table_summary(dataset_name: str, results: Sequence["Result"]) -> pd.DataFrame:
    """Return one row for each model run and each baseline, with its measures on the test set."""
    from workbench.evaluation.measures import MEASURES, evaluate_predictions

    rows = [
        {
            "dataset": dataset_name,
            "model": result.model,
            "kind": result.kind,
            "run": show_path(result.run.path) if result.run else "",
            "seed": result.seed,
            **evaluate_predictions(result.predictions),
            "test_samples": len(result.predictions),
        }
        for result in results
    ]
    columns = [*GROUP, "run", "seed", *MEASURES, "test_samples"]
    return pd.DataFrame(rows, columns=columns).astype({"seed": "Int64"})


def table_means(summary: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each model and baseline: mean and standard deviation over its runs, best first.

    The deviation is the sample's (divided by n - 1) and missing where there is one run.
    """
    measures = summary.columns[summary.columns.get_loc("seed") + 1 : -1]
    groups = summary.groupby(GROUP, sort=False)
    table = groups.size().rename("runs").to_frame()
    for measure in measures:
        table[measure] = groups[measure].mean()
        table[f"{measure}_sd"] = groups[measure].std()
    return table.reset_index().sort_values("accuracy", ascending=False, ignore_index=True)


def table_classes(groups: Mapping[str, Sequence["Result"]]) -> pd.DataFrame:
    """Return precision, recall, F1 and support of every class, for each model the mean over its runs.

    Args:
        groups: The results of each model, from `group_by_model`.
    """
    from workbench.evaluation.measures import measure_classes

    tables = []
    for model, results in groups.items():
        runs = pd.concat([measure_classes(result.predictions) for result in results])
        table = runs.groupby("class", sort=False).mean().reset_index()
        table.insert(0, "model", model)
        tables.append(table.astype({"support": int}))
    return pd.concat(tables, ignore_index=True)


def table_measures(results: Sequence["Result"]) -> pd.DataFrame:
    """Return one row for each run with every measure that what it stored allows; NaN where undefined."""
    from workbench.evaluation.measures import measure_predictions
    from workbench.evaluation.output_measures import measure_outputs
    from workbench.evaluation.predictions import Predictions

    rows = [
        {"model": result.model, "seed": result.seed, **measure(result.predictions)}
        for result in results
        for measure in (
            measure_predictions if isinstance(result.predictions, Predictions) else measure_outputs,
        )
    ]
    return pd.DataFrame(rows).astype({"seed": "Int64"})


def table_calibration(groups: Mapping[str, Sequence["Result"]]) -> pd.DataFrame:
    """Return the expected calibration error of every run with its interval, and what a temperature mends.

    The temperature is fitted on the run's validation predictions; where it stored none, there is none.

    Args:
        groups: The results of each model, from `group_by_model`.
    """
    from workbench.evaluation import calibration
    from workbench.evaluation.predictions import PARTS, read_predictions

    rows = []
    for model, results in groups.items():
        for result in results:
            test = result.predictions
            low, high = calibration.bound_calibration_error(test, resamples=2000)
            row = {"model": model, "seed": result.seed, "error": calibration.measure_calibration_error(test)}
            row |= {"low": low, "high": high, "temperature": np.nan, "error_scaled": np.nan}
            if result.run is not None and (result.run.path / PARTS["val"]).is_file():
                temperature = calibration.fit_temperature(read_predictions(result.run.path, "val"))
                scaled = calibration.scale_temperature(test, temperature)
                row["temperature"] = temperature
                row["error_scaled"] = calibration.measure_calibration_error(scaled)
            rows.append(row)
    return pd.DataFrame(rows).astype({"seed": "Int64"})


def table_estimates(verdict: "Verdict") -> pd.DataFrame:
    """Return one row for each model, best first: its measure, where the interval lies, and every single run.

    The column `reported` is what to write: the value with its 95 % interval, rounded to what that carries.
    """
    from workbench.evaluation.rounding import format_value

    rows = [
        {
            "dataset": verdict.dataset,
            "model": estimate.model,
            "kind": estimate.kind,
            "measure": verdict.measure,
            "reported": str(estimate),
            "value": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "sd_over_seeds": estimate.deviation,
            "runs": len(estimate.values),
            "every_run": " ".join(map(format_value, estimate.values)),
            "interval": estimate.method,
            "note": estimate.note,
        }
        for estimate in verdict.estimates
    ]
    return pd.DataFrame(rows)


def table_pairs(verdict: "Verdict") -> pd.DataFrame:
    """Return one row for each pair of models: difference, interval, p-values, test, effect, assumptions."""
    from workbench.evaluation.rounding import format_estimate

    rows = [
        {
            "better": pair.better,
            "worse": pair.worse,
            "reported": format_estimate(pair.difference, pair.low, pair.high),
            "separated": "yes" if pair.separates() else "no",
            "p": pair.p_value,
            "p_adjusted": pair.adjusted,
            "effect": pair.effect,
            "difference": pair.difference,
            "low": pair.low,
            "high": pair.high,
            "test": "; ".join(filter(None, (pair.test, verdict.correction))),
            "assumptions": "; ".join(pair.assumptions),
            "checked": "; ".join(pair.checks),
            "note": pair.note,
        }
        for pair in verdict.pairs
    ]
    columns = ["better", "worse", "reported", "separated", "p", "p_adjusted", "effect", "difference", "low"]
    columns += ["high", "test", "assumptions", "checked", "note"]
    return pd.DataFrame(rows, columns=columns)


def table_confusions(counts: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """Return a confusion matrix as a table: true classes as rows, predicted classes as columns."""
    table = pd.DataFrame(counts, columns=list(class_names))
    table.insert(0, "true class", list(class_names), allow_duplicates=True)
    return table


def table_mistakes(model: str, mistakes: pd.DataFrame, dataset: "Dataset") -> pd.DataFrame:
    """Return the mistakes of one model, with the beginning of each text where samples are texts.

    Args:
        model: The model's name.
        mistakes: From `workbench.evaluation.find_worst_mistakes`, on the test set.
    """
    table = mistakes.drop(columns="sample")
    table.insert(0, "model", model)
    if dataset.task == "text-classification":
        texts = [shorten(text, 300) for text in dataset.test.x[mistakes["sample"]]]
        table.insert(2, "text", texts)
    return table


def shorten(text: str, length: int) -> str:
    """Return `text` on one line, cut to `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"

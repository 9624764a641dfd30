"""Models side by side: their runs read back, checked to be comparable, and joined over seeds."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import WorkbenchError
from workbench.evaluation.outputs import Outputs, read_stored
from workbench.evaluation.predictions import TASK, Predictions
from workbench.runs import RunRecord, open_run, show_path

if TYPE_CHECKING:
    from workbench.datasets import Dataset

KINDS = ("model", "baseline")
_NOT_THE_MODEL = ("seed", "run_dir")  # parameters in which runs of one model may differ


@dataclass(frozen=True)
class Result:
    """The predictions of one trained model, or of one baseline."""

    model: str  # the same for all seeds of a model
    kind: str  # "model" or "baseline"
    predictions: Predictions | Outputs  # of one class out of many, or of another task
    seed: int | None = None
    run: RunRecord | None = None


def read_results(runs: Sequence[str]) -> list[Result]:
    """Read the predictions of finished runs that were tested on the same samples.

    Runs of one model that differ in more than their seed carry these parameters in the model's name.

    Args:
        runs: Run folders, relative to the project root.

    Raises:
        WorkbenchError: A run is unfinished or has no predictions, or the test sets differ.
    """
    groups = _group_by_test_set([_open_finished(path) for path in runs])
    if len(groups) > 1:
        raise _different_test_sets(groups)
    return groups[0] if groups else []


def read_result_groups(runs: Sequence[str]) -> list[list[Result]]:
    """Read the predictions of finished runs that were tested on one or on several datasets.

    Args:
        runs: Run folders, relative to the project root.

    Returns:
        The results on each test set.

    Raises:
        WorkbenchError: A run is unfinished or has no predictions, or there are several test sets and not
            every model was tested on each of them.
    """
    groups = _group_by_test_set([_open_finished(path) for path in runs])
    designs = {
        (group[0].run.dataset["name"], frozenset(result.model for result in group)) for group in groups
    }
    several_datasets = len({name for name, _ in designs}) == len(groups)
    complete = len({models for _, models in designs}) == 1
    if len(groups) > 1 and not (several_datasets and complete):
        raise _different_test_sets(groups)
    return groups


def keep_different_seeds(results: Sequence[Result]) -> list[Result]:
    """Return the results without those of a model and seed that were there before: they are no new draw."""
    seen, kept = set(), []
    for result in results:
        key = (result.model, result.seed)
        if result.seed is None or key not in seen:
            kept.append(result)
        seen.add(key)
    return kept


def load_test_data(results: Sequence[Result]) -> "Dataset":
    """Load the dataset on which the models were trained and tested.

    Raises:
        WorkbenchError: The data have changed since, or are no classes.
    """
    from workbench.datasets import load_dataset

    require_classes(results, "The test data of these runs cannot be loaded")
    references = {json.dumps(r.run.dataset, sort_keys=True): r for r in reversed(results)}
    for result in references.values():  # the first result comes last and is returned
        reference = result.run.dataset
        dataset = load_dataset(**reference["recipe"])
        if dataset.fingerprint != reference["fingerprint"]:
            raise WorkbenchError(
                f"The run {show_path(result.run.path)} used the dataset {reference['name']} with the "
                f"fingerprint {reference['fingerprint'][:12]}, but loading it now gives "
                f"{dataset.fingerprint[:12]}: its files have changed.\n"
                "Train again on the data as they are, or bring the files back."
            )
        if not np.array_equal(dataset.test.ids, result.predictions.ids):
            raise WorkbenchError(
                f"The predictions of {show_path(result.run.path)} are not those of the test set of "
                f"{reference['name']}: their sample ids differ.\n"
                "Let the training notebook call wb.write_predictions(run, dataset.test, …)."
            )
    return dataset


def require_classes(results: Sequence[Result], what: str) -> None:
    """Refuse results of another task than one class out of many.

    Args:
        results: Of any task.
        what: What cannot be done with others, as the beginning of a sentence.

    Raises:
        WorkbenchError: The task is another one.
    """
    for result in results:
        if result.predictions.task != TASK:
            raise WorkbenchError(
                f"{what}: the task of {result.model} is {result.predictions.task}, and this is for one "
                "class out of many.\n"
                "Compare such runs with wb.evaluation.compare, measure one with measure_outputs."
            )


def choose_measure(results: Sequence[Result], measure: str) -> str:
    """Return the measure, or where it is empty the first one of the results' task."""
    from workbench.evaluation.statistics import MEASURES_OF_TASK

    return measure or MEASURES_OF_TASK[results[0].predictions.task][0] if results else measure


def group_by_model(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Return the results of each model, in the order of their first appearance."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.model, []).append(result)
    return groups


def average_predictions(results: Sequence[Result]) -> Predictions:
    """Return the probabilities of one model's seeds, averaged sample by sample.

    Raises:
        WorkbenchError: They are of another task.
    """
    require_classes(results, "There are no probabilities to average")
    first = results[0].predictions
    stacked = np.stack([result.predictions.probabilities for result in results])
    return dataclasses.replace(first, probabilities=stacked.mean(axis=0))


def file_name(model: str) -> str:
    """Return a model's name as it may stand in the name of a figure or table; different names stay so."""
    plain = re.sub(r"[^\w=.-]+", "-", model).strip("-")[:60]
    return plain if plain == model else f"{plain}-{hashlib.sha256(model.encode()).hexdigest()[:6]}"


def _open_finished(path: str) -> RunRecord:
    record = open_run(path)
    if record.status != "finished":
        raise WorkbenchError(
            f"The run {show_path(record.path)} is {record.status}, not finished, so its model is not the "
            "one to be judged.\nLet it end or train again, then evaluate."
        )
    if record.dataset is None:
        raise WorkbenchError(
            f"The run {show_path(record.path)} does not say which data it used, so it cannot be evaluated.\n"
            "Let its notebook call run.record(dataset=dataset.reference())."
        )
    return record


def _group_by_test_set(records: Sequence[RunRecord]) -> list[list[Result]]:
    """Return the results of each test set: the same data, classes, samples and labels in the same order."""
    tested: dict[tuple[Any, ...], list[tuple[RunRecord, Predictions | Outputs]]] = {}
    for record in records:
        predictions = read_stored(record.path)
        key = (record.dataset["name"], *predictions.samples_key)
        tested.setdefault(key, []).append((record, predictions))
    return [_name_results(members) for members in tested.values()]


def _name_results(members: Sequence[tuple[RunRecord, Predictions | Outputs]]) -> list[Result]:
    names = _name_models([record for record, _ in members])
    return [
        Result(name, _kind(record), predictions, record.parameters.get("seed"), record)
        for name, (record, predictions) in zip(names, members, strict=True)
    ]


def _kind(record: RunRecord) -> str:
    kind = record.details.get("kind", "model")
    if kind not in KINDS:
        raise WorkbenchError(
            f"The run {show_path(record.path)} says that it is of the kind {kind!r}.\n"
            f"Let its notebook call run.record(kind=…) with one of {', '.join(KINDS)}, or leave it out."
        )
    return kind


def _name_models(records: Sequence[RunRecord]) -> list[str]:
    """Return the name of each run's model, with the parameters in which its namesakes differ."""
    names = [record.details.get("model", record.name) for record in records]
    return [
        name + _distinction(record, [r for r, n in zip(records, names, strict=True) if n == name])
        for record, name in zip(records, names, strict=True)
    ]


def _distinction(record: RunRecord, namesakes: Sequence[RunRecord]) -> str:
    same_data = len({other.dataset["fingerprint"] for other in namesakes}) == 1
    ignored = (*_NOT_THE_MODEL, "dataset") if same_data else _NOT_THE_MODEL  # it may have several names
    differing = [
        f"{key}={_spell(value)}"
        for key, value in record.parameters.items()
        if key not in ignored and any(r.parameters.get(key) != value for r in namesakes)
    ]
    return f" ({', '.join(differing)})" if differing else ""


def _spell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _different_test_sets(groups: Sequence[Sequence[Result]]) -> WorkbenchError:
    listing = "\n".join(
        f"  {group[0].run.dataset['name']}, fingerprint {group[0].run.dataset['fingerprint'][:12]}, "
        f"{group[0].predictions.describe_samples()}: "
        f"{', '.join(show_path(result.run.path) for result in group)}"
        for group in groups
    )
    return WorkbenchError(
        f"The {sum(map(len, groups))} runs were tested on {len(groups)} different test sets:\n{listing}\n"
        "Their measures cannot be compared. Evaluate each group by itself, or train all of them with "
        "the same dataset, split_seed and fractions."
    )

"""Predicted probabilities of a test set, stored in the run folder of the model that made them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from workbench.errors import WorkbenchError
from workbench.runs import Run, resolve_path, show_path

if TYPE_CHECKING:
    import pyarrow as pa

    from workbench.datasets import Split

T = TypeVar("T")

TASK = "classification"
PREDICTIONS_FILE = "artifacts/predictions.parquet"
PARTS = {"test": PREDICTIONS_FILE, "val": "artifacts/predictions_val.parquet"}
SUM_TOLERANCE = 0.02  # what rounding in bfloat16 may leave of a softmax over many classes


@dataclass(frozen=True)
class Predictions:
    """What a model says about every sample of a test set.

    Raises:
        WorkbenchError: The numbers are no probabilities of these samples and classes, or a label is none of
            the classes.
    """

    ids: np.ndarray  # (n,) str
    labels: np.ndarray  # (n,) int64, the true classes
    probabilities: np.ndarray  # (n, k) float32
    class_names: tuple[str, ...]  # k names

    def __post_init__(self) -> None:
        _check_shape(self.probabilities, len(self.labels), len(self.class_names))
        _check_labels(self.labels, len(self.class_names))
        _check_probabilities(self.probabilities)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def samples_key(self) -> tuple[Any, ...]:
        """What predictions on the same test set have in common."""
        return TASK, self.class_names, tuple(self.ids.tolist()), self.labels.tobytes()

    @property
    def task(self) -> str:
        """One class out of many."""
        return TASK

    def describe_samples(self) -> str:
        """Return how many samples there are, and of what."""
        return f"{len(self)} samples of {len(self.class_names)} classes"


def write_predictions(
    run: Run, split: "Split", probabilities: np.ndarray, class_names: Sequence[str], part: str = "test"
) -> Path:
    """Store a model's predictions for a split as `artifacts/predictions.parquet` of its run.

    The columns are `id`, `label` and `p_0` to `p_<k-1>`; the class names stand in the schema's metadata.

    Args:
        run: The open run of the model.
        split: The test set, n samples in the order of `probabilities`.
        probabilities: (n, k), rows that sum to 1, such as the output of a softmax.
        class_names: k names.
        part: "test", or "val" for the validation set, on which temperatures are fitted; it is stored as
            `artifacts/predictions_val.parquet`.

    Raises:
        WorkbenchError: The numbers are not probabilities of these samples and classes.
    """
    values = np.asarray(probabilities, dtype=np.float32)
    Predictions(split.ids, split.y, values, tuple(class_names))
    _check_ids(split.ids)
    columns = {"id": split.ids.tolist(), "label": np.asarray(split.y, np.int64)}
    columns |= {f"p_{number}": column for number, column in enumerate(values.T)}
    names = json.dumps(list(class_names), ensure_ascii=False)
    return write_table(run, Path(_file_of(part)).name, columns, {"class_names": names})


def read_predictions(run_folder: str | Path, part: str = "test") -> Predictions:
    """Read the predictions that a run stored.

    Args:
        run_folder: The run's folder, relative to the project root.
        part: "test" or "val".

    Raises:
        WorkbenchError: The run stored none, or numbers that are no probabilities.
    """

    return open_table(run_folder, _file_of(part), parse_predictions)


def parse_predictions(table: "pa.Table") -> Predictions:
    """Return the predictions that a table holds.

    Raises:
        WorkbenchError: It holds outputs of another task, or numbers that are no probabilities.
    """
    task = (table.schema.metadata or {}).get(b"task", b"").decode()
    if task:
        raise WorkbenchError(
            f"These are outputs of the task {task}, not of one class out of many.\n"
            "Read them with wb.evaluation.read_outputs, measure them with measure_outputs."
        )
    class_names = tuple(json.loads(table.schema.metadata[b"class_names"]))
    columns = [table[f"p_{number}"].to_numpy() for number in range(len(class_names))]
    return Predictions(
        ids=np.array(table["id"].to_pylist(), dtype=str),
        labels=table["label"].to_numpy(),
        probabilities=np.stack(columns, axis=1) if columns else np.empty((len(table), 0), np.float32),
        class_names=class_names,
    )


def write_table(run: Run, name: str, columns: Mapping[str, Any], metadata: Mapping[str, str]) -> Path:
    """Write columns with metadata as a Parquet file among the run's artifacts, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = run.artifacts / name
    temporary = path.with_name(f".{name}.tmp")
    table = pa.table({key: pa.array(column) for key, column in columns.items()})
    pq.write_table(table.replace_schema_metadata(dict(metadata)), temporary)
    return temporary.replace(path)


def open_table(run_folder: str | Path, file: str, parse: Callable[["pa.Table"], T]) -> T:
    """Read a Parquet file of a run and make something of it.

    Raises:
        WorkbenchError: There is none, it is damaged, or `parse` refuses what it holds.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = resolve_path(run_folder) / file
    try:
        return parse(pq.read_table(path))
    except FileNotFoundError:
        raise WorkbenchError(
            f"The run {show_path(path.parents[1])} holds no {file}, so it cannot be evaluated.\n"
            "Give the run of a training notebook, which calls wb.write_predictions(run, dataset.test, …)."
        ) from None
    except WorkbenchError as error:
        raise WorkbenchError(f"{show_path(path)}: {error}") from error
    except (pa.ArrowInvalid, KeyError, TypeError) as error:
        raise WorkbenchError(
            f"{show_path(path)} is not a file of predictions: {error}.\n"
            "Run the training notebook again; wb.write_predictions writes the file."
        ) from error


def _file_of(part: str) -> str:
    if part not in PARTS:
        raise WorkbenchError(f"There are no predictions of a part {part!r}.\nGive test or val.")
    return PARTS[part]


def _check_shape(values: np.ndarray, samples: int, classes: int) -> None:
    if values.shape != (samples, classes):
        raise WorkbenchError(
            f"The probabilities have the shape {values.shape}, but the split holds {samples} samples "
            f"of {classes} classes.\n"
            f"Give one row a sample and one column a class: {(samples, classes)}."
        )


def _check_probabilities(values: np.ndarray) -> None:
    broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(broken):
        raise WorkbenchError(
            f"The probabilities of {len(broken)} of {len(values)} samples are NaN or infinite "
            f"(the first is sample {broken[0]}), so they say nothing.\n"
            "The training has probably diverged: look at its loss, lower the learning rate."
        )
    outside = (values < 0) | (values > 1)
    off = np.abs(values.sum(axis=1) - 1) > SUM_TOLERANCE
    wrong = np.flatnonzero(outside.any(axis=1) | off)
    if len(wrong):
        raise WorkbenchError(
            f"{len(wrong)} of {len(values)} rows are not probabilities; the first, row {wrong[0]}, holds "
            f"values from {values[wrong[0]].min():.3g} to {values[wrong[0]].max():.3g} "
            f"with the sum {values[wrong[0]].sum():.3g}.\n"
            "Give the output of a softmax (values from 0 to 1, rows that sum to 1), not logits."
        )


def _check_labels(labels: np.ndarray, classes: int) -> None:
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise WorkbenchError(
            f"There are labels from {labels.min()} to {labels.max()}, but {classes} class names.\n"
            "Give the class names of this dataset: dataset.class_names."
        )


def _check_ids(ids: np.ndarray) -> None:
    if len(np.unique(ids)) < len(ids):
        raise WorkbenchError(
            f"The split has {len(ids)} samples but only {len(np.unique(ids))} different ids, so its "
            "predictions could not be told apart.\nGive every sample its own id."
        )

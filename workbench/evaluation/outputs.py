"""Predictions of tasks other than one class out of many: several labels, numbers, and rankings.

They lie in the same `artifacts/predictions.parquet`, whose metadata names the task, so that every measure
can be computed later without the model.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import WorkbenchError
from workbench.evaluation.predictions import (
    PREDICTIONS_FILE,
    Predictions,
    open_table,
    parse_predictions,
    write_table,
)
from workbench.runs import Run

if TYPE_CHECKING:
    import pyarrow as pa

TASKS = ("multi-label", "regression", "ranking")
THRESHOLD = 0.5  # from which on a label counts as predicted
_COUNTED = {"multi-label": "labels", "regression": "quantities"}


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a model says about every sample.

    Args:
        task: "multi-label" (targets 0 or 1, outputs probabilities), "regression" (numbers), or "ranking"
            (targets say how relevant an item is, 0 or more; outputs score it).
        ids: (n,) str, unique.
        targets: (n, k) what is true.
        outputs: (n, k) what the model says.
        names: k names of labels or quantities.
        groups: (n,) str, of a ranking: the query to which each item belongs.

    Raises:
        WorkbenchError: The arrays do not belong together, or hold what cannot be of this task.
    """

    task: str
    ids: np.ndarray
    targets: np.ndarray
    outputs: np.ndarray
    names: tuple[str, ...]
    groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise WorkbenchError(f"There is no task {self.task!r} here.\nGive one of {', '.join(TASKS)}.")
        shape = (len(self.ids), len(self.names))
        if self.targets.shape != shape or self.outputs.shape != shape:
            raise WorkbenchError(
                f"Targets have the shape {self.targets.shape} and outputs {self.outputs.shape}, but there "
                f"are {shape[0]} ids and {shape[1]} names.\nGive a row for each id, a column for each name."
            )
        self._check_ids()
        self._check_values()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def samples_key(self) -> tuple[Any, ...]:
        """What outputs on the same test set have in common."""
        groups = None if self.groups is None else tuple(self.groups.tolist())
        return self.task, self.names, tuple(self.ids.tolist()), self.targets.tobytes(), groups

    def describe_samples(self) -> str:
        """Return how many samples there are, and of what."""
        if self.task == "ranking":
            return f"{len(self)} items of {len(np.unique(self.groups))} queries"
        return f"{len(self)} samples of {len(self.names)} {_COUNTED[self.task]}"

    def _check_ids(self) -> None:
        if len(np.unique(self.ids)) < len(self.ids):
            raise WorkbenchError(
                f"There are {len(self.ids)} samples but only {len(np.unique(self.ids))} different ids, so "
                "their outputs could not be told apart.\nGive every sample its own id."
            )
        if self.task != "ranking":
            return
        if self.groups is None or self.targets.shape[1] != 1:
            raise WorkbenchError(
                "A ranking needs one column of relevance and the query of each item.\nGive groups, (n,)."
            )
        if len(self.groups) != len(self.ids):
            raise WorkbenchError(
                f"There are {len(self.groups)} groups for {len(self.ids)} items.\n"
                "Give the query of each item: groups, (n,)."
            )

    def _check_values(self) -> None:
        for values, what, advice in (
            (self.targets, "targets", "Leave out the samples whose truth is not known."),
            (self.outputs, "outputs", "The training has probably diverged: lower the learning rate."),
        ):
            broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
            if len(broken):
                raise WorkbenchError(
                    f"The {what} of {len(broken)} of {len(self.ids)} samples are NaN or infinite (the first "
                    f"is sample {broken[0]}).\n{advice}"
                )
        if self.task == "multi-label":
            outside = (self.outputs < 0) | (self.outputs > 1)
            if outside.any() or not np.isin(self.targets, (0, 1)).all():
                raise WorkbenchError(
                    "Of several labels the targets are 0 or 1 and the outputs probabilities, but these are "
                    "others.\nGive the output of a sigmoid, not logits."
                )
        if self.task == "ranking" and (self.targets < 0).any():
            raise WorkbenchError(
                f"The relevance of an item is {self.targets.min():.4g}, but none can be below 0.\n"
                "Give 0 to what is not relevant, and more to what is."
            )


def write_outputs(run: Run, outputs: Outputs) -> Path:
    """Store outputs as `artifacts/predictions.parquet` of their run.

    The columns are `id`, `target_0` … and `output_0` …, and `group` of a ranking.
    """
    columns = {"id": outputs.ids.astype(str).tolist()}
    for kind, values in (("target", outputs.targets), ("output", outputs.outputs)):
        columns |= {f"{kind}_{number}": column for number, column in enumerate(values.T)}
    if outputs.groups is not None:
        columns["group"] = outputs.groups.astype(str).tolist()
    metadata = {"task": outputs.task, "names": json.dumps(list(outputs.names), ensure_ascii=False)}
    return write_table(run, Path(PREDICTIONS_FILE).name, columns, metadata)


def read_outputs(run_folder: str | Path) -> Outputs:
    """Read the outputs that a run stored.

    Raises:
        WorkbenchError: The run stored none, or classes, which `read_predictions` reads.
    """

    def parse(table: "pa.Table") -> Outputs:
        if b"class_names" in (table.schema.metadata or {}):
            raise WorkbenchError(
                "These are probabilities of classes, not outputs of another task.\n"
                "Read them with wb.read_predictions."
            )
        return _parse_outputs(table)

    return open_table(run_folder, PREDICTIONS_FILE, parse)


def read_stored(run_folder: str | Path) -> Predictions | Outputs:
    """Read what a run stored for its test set: probabilities of classes, or outputs of another task.

    Raises:
        WorkbenchError: The run stored none, or numbers that cannot be of its task.
    """

    def parse(table: "pa.Table") -> Predictions | Outputs:
        return (_parse_outputs if b"task" in (table.schema.metadata or {}) else parse_predictions)(table)

    return open_table(run_folder, PREDICTIONS_FILE, parse)


def _parse_outputs(table: "pa.Table") -> Outputs:
    metadata = table.schema.metadata or {}
    names = tuple(json.loads(metadata[b"names"]))
    kinds = [
        np.stack([table[f"{kind}_{number}"].to_numpy() for number in range(len(names))], axis=1)
        for kind in ("target", "output")
    ]
    groups = np.array(table["group"].to_pylist(), str) if "group" in table.column_names else None
    ids = np.array(table["id"].to_pylist(), str)
    return Outputs(metadata[b"task"].decode(), ids, *kinds, names, groups)

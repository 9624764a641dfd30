"""Predictions of tasks other than one class out of many: several labels, numbers, and rankings.

They lie in the same `artifacts/predictions.parquet`, whose metadata names the task, so that every measure
can be computed later without the model.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn import metrics

from workbench.errors import WorkbenchError
from workbench.evaluation.predictions import PREDICTIONS_FILE, open_table, write_table
from workbench.runs import Run

if TYPE_CHECKING:
    import pyarrow as pa

TASKS = ("multi-label", "regression", "ranking")
_CUT = 10  # how far down a ranking is read
_THRESHOLD = 0.5  # from which on a label counts as predicted


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
        self._check_values()

    def _check_values(self) -> None:
        broken = np.flatnonzero(~np.isfinite(self.outputs).all(axis=1))
        if len(broken):
            raise WorkbenchError(
                f"The outputs of {len(broken)} of {len(self.ids)} samples are NaN or infinite (the first is "
                f"sample {broken[0]}).\nThe training has probably diverged: lower the learning rate."
            )
        if self.task == "multi-label":
            outside = ((self.outputs < 0) | (self.outputs > 1)).any() or not np.isin(
                self.targets, (0, 1)
            ).all()
            if outside:
                raise WorkbenchError(
                    "Of several labels the targets are 0 or 1 and the outputs probabilities, but these are "
                    "others.\nGive the output of a sigmoid, not logits."
                )
        if self.task == "ranking" and (self.groups is None or self.targets.shape[1] != 1):
            raise WorkbenchError(
                "A ranking needs one column of relevance and the query of each item.\nGive groups, (n,)."
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
        metadata = table.schema.metadata or {}
        if b"class_names" in metadata:
            raise WorkbenchError(
                "These are probabilities of classes, not outputs of another task.\n"
                "Read them with wb.read_predictions."
            )
        names = tuple(json.loads(metadata[b"names"]))
        kinds = [
            np.stack([table[f"{kind}_{number}"].to_numpy() for number in range(len(names))], axis=1)
            for kind in ("target", "output")
        ]
        groups = np.array(table["group"].to_pylist(), str) if "group" in table.column_names else None
        return Outputs(
            metadata[b"task"].decode(), np.array(table["id"].to_pylist(), str), *kinds, names, groups
        )

    return open_table(run_folder, PREDICTIONS_FILE, parse)


def measure_outputs(outputs: Outputs) -> dict[str, float]:
    """Return the measures of the outputs' task; NaN where these samples do not define one.

    Raises:
        WorkbenchError: There is no sample.
    """
    if not len(outputs.ids):
        raise WorkbenchError("There is no sample, so nothing can be measured.\nGive a test set with samples.")
    measure = {"multi-label": _measure_labels, "regression": _measure_numbers, "ranking": _measure_ranking}
    return measure[outputs.task](outputs)


def _measure_labels(outputs: Outputs) -> dict[str, float]:
    truth, guesses = outputs.targets.astype(int), (outputs.outputs >= _THRESHOLD).astype(int)
    varied = [n for n in range(truth.shape[1]) if 0 < truth[:, n].sum() < len(truth)]
    areas = {
        name: float(np.mean([score(truth[:, n], outputs.outputs[:, n]) for n in varied]))
        if varied
        else np.nan
        for name, score in (("roc_auc", metrics.roc_auc_score), ("pr_auc", metrics.average_precision_score))
    }
    return {
        "exact_match": float((truth == guesses).all(axis=1).mean()),
        "hamming_loss": float(metrics.hamming_loss(truth, guesses)),
        "macro_f1": float(_f1(truth, guesses, "macro")),
        "micro_f1": float(_f1(truth, guesses, "micro")),
        **areas,
        "brier": float(((outputs.outputs - truth) ** 2).mean()),
    }


def _f1(truth: np.ndarray, guesses: np.ndarray, average: str) -> float:
    if truth.shape[1] == 1:
        return metrics.f1_score(truth[:, 0], guesses[:, 0], zero_division=0)
    return metrics.f1_score(truth, guesses, average=average, zero_division=0)


def _measure_numbers(outputs: Outputs) -> dict[str, float]:
    truth, said = outputs.targets, outputs.outputs
    varies = len(truth) > 1 and np.ptp(truth, axis=0).all()
    return {
        "mae": float(metrics.mean_absolute_error(truth, said)),
        "rmse": float(metrics.root_mean_squared_error(truth, said)),
        "median_error": float(np.median(np.abs(truth - said))),
        "r2": float(metrics.r2_score(truth, said)) if varies else np.nan,
    }


def _measure_ranking(outputs: Outputs) -> dict[str, float]:
    """Return the means over the queries; a query without a relevant item defines nothing and is left out."""
    rows = []
    for group in np.unique(outputs.groups):
        chosen = outputs.groups == group
        truth, said = outputs.targets[chosen, 0], outputs.outputs[chosen, 0]
        if truth.any():
            rows.append(_measure_query(truth, said))
    names = (f"ndcg_{_CUT}", "mrr", "average_precision", f"recall_{_CUT}")
    means: Sequence[float] = np.mean(rows, axis=0) if rows else [np.nan] * len(names)
    return dict(zip(names, map(float, means), strict=True)) | {"queries": float(len(rows))}


def _measure_query(truth: np.ndarray, said: np.ndarray) -> tuple[float, ...]:
    order = np.argsort(-said, kind="stable")
    relevant = truth[order] > 0
    gain = metrics.ndcg_score(truth[None], said[None], k=_CUT) if len(truth) > 1 else 1.0
    precision = metrics.average_precision_score(truth > 0, said)
    return gain, 1 / (np.argmax(relevant) + 1), precision, relevant[:_CUT].sum() / relevant.sum()

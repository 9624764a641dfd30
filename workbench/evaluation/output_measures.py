"""Measures of several labels, numbers and rankings, computed by scikit-learn where it has them."""

import numpy as np
from sklearn import metrics

from workbench.errors import WorkbenchError
from workbench.evaluation.outputs import THRESHOLD, Outputs
from workbench.evaluation.rankings import RANKING_MEASURES, find_queries, measure_queries


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
    truth, guesses = outputs.targets.astype(int), (outputs.outputs >= THRESHOLD).astype(int)
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
    if not (outputs.targets > 0).any():
        return dict.fromkeys(RANKING_MEASURES, np.nan) | {"queries": 0.0}
    found = {name: float(measure_queries(outputs, name).mean()) for name in RANKING_MEASURES}
    return found | {"queries": float(len(find_queries(outputs)))}

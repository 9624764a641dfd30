"""How good each query of a ranking is answered.

Items with the same score have no order, so that of the file must not decide: every measure is the one to be
expected when such items are put in a random order. scikit-learn does so, too.
"""

from math import comb

import numpy as np
from sklearn import metrics

from workbench.errors import WorkbenchError
from workbench.evaluation.outputs import Outputs

CUT = 10  # how far down a ranking is read
RANKING_MEASURES = (f"ndcg_{CUT}", "mrr", "average_precision", f"recall_{CUT}")


def find_queries(outputs: Outputs) -> list[np.ndarray]:
    """Return the rows of the items of each query, in the order of the queries' names.

    A query without a relevant item defines no measure and is left out.

    Raises:
        WorkbenchError: No query has a relevant item.
    """
    _, numbers = np.unique(outputs.groups, return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    cuts = np.flatnonzero(np.diff(numbers[order])) + 1
    queries = [rows for rows in np.split(order, cuts) if (outputs.targets[rows, 0] > 0).any()]
    if not queries:
        raise WorkbenchError(
            f"None of the {outputs.describe_samples()} is relevant, so no ranking of them is better than "
            "another.\nTest on queries that have a relevant item."
        )
    return queries


def measure_queries(outputs: Outputs, measure: str) -> np.ndarray:
    """Return a measure of each query of `find_queries`, (q,).

    NDCG as Järvelin & Kekäläinen 2002 (https://doi.org/10.1145/582415.582418) with linear gains, average
    precision, and recall among the first ten are of scikit-learn's definitions; the reciprocal rank is that
    of the first relevant item (Voorhees 1999, TREC-8 question answering track).
    """
    score = {
        f"ndcg_{CUT}": _gain,
        "mrr": _reciprocal_rank,
        "average_precision": lambda truth, said: metrics.average_precision_score(truth > 0, said),
        f"recall_{CUT}": _recall,
    }[measure]
    truth, said = outputs.targets[:, 0], outputs.outputs[:, 0]
    return np.array([score(truth[rows], said[rows]) for rows in find_queries(outputs)], np.float64)


def _gain(truth: np.ndarray, said: np.ndarray) -> float:
    return metrics.ndcg_score(truth[None], said[None], k=CUT) if len(truth) > 1 else 1.0


def _reciprocal_rank(truth: np.ndarray, said: np.ndarray) -> float:
    """Return the expected reciprocal rank of the first relevant item.

    It lies among the `tied` items that share the best score of a relevant one, of which `right` are relevant:
    it is the j-th of them in comb(tied - j, right - 1) of comb(tied, right) orders.
    """
    best = said[truth > 0].max()
    above, tied = int((said > best).sum()), int((said == best).sum())
    right = int((truth[said == best] > 0).sum())
    orders = comb(tied, right)
    places = range(1, tied - right + 2)
    return sum(comb(tied - j, right - 1) / orders / (above + j) for j in places)


def _recall(truth: np.ndarray, said: np.ndarray) -> float:
    """Return the expected share of the relevant items that stand among the first ten."""
    relevant = truth > 0
    if len(said) <= CUT:
        return 1.0
    last = np.sort(said)[-CUT]  # the score of the tenth
    above, tied = said > last, said == last
    places = CUT - above.sum()
    found = relevant[above].sum() + relevant[tied].sum() * places / tied.sum()
    return float(found / relevant.sum())

"""Does a map change when the weights are randomized? If not, it does not explain the network."""

from collections.abc import Callable

import keras
import numpy as np
import pandas as pd
from scipy import stats

Explain = Callable[[keras.Model, np.ndarray], np.ndarray]
UNCHANGED = 0.5  # rank correlation from which a map counts as not explaining the weights


def check_sanity(explain: Explain, model: keras.Model, inputs: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Return how alike maps stay while the weights are randomized layer by layer, from the output down.

    Adebayo et al. 2018 (https://arxiv.org/abs/1810.03292), cascading randomization: a map that stays the
    same shows the input, not what the network learned of it.

    Args:
        explain: Takes a network and inputs, returns maps (n, …); give it the class to explain, because the
            prediction of random weights is another one.
        model: A functional or sequential network.
        inputs: (n, …) as the network takes them.
        seed: Of the random weights.

    Returns:
        Columns `layer` (randomized with all layers behind it), `similarity` (mean over the inputs of
        Spearman's rank correlation with the true maps), `similarity_absolute` (of their absolute values,
        which maps that multiply by the input keep high) and `explains`: whether `similarity` has fallen
        below 0.5.
    """
    keras.utils.set_random_seed(seed)
    changed, random = keras.models.clone_model(model), keras.models.clone_model(model)
    changed.set_weights(model.get_weights())
    truth = explain(model, inputs)
    rows = []
    for layer, source in zip(reversed(changed.layers), reversed(random.layers), strict=True):
        if layer.weights:
            layer.set_weights(source.get_weights())
            maps = explain(changed, inputs)
            similarity = _similarity(truth, maps)
            absolute = _similarity(np.abs(truth), np.abs(maps))
            rows.append((layer.name, similarity, absolute, similarity < UNCHANGED))
    return pd.DataFrame(rows, columns=["layer", "similarity", "similarity_absolute", "explains"])


def _similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean rank correlation of two stacks of maps; a map without any variation has none: 0."""
    found = []
    for first, second in zip(one, other, strict=True):
        varies = np.ptp(first) > 0 and np.ptp(second) > 0
        found.append(stats.spearmanr(first.ravel(), second.ravel()).statistic if varies else 0.0)
    return float(np.mean(found))

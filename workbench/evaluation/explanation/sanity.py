"""Does a map change when the weights are randomized? If not, it does not explain the network."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
from scipy import stats

Explain = Callable[[keras.Model, np.ndarray], Sequence[np.ndarray]]
UNCHANGED = 0.5  # rank correlation from which a map counts as not explaining the weights


def check_sanity(explain: Explain, model: keras.Model, inputs: Sequence[Any], seed: int = 0) -> pd.DataFrame:
    """Return how alike maps stay while the weights are randomized layer by layer, from the output down.

    Adebayo et al. 2018 (https://arxiv.org/abs/1810.03292), cascading randomization: a map that stays the
    same shows the input, not what the network learned of it.

    Args:
        explain: Takes a network and inputs, returns n maps, or the contributions of the words of n texts, NaN
            where a word has none; give it the class to explain, because the prediction of random weights is
            another one.
        model: A functional or sequential network.
        inputs: n images or texts, as `explain` takes them.
        seed: Of the random weights.

    Returns:
        Columns `layer` (randomized with all layers behind it), `similarity` (mean over the inputs of
        Spearman's rank correlation with the true maps), `similarity_absolute` (of their absolute values,
        which maps that multiply by the input keep high) and `explains`: whether `similarity` has fallen
        below 0.5.
    """
    truth = explain(model, inputs)
    return compare_explanations(explain, truth, inputs, _randomize(model, seed))


def compare_explanations(
    explain: Explain,
    truth: Sequence[np.ndarray],
    inputs: Sequence[Any],
    networks: Iterable[tuple[str, keras.Model]],
) -> pd.DataFrame:
    """Return how alike explanations of a trained network are to those of others, as `check_sanity` does.

    Args:
        explain: As for `check_sanity`.
        truth: What it returns of the trained network.
        inputs: n images or texts.
        networks: The others by name, such as those of `keep_randomized`.
    """
    rows = []
    for name, network in networks:
        maps = explain(network, inputs)
        similarity = _similarity(truth, maps)
        absolute = _similarity(*([np.abs(each) for each in stack] for stack in (truth, maps)))
        rows.append((name, similarity, absolute, similarity < UNCHANGED))
    return pd.DataFrame(rows, columns=["layer", "similarity", "similarity_absolute", "explains"])


def keep_randomized(model: keras.Model, most: int, seed: int = 0) -> list[tuple[str, keras.Model]]:
    """Return copies of a network whose weights are random from the output down to the named layer.

    Args:
        model: A functional or sequential network.
        most: How many copies at most, of depths evenly spaced; the last one is random throughout.
        seed: Of the random weights.
    """
    depths = sum(bool(layer.weights) for layer in model.layers)
    kept = np.linspace(depths - 1, 0, min(most, depths)).round()
    copies = []
    for depth, (name, changed) in enumerate(_randomize(model, seed)):
        if depth in kept:
            copy = keras.models.clone_model(changed)
            copy.set_weights(changed.get_weights())
            copies.append((name, copy))
    return copies


def _randomize(model: keras.Model, seed: int) -> Iterator[tuple[str, keras.Model]]:
    """Yield one copy of a network again and again, with one more random layer each time, and its name."""
    keras.utils.set_random_seed(seed)
    changed, random = keras.models.clone_model(model), keras.models.clone_model(model)
    changed.set_weights(model.get_weights())
    for layer, source in zip(reversed(changed.layers), reversed(random.layers), strict=True):
        if layer.weights:
            layer.set_weights(source.get_weights())
            yield layer.name, changed


def _similarity(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """Return the mean rank correlation of two stacks of maps; a map without any variation has none: 0."""
    found = []
    for first, second in zip(one, other, strict=True):
        known = np.isfinite(first) & np.isfinite(second)
        first, second = first[known], second[known]
        varies = len(first) > 1 and np.ptp(first) > 0 and np.ptp(second) > 0
        found.append(stats.spearmanr(first, second).statistic if varies else 0.0)
    return float(np.mean(found))

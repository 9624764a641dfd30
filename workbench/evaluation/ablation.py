"""What each choice of a pipeline's matrix contributes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from workbench.errors import WorkbenchError
from workbench.evaluation.estimates import Sample
from workbench.evaluation.measures import is_lower_better
from workbench.evaluation.pairs import compare_pair
from workbench.evaluation.results import Result, choose_measure, keep_different_seeds
from workbench.evaluation.statistics import RESAMPLES, adjust_p_values

_NOT_A_CHOICE = ("seed", "run_dir", "split_seed", "dataset")


def ablate(
    results: Sequence[Result], measure: str = "", resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Return what changing one choice does, all others held as they are.

    Every value of a parameter is compared with the first one that occurs, within each setting of the other
    parameters in which both were run.

    Args:
        results: Of a matrix over some parameters and seeds, from `read_results`; baselines that are no runs
            are left out.
        measure: One of `statistics.MEASURES_OF_TASK`; empty for the first one of the task.
        resamples: Of the bootstrap.
        seed: Of the resamples.

    Returns:
        Columns `choice`, `from`, `to`, `others` (the setting of the other parameters), `gain` (above 0 is
        better), `low`, `high`, `p`, `p_adjusted` (Holm over all rows), `seeds` and `note`.

    Raises:
        WorkbenchError: The runs differ in nothing but their seeds.
    """
    results = [result for result in results if result.run is not None]
    measure = choose_measure(results, measure)
    choices = _find_choices(results)
    if not choices:
        raise WorkbenchError(
            "The runs differ in nothing but their seeds, so no choice can be ablated.\n"
            "Give the runs of a step with a matrix over a parameter, such as matrix: {batch_size: [32, 128]}."
        )
    settings: dict[tuple, list[Result]] = {}
    keys = {id(result): tuple(_value(result, name) for name in choices) for result in results}
    named = [(keys[id(result)], replace(result, model=str(keys[id(result)]))) for result in results]
    kept = {id(result) for result in keep_different_seeds([result for _, result in named])}
    for key, result in named:
        if id(result) in kept:
            settings.setdefault(key, []).append(result)
    sample = Sample(measure, {str(key): members for key, members in settings.items()}, resamples, seed)
    sign = -1 if is_lower_better(measure) else 1
    rows = []
    for position, name in enumerate(choices):
        first = choices[name][0]
        for key in settings:
            base = (*key[:position], first, *key[position + 1 :])
            if key[position] == first or base not in settings:
                continue
            pair = compare_pair(sample, str(key), str(base))
            way = 1 if pair.better == str(key) else -1
            ends = sorted((way * pair.low, way * pair.high))
            others = ", ".join(f"{n}={v}" for n, v in zip(choices, key, strict=True) if n != name)
            gain = sign * (sample.values[str(key)].mean() - sample.values[str(base)].mean())
            seeds = f"{len(settings[base])} and {len(settings[key])}"
            rows.append((name, first, key[position], others, gain, *ends, pair.p_value, seeds, pair.note))
    columns = ["choice", "from", "to", "others", "gain", "low", "high", "p", "seeds", "note"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(8, "p_adjusted", adjust_p_values(table["p"].to_numpy(np.float64)))
    return table


def _find_choices(results: Sequence[Result]) -> dict[str, list[str]]:
    """Return the values of each parameter that differs, in the order of the runs."""
    names = dict.fromkeys(name for result in results for name in result.run.parameters)
    values = {
        name: list(dict.fromkeys(_value(result, name) for result in results))
        for name in names
        if name not in _NOT_A_CHOICE
    }
    return {name: found for name, found in values.items() if len(found) > 1}


def _value(result: Result, name: str) -> str:
    return str(result.run.parameters.get(name, ""))

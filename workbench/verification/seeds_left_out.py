"""Evaluations made anew without each of their seeds: how far seeds spread whatever an evaluation computes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.pipelines.spec import find_texts
from workbench.reports.manifest import describe_run
from workbench.runs import RUN_FILE, open_run, resolve_path, show_path
from workbench.verification.rerun import Watch, describe_step, plain_name, run_steps, targets_of

Entry = Mapping[str, Any]


def leave_out_seeds(
    wanted: Sequence[Entry],
    runs: Sequence[Entry],
    found: Mapping[str, Path],
    labels: Mapping[str, str],
    folder: Path,
    watch: Watch,
) -> dict[str, list[dict[str, Any]]]:
    """Run evaluations once for each seed of their runs, without the runs of that seed.

    Args:
        wanted: Entries of a manifest: the evaluations.
        runs: All entries that ran again, which `wanted` may refer to.
        found: Their new run folders by their labels.
        labels: The labels of all run folders, old and new.
        folder: Where the further run folders go: `runs/<name>`, which must not exist.
        watch: The runner's view.

    Returns:
        The descriptions of these runs by the label of the evaluation, one for each seed; none for an
        evaluation that cannot do without a run, or whose runs have fewer than two seeds.
    """
    known = [run for run in runs if run["label"] in found]
    places = {run["label"]: show_path(found[run["label"]]) for run in known}
    steps: dict[str, dict[str, Any]] = {}
    names: dict[str, list[str]] = {}
    for number, run in enumerate(wanted):
        step = describe_step(run, targets_of(run, known, places))
        name = f"{plain_name(run['step'])}__{number}"
        variants = dict(_variants(step["parameters"]))
        names[run["label"]] = [f"{name}__without__{place}" for place in range(len(variants))]
        for variant, parameters in zip(names[run["label"]], variants.values(), strict=True):
            steps[variant] = step | {"parameters": parameters}
    done, _ = run_steps(steps, folder, watch, cold=False) if steps else ({}, {})
    left_out = {}
    for label, variants in names.items():
        if variants and all(name in done for name in variants):
            own = {show_path(done[name]): label for name in variants}
            left_out[label] = [
                describe_run(open_run(done[name]), label, {**labels, **own}) for name in variants
            ]
    return left_out


def _variants(parameters: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each seed of the runs that are named, and the parameters without the runs of that seed."""
    seeds = {path: seed for path in find_texts(parameters) if (seed := _seed_of(path)) is not None}
    if len(set(seeds.values())) < 2:
        return
    for seed in sorted(set(seeds.values())):
        gone = {path for path, other in seeds.items() if other == seed}
        rest = {name: _without(value, gone) for name, value in parameters.items()}
        if not gone & set(find_texts(rest)) and set(seeds) - gone:
            yield seed, rest


def _seed_of(path: str) -> int | None:
    """Return the seed of the run in a folder; None where there is no such run, or it has none."""
    try:
        is_run = bool(path) and (resolve_path(path) / RUN_FILE).is_file()
    except (OSError, RuntimeError, ValueError):  # a text that cannot be a path
        return None
    if not is_run:
        return None
    seed = open_run(path).parameters.get("seed")
    return seed if isinstance(seed, int) else None


def _without(value: Any, gone: set[str]) -> Any:
    """Return a parameter with those run folders taken out of its lists."""
    if isinstance(value, list):
        return [_without(item, gone) for item in value if not (isinstance(item, str) and item in gone)]
    if isinstance(value, dict):
        return {key: _without(item, gone) for key, item in value.items()}
    return value

"""Run the steps of a manifest again: a pipeline of its own, in fresh folders, each in a cold kernel.

This is the only module here that knows the pipelines' runner.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from workbench.pipelines import PipelineState, load_pipeline, run_pipeline
from workbench.pipelines.spec import REFERENCE
from workbench.runs import RUN_FILE, STATE_FILE, open_run, project_root, write_text

Seeds = Callable[[int], int]
Watch = Callable[[PipelineState], None]


def run_again(
    runs: Sequence[Mapping[str, Any]], folder: Path, watch: Watch, seeds: Seeds
) -> tuple[dict[str, Path], dict[str, str]]:
    """Run steps again in an order that their references allow.

    A reference to one of `runs` becomes a reference to its new run; every other parameter is as recorded.

    Args:
        runs: Entries of a manifest.
        folder: Where the new run folders go: `runs/<name>`, which must not exist.
        watch: Called several times a second with how things stand.
        seeds: The new seed for a recorded one.

    Returns:
        The new run folder of each label, and why a step has none.

    Raises:
        WorkbenchError: A notebook is gone, or does not take these parameters any more.
    """
    names = {run["label"]: f"{plain_name(run['step'])}__{number}" for number, run in enumerate(runs)}
    references = {label: f"${{{name}}}" for label, name in names.items()}
    steps = {
        names[run["label"]]: describe_step(run, targets_of(run, runs, references), seeds) for run in runs
    }
    labels = {name: label for label, name in names.items()}
    found, failed = run_steps(steps, folder, watch, cold=True)
    return (
        {labels[name]: path for name, path in found.items()},
        {labels[name]: why for name, why in failed.items()},
    )


def run_steps(
    steps: Mapping[str, Mapping[str, Any]], folder: Path, watch: Watch, cold: bool
) -> tuple[dict[str, Path], dict[str, str]]:
    """Run steps as a pipeline that nobody goes on with.

    Args:
        steps: As in a pipeline file.
        folder: Where their run folders go: `runs/<name>`, which must not exist.
        watch: Called several times a second with how things stand.
        cold: Whether every kernel is started anew.

    Returns:
        The run folder of each step, and why a step has none.
    """
    folder.mkdir(parents=True)
    file = folder / "pipeline.yaml"
    text = yaml.safe_dump({"name": folder.name, "steps": dict(steps)}, allow_unicode=True, sort_keys=False)
    write_text(file, text)
    state = run_pipeline(load_pipeline(file), cold=cold, watch=watch)
    (folder / STATE_FILE).unlink(missing_ok=True)  # `workbench clean` may remove it
    found, failed = {}, {}
    for step in state.steps:
        if step.is_settled and (step.folder / RUN_FILE).is_file():
            found[step.label] = step.folder
        else:
            failed[step.label] = step.failure.error if step.failure else step.reason or step.state
    return found, failed


def new_folder(name: str, stamp: str) -> Path:
    """Return where the runs of a verification go."""
    return project_root() / "runs" / f"verify-{plain_name(name)}-{stamp}"


def went_on(folder: Path) -> bool:
    """Tell whether a training did not begin at its beginning but from somebody's checkpoint."""
    return any(
        event["type"] == "fit" and event.get("initial_epoch", 0) > 0 for event in open_run(folder).events()
    )


def tell_speed(run: Mapping[str, Any]) -> dict[str, str]:
    """Return the variable by which a training is done in the recorded precision and compilation again."""
    return {"WORKBENCH_SPEED": json.dumps(run["speed"])} if run["speed"] else {}


def targets_of(
    run: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], places: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return what stands for other runs by what a parameter of `run` calls them: a step's name or one label.

    Args:
        places: A reference or a run folder by the label of a run.
    """
    targets: dict[str, list[str]] = {}
    for other in runs:
        if other["pipeline"] == run["pipeline"]:
            for key in {other["step"], other["reference"]}:
                targets.setdefault(key, []).append(places[other["label"]])
    return targets


def describe_step(
    run: Mapping[str, Any], targets: Mapping[str, list[str]], seeds: Seeds = lambda seed: seed
) -> dict[str, Any]:
    """Return a step of a pipeline file that does what `run` did.

    Args:
        targets: What stands for the runs that it refers to, from `targets_of`.
        seeds: The new seed for a recorded one.
    """
    parameters = {key: _refer(value, targets) for key, value in run["declared"].items() if key != "run_dir"}
    if isinstance(parameters.get("seed"), int):
        parameters["seed"] = seeds(parameters["seed"])
    step = {"notebook": run["notebook"], "parameters": parameters, "env": run["env"] | tell_speed(run)}
    step["deterministic"] = run["environment"].get("deterministic", False)
    return step | ({"threads": run["threads"]} if run["threads"] else {})


def _refer(value: Any, targets: Mapping[str, list[str]]) -> Any:
    """Return a parameter with its references turned to new runs; a whole matrix becomes a list."""
    if isinstance(value, dict):
        return {key: _refer(item, targets) for key, item in value.items()}
    if isinstance(value, list):
        parts = [_refer(item, targets) for item in value]
        return [inner for part in parts for inner in (part if isinstance(part, list) else [part])]
    if not isinstance(value, str):
        return value
    whole = REFERENCE.fullmatch(value)
    if whole and len(targets[whole[1]]) > 1:
        return targets[whole[1]]
    return REFERENCE.sub(lambda match: targets[match[1]][0], value)


def plain_name(name: str) -> str:
    """Return a name as a step or a folder can have it."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "step"

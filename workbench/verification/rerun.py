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


def run_again(
    runs: Sequence[Mapping[str, Any]], folder: Path, watch: Callable[[PipelineState], None], seeds: Seeds
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
    folder.mkdir(parents=True)
    names = {run["label"]: f"{_plain(run['step'])}__{number}" for number, run in enumerate(runs)}
    steps = {names[run["label"]]: _step(run, _targets(run, runs, names), seeds) for run in runs}
    file = folder / "pipeline.yaml"
    write_text(
        file, yaml.safe_dump({"name": folder.name, "steps": steps}, allow_unicode=True, sort_keys=False)
    )
    state = run_pipeline(load_pipeline(file), cold=True, watch=watch)
    (folder / STATE_FILE).unlink(missing_ok=True)  # nobody goes on with it: `workbench clean` may remove it
    labels = {name: label for label, name in names.items()}
    found, failed = {}, {}
    for step in state.steps:
        label = labels[step.label]
        if step.is_settled and (step.folder / RUN_FILE).is_file():
            found[label] = step.folder
        else:
            failed[label] = step.failure.error if step.failure else step.reason or step.state
    return found, failed


def new_folder(name: str, stamp: str) -> Path:
    """Return where the runs of a verification go."""
    return project_root() / "runs" / f"verify-{_plain(name)}-{stamp}"


def went_on(folder: Path) -> bool:
    """Tell whether a training did not begin at its beginning but from somebody's checkpoint."""
    return any(
        event["type"] == "fit" and event.get("initial_epoch", 0) > 0 for event in open_run(folder).events()
    )


def tell_speed(run: Mapping[str, Any]) -> dict[str, str]:
    """Return the variable by which a training is done in the recorded precision and compilation again."""
    return {"WORKBENCH_SPEED": json.dumps(run["speed"])} if run["speed"] else {}


def _targets(
    run: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return the new steps by what a parameter of `run` calls them: a step's name or one label."""
    targets: dict[str, list[str]] = {}
    for other in runs:
        if other["pipeline"] == run["pipeline"]:
            for key in {other["step"], other["reference"]}:
                targets.setdefault(key, []).append(names[other["label"]])
    return targets


def _step(run: Mapping[str, Any], targets: Mapping[str, list[str]], seeds: Seeds) -> dict[str, Any]:
    parameters = {key: _refer(value, targets) for key, value in run["declared"].items() if key != "run_dir"}
    if isinstance(parameters.get("seed"), int):
        parameters["seed"] = seeds(parameters["seed"])
    step = {"notebook": run["notebook"], "parameters": parameters, "env": run["env"] | tell_speed(run)}
    step["deterministic"] = run["environment"].get("deterministic", False)
    return step | ({"threads": run["threads"]} if run["threads"] else {})


def _refer(value: Any, targets: Mapping[str, list[str]]) -> Any:
    """Return a parameter with its references turned to the new steps; a whole matrix becomes a list."""
    if isinstance(value, dict):
        return {key: _refer(item, targets) for key, item in value.items()}
    if isinstance(value, list):
        parts = [_refer(item, targets) for item in value]
        return [inner for part in parts for inner in (part if isinstance(part, list) else [part])]
    if not isinstance(value, str):
        return value
    whole = REFERENCE.fullmatch(value)
    if whole and len(targets[whole[1]]) > 1:
        return [f"${{{name}}}" for name in targets[whole[1]]]
    return REFERENCE.sub(lambda match: f"${{{targets[match[1]][0]}}}", value)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "step"

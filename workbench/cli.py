"""The `workbench` command: a thin layer over the package.

Exit status: 0 done; 1 a step failed; 2 the call or a file is wrong; 130 interrupted.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from workbench import __version__
from workbench.errors import WorkbenchError

DEFAULT_PIPELINE = "quickstart"
START_NOTEBOOK = "notebooks/00_start_here.ipynb"

_pipeline_argument = click.argument("pipeline", default=DEFAULT_PIPELINE)
_overrides_option = click.option(
    "-p", "overrides", multiple=True, metavar="NAME=VALUE", help="Set a parameter of the notebooks."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def commands(debug: bool) -> None:
    """Run notebooks as pipelines, look at their data, and build their reports."""


@commands.command()
@_pipeline_argument
@_overrides_option
@click.option("--dry-run", is_flag=True, help="Say what would run, and why, and stop.")
def run(pipeline: str, overrides: tuple[str, ...], dry_run: bool) -> int:
    """Run what changed of PIPELINE (a file, or a name in pipelines/), then build its report."""
    from rich.console import Console

    from workbench.dashboards.progress import show_progress
    from workbench.pipelines import load_pipeline, plan_pipeline, run_pipeline

    loaded = load_pipeline(pipeline, _parse_overrides(overrides))
    if dry_run:
        for step in plan_pipeline(loaded).steps:
            click.echo(f"{step.label}  {'fresh' if step.state == 'fresh' else f'would run: {step.reason}'}")
        return 0
    with show_progress(Console()) as watch:
        state = run_pipeline(loaded, watch)
    failed = [step for step in state.steps if step.state == "failed"]
    for step in failed:
        _print_failure(step)
    _build_report(state.folder)
    click.echo("Explore: make lab")
    return 1 if failed else 0


@commands.command()
@_pipeline_argument
@_overrides_option
def status(pipeline: str, overrides: tuple[str, ...]) -> int:
    """Say which steps of PIPELINE are fresh, which are stale, and why."""
    from workbench.pipelines import load_pipeline, plan_pipeline

    steps = plan_pipeline(load_pipeline(pipeline, _parse_overrides(overrides))).steps
    width = max(len(step.label) for step in steps)
    for step in steps:
        word = "fresh" if step.state == "fresh" else f"stale: {step.reason}"
        click.echo(f"{step.label:<{width}}  {word}")
    return 0


@commands.command()
@click.argument("run")
@click.option("--after-epoch", is_flag=True, help="Let the present epoch end first.")
def stop(run: str, after_epoch: bool) -> int:
    """Stop the training of RUN: a run folder, or a pipeline of which every running step is meant."""
    from workbench.controls import AFTER_EPOCH, NOW, STOP, request_control
    from workbench.runs import show_path

    folders = _running_folders(run)
    for folder in folders:
        try:
            request_control(folder, STOP, AFTER_EPOCH if after_epoch else NOW, by="command line")
        except WorkbenchError:  # it has ended just now; the others are asked all the same
            if len(folders) == 1:
                raise
            continue
        what = "after this epoch; its weights are kept" if after_epoch else "now; the best weights are kept"
        click.echo(f"Asked {show_path(folder)} to stop {what}.")
    return 0


@commands.command()
@_pipeline_argument
def report(pipeline: str) -> int:
    """Build reports/<name>.html from the runs that PIPELINE has."""
    from workbench.pipelines import load_pipeline
    from workbench.pipelines.runner import runs_folder

    _build_report(runs_folder(load_pipeline(pipeline)))
    return 0


@commands.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--measure", default="accuracy", show_default=True, help="What to compare by.")
@click.option("--baselines", is_flag=True, help="Fit the baselines of the dataset and compare with them too.")
@click.option("--correction", type=click.Choice(["holm", "bh"]), default="holm", show_default=True)
@click.option("--find", "difference", type=float, help="Say how many seeds a DIFFERENCE such as 0.01 needs.")
def compare(
    runs: tuple[str, ...], measure: str, baselines: bool, correction: str, difference: float | None
) -> int:
    """Compare the models of finished RUNS, or of pipelines, and say what the data carry."""
    from rich.console import Console

    from workbench.dashboards.verdicts import print_verdict
    from workbench.evaluation import compare as compare_runs

    folders = [folder for run in runs for folder in _compared_folders(run)]
    for verdict in compare_runs(folders, measure, baselines=baselines, correction=correction):
        print_verdict(verdict, Console(), difference)
    return 0


@commands.command()
@click.argument("name", required=False)
def data(name: str | None) -> int:
    """List the data catalog, or fetch and check its entry NAME."""
    from workbench.datasets import load_catalog, load_dataset, load_weights
    from workbench.runs import show_path

    if name is None:
        for section in ("datasets", "weights"):
            for key, entry in load_catalog(section).items():
                click.echo(f"{key:<18}{entry.get('task', 'pretrained weights'):<23}{entry['title']}")
    elif name in load_catalog("weights"):
        click.echo(f"{name}: {show_path(load_weights(name))}")
    else:
        dataset = load_dataset(name)
        sizes = ", ".join(f"{split} {count:,}" for split, count in dataset.reference()["sizes"].items())
        click.echo(f"{dataset.name}: {sizes}; {len(dataset.class_names)} classes")
        click.echo(f"fingerprint {dataset.fingerprint}")
    return 0


@commands.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1)
def lab(arguments: tuple[str, ...]) -> int:
    """Open JupyterLab at the first notebook, on this machine only; ARGUMENTS go to JupyterLab."""
    from workbench.runs import project_root

    root = project_root()
    start = [START_NOTEBOOK] if (root / START_NOTEBOOK).is_file() else []
    command = [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", *arguments, *start]
    return subprocess.call(command, cwd=root)


def main() -> None:
    """Run the command line; print a `WorkbenchError` as a message and exit with its status."""
    if "--debug" in sys.argv[1:]:
        sys.argv.remove("--debug")
        sys.argv.insert(1, "--debug")  # it may stand anywhere
    try:
        status = commands(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted; finished steps stay finished. Start again to go on.", err=True)
        status = 130
    except WorkbenchError as error:
        if "--debug" in sys.argv:
            raise
        click.echo(f"Error: {error}", err=True)
        status = 2
    sys.exit(status)


def _parse_overrides(texts: tuple[str, ...]) -> dict[str, str]:
    overrides = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise WorkbenchError(f"-p {text} is not NAME=VALUE.\nWrite it as in `-p epochs=3`.")
        overrides[name] = value
    return overrides


def _compared_folders(run: str) -> list[str]:
    """Return the run folder that was named, or those of a pipeline's finished trainings."""
    from workbench.evaluation.predictions import PREDICTIONS_FILE
    from workbench.runs import RUN_FILE, STATE_FILE, read_json, resolve_path

    if (resolve_path(run) / RUN_FILE).is_file():
        return [run]
    states = (resolve_path(run) / STATE_FILE, resolve_path("runs") / Path(run).stem / STATE_FILE)
    state = next(filter(None, map(read_json, states)), None)
    if state is None:
        return [run]  # what reads it says what is missing
    folders = [step["run"] for step in state["steps"].values() if step["run"]]
    return [folder for folder in folders if (resolve_path(folder) / PREDICTIONS_FILE).is_file()]


def _running_folders(run: str) -> list[Path]:
    """Return the run folder that was named, or those of a pipeline's steps whose runs are under way."""
    from workbench.runs import RUN_FILE, STATE_FILE, is_alive, read_json, resolve_path

    folder = resolve_path(run)
    if (folder / RUN_FILE).is_file():
        return [folder]
    states = [folder / STATE_FILE, resolve_path("runs") / Path(run).stem / STATE_FILE]
    state = next(filter(None, map(read_json, states)), None)
    if state is None:
        raise WorkbenchError(
            f"{run} is no run folder and no pipeline that was ever run.\n"
            "Give the path of a run folder, such as runs/quickstart/train-…, or a pipeline's name."
        )
    folders = [resolve_path(step["run"]) for step in state["steps"].values() if step["run"]]
    running = [folder for folder in folders if is_alive(read_json(folder / RUN_FILE) or {})]
    if not running:
        raise WorkbenchError(
            f"No run of the pipeline {run} is under way.\n`ls runs/{state['pipeline']}` lists its runs."
        )
    return running


def _build_report(folder: Path) -> None:
    from workbench.reports import build_report
    from workbench.runs import show_path

    click.echo(f"Report: {show_path(build_report(folder))}")


def _print_failure(step: Any) -> None:
    from workbench.pipelines.runner import EXECUTED_FILE
    from workbench.runs import show_path

    failure = step.failure
    where = f", code cell {failure.cell} of {failure.cells}" if failure.cell else ""
    click.echo(f"\nFailed: {step.label}{where}", err=True)
    for line in failure.source.splitlines():
        click.echo(f"    {line}", err=True)
    if failure.output:
        click.echo(f"  last output:\n{failure.output}", err=True)
    click.echo(f"  {failure.error}", err=True)
    click.echo(f"  executed notebook: {show_path(step.folder / EXECUTED_FILE)}\n", err=True)

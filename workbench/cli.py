"""The `workbench` command: a thin layer over the package.

Exit status: 0 done; 1 a step failed; 2 the call or a file is wrong; 130 interrupted.
"""

import os
import subprocess
import sys
from pathlib import Path

import click

from workbench import __version__
from workbench.errors import WorkbenchError

DEFAULT_PIPELINE = "quickstart"
START_NOTEBOOK = "notebooks/00_start_here.ipynb"

_pipeline_argument = click.argument("pipeline", default=DEFAULT_PIPELINE)
_overrides_option = click.option(
    "-p", "overrides", multiple=True, metavar="NAME=VALUE", help="Set a parameter of the notebooks."
)
_until_option = click.option(
    "--until", multiple=True, metavar="STEP", help="Run only STEP, such as train[seed=2], and what it needs."
)
_force_option = click.option(
    "--force", multiple=True, metavar="STEP", help="Run STEP even if nothing changed."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def commands(debug: bool) -> None:
    """Run notebooks as pipelines, look at their data, and build their reports."""


@commands.command()
@_pipeline_argument
@_overrides_option
@_until_option
@_force_option
@click.option("--jobs", type=click.IntRange(1), help="Steps at once; by default what cores and memory bear.")
@click.option("--cold", is_flag=True, help="Start every kernel anew instead of forking it from a warm one.")
@click.option("--dry-run", is_flag=True, help="Say what would run, and why, and stop.")
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", help="json: an event a line."
)
def run(
    pipeline: str,
    overrides: tuple[str, ...],
    until: tuple[str, ...],
    force: tuple[str, ...],
    jobs: int | None,
    cold: bool,
    dry_run: bool,
    log_format: str,
) -> int:
    """Run what changed of PIPELINE (a file, or a name in pipelines/), then build its report."""
    from workbench.pipelines import load_pipeline, plan_pipeline

    loaded = load_pipeline(pipeline, _parse_overrides(overrides))
    if dry_run:
        for step in plan_pipeline(loaded, until=until, force=force).steps:
            if step.wanted:
                click.echo(f"{step.label}  {step.describe('would run')}")
        return 0
    from workbench.batch import run_batch

    return run_batch(loaded, until, force, jobs, cold, as_json=log_format == "json")


@commands.command()
@_pipeline_argument
@_overrides_option
def status(pipeline: str, overrides: tuple[str, ...]) -> int:
    """Say which steps of PIPELINE are fresh, which are stale, and why."""
    from workbench.pipelines import load_pipeline
    from workbench.pipelines.planning import Plan

    plan = Plan(load_pipeline(pipeline, _parse_overrides(overrides)))
    width = max(len(step.label) for step in plan.state.steps)
    for step in plan.state.steps:
        click.echo(f"{step.label:<{width}}  {step.describe('stale')}")
    for text, labels in plan.dynamic_imports().items():
        steps = ", ".join(labels[:3]) + f" and {len(labels) - 3} more" * (len(labels) > 3)
        click.echo(f"Cannot be followed, so changes behind it go unnoticed: {text} ({steps})")
    return 0


@commands.command()
@click.argument("run")
@click.option("--after-epoch", is_flag=True, help="Let the present epoch end first.")
def stop(run: str, after_epoch: bool) -> int:
    """Stop the training of RUN: a run folder, or a pipeline of which every step that trains now is meant.

    The other steps of a pipeline go on; Ctrl-C where it runs stops it as a whole.
    """
    from workbench.controls import AFTER_EPOCH, NOW, STOP, request_control
    from workbench.runs import show_path

    folders = _training_folders(run)
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
@click.argument("pipelines", nargs=-1)
@click.option("-o", "--output", metavar="FILE", help="The file to write; reports/<name>.html by default.")
@click.option("--text", metavar="FILE", help="Markdown with settings and text; else the one beside PIPELINE.")
@click.option("--template", default="", metavar="NAME", help="paper, brief, or a Jinja file of your own.")
@click.option("--diff", is_flag=True, help="Show what was not committed when the runs were made.")
@click.option("--export", metavar="FOLDER", help="Also write figures, tables, numbers and references there.")
@click.option(
    "--style", type=click.Choice(["serif", "sans"]), default="serif", help="Letters of these figures."
)
def report(
    pipelines: tuple[str, ...],
    output: str | None,
    text: str | None,
    template: str,
    diff: bool,
    export: str | None,
    style: str,
) -> int:
    """Build one HTML report from the runs that PIPELINES have."""
    from workbench.batch import rebuild_report
    from workbench.pipelines import load_pipeline
    from workbench.reports.page import write_report
    from workbench.runs import show_path

    loaded = [load_pipeline(name) for name in pipelines or [DEFAULT_PIPELINE]]
    folders = [pipeline.folder for pipeline in loaded]
    if len(loaded) > 1 or output or text or template or diff:
        written = write_report(*folders, output=output, text=text, template=template, diff=diff)
    else:
        written = rebuild_report(loaded[0])
    click.echo(f"Report: {show_path(written.path)}\nManifest: {written.digest}")
    if export:
        from workbench.reports.paper import export_paper

        folder = export_paper(*folders, folder=export, digest=written.digest, style=style, text=text)
        click.echo(f"For the paper: {show_path(folder)}")
    return 0


@commands.command()
@click.argument("what", metavar="REPORT|RUN|PIPELINE", default=DEFAULT_PIPELINE)
@click.option("--quick", is_flag=True, help="Only evaluate stored predictions again and check hashes.")
@click.option(
    "--seeds", type=click.Choice(["same", "new"]), default="same", help="New: does the conclusion hold?"
)
@click.option("--no-nbval", is_flag=True, help="Leave out the comparison of cell outputs by nbval.")
def verify(what: str, quick: bool, seeds: str, no_nbval: bool) -> int:
    """Run REPORT, RUN or PIPELINE again and compare every number with what was found before."""
    from rich.console import Console

    from workbench.dashboards.progress import show_progress
    from workbench.runs import show_path
    from workbench.verification import verify as verify_again
    from workbench.verification.page import write_page

    with show_progress(Console()) as watch:
        done = verify_again(
            what, quick=quick, new_seeds=seeds == "new", nbval=not no_nbval, watch=watch, tell=click.echo
        )
    for line in done.attention:
        click.echo(str(line))
    click.echo(f"Manifest {done.subject.digest}")
    click.echo(f"Verified: {done.summary}. Page: {show_path(write_page(done))}")
    return 0 if done.holds else 1


@commands.command()
@click.option("--yes", is_flag=True, help="Remove without asking.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and stop.")
def clean(yes: bool, dry_run: bool) -> int:
    """Remove the run folders that no pipeline and no report refers to, after showing them."""
    from workbench.batch import describe_removable
    from workbench.pipelines import find_removable, remove_runs

    found = find_removable()
    for line in describe_removable(found):
        click.echo(line)
    if found and not dry_run and (yes or click.confirm("Remove them?")):
        click.echo(f"Removed {remove_runs(found)} run folders.")
    return 0


@commands.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--measure", default="", help="What to compare by; by default what is usual for the task.")
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
    """Open JupyterLab at the first notebook, on this machine only; ARGUMENTS go to JupyterLab;
    a notebook among them is opened instead."""
    from workbench.runs import project_root

    root = project_root()
    named = any(argument.endswith(".ipynb") for argument in arguments)
    start = [START_NOTEBOOK] if not named and (root / START_NOTEBOOK).is_file() else []
    server = ["--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={root}"]  # else it is the notebook's folder
    command = [sys.executable, "-m", "jupyterlab", *server, *arguments, *start]
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return subprocess.call(command, cwd=root, env=os.environ | {"PATH": programs})  # for %tensorboard, !pip


@commands.command()
@click.option("--stop", is_flag=True, help="End the nurseries; kernels that run go on.")
def kernels(stop: bool) -> int:
    """Show the processes that warm kernels are forked from, and the kernels."""
    from workbench.kernels.support import why_unsupported

    if reason := why_unsupported():
        raise WorkbenchError(f"There are no warm kernels here: {reason}.\nKernels start as usual.")
    from workbench.kernels.status import describe_nurseries, stop_nurseries

    for line in stop_nurseries() if stop else describe_nurseries():
        click.echo(line)
    return 0


@commands.command()
def doctor() -> int:
    """Say what works on this machine, and how to mend what does not."""
    from workbench.kernels.doctor import examine

    good = True
    for check in examine():
        click.echo(f"{'ok ' if check.good else 'no '} {check.name:<16}{check.detail}")
        if not check.good:
            click.echo(f"    {'':<16}{check.advice}")
            good = False
    return 0 if good else 1


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


def _named_steps(run: str) -> dict[str, tuple[str, Path]] | None:
    """Return state and run folder of a pipeline's steps by label, None where a run folder was named."""
    from workbench.runs import RUN_FILE, STATE_FILE, read_json, resolve_path

    folder = resolve_path(run)
    if (folder / RUN_FILE).is_file():
        return None
    states = [folder / STATE_FILE, resolve_path("runs") / Path(run).stem / STATE_FILE]
    state = next(filter(None, map(read_json, states)), None)
    if state is None:
        raise WorkbenchError(
            f"{run} is no run folder and no pipeline that was ever run.\n"
            "Give the path of a run folder, such as runs/quickstart/train-…, or a pipeline's name."
        )
    steps = {label: step for label, step in state["steps"].items() if step["run"]}
    return {label: (step["state"], resolve_path(step["run"])) for label, step in steps.items()}


def _compared_folders(run: str) -> list[Path]:
    """Return the run folder that was named, or those of a pipeline's finished trainings."""
    from workbench.evaluation.predictions import PREDICTIONS_FILE

    steps = _named_steps(run)
    if steps is None:
        return [Path(run)]
    folders = [folder for _, folder in steps.values() if (folder / PREDICTIONS_FILE).is_file()]
    if not folders:
        raise WorkbenchError(
            f"The pipeline {run} has no training with stored predictions.\n"
            f"Let it run to its end: workbench run {run}."
        )
    return folders


def _training_folders(run: str) -> list[Path]:
    """Return the run folder that was named, or those of a pipeline's steps that train now."""
    from workbench.dashboards.status import is_training
    from workbench.runs import is_running, resolve_path

    steps = _named_steps(run)
    if steps is None:
        return [resolve_path(run)]
    running = [label for label, (state, folder) in steps.items() if state == "running" or is_running(folder)]
    training = [folder for _, folder in steps.values() if is_running(folder) and is_training(folder)]
    if not training:
        others = f"{', '.join(running)} runs, and does not train now" if running else "none of its steps runs"
        raise WorkbenchError(
            f"No training of the pipeline {run} is under way: {others}.\n"
            "Ctrl-C where the pipeline runs stops it as a whole."
        )
    return training

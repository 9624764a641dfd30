"""A pipeline run from the command line: its view, what failed and how to look into it, its report."""

import contextlib
import hashlib
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.pipelines.cleaning import Removable
from workbench.pipelines.records import EXECUTED_FILE
from workbench.pipelines.spec import Pipeline
from workbench.pipelines.state import PipelineState, StepState, Watch, show
from workbench.runs import STATE_FILE, read_json, write_json

if TYPE_CHECKING:
    from workbench.reports.page import WrittenReport

REPORT_FILE = "report.json"  # beside state.json: what the report was built from
PACKAGE = Path(__file__).parent


def run_batch(
    pipeline: Pipeline,
    until: Sequence[str],
    force: Sequence[str],
    jobs: int | None,
    cold: bool,
    as_json: bool,
) -> int:
    """Run what is stale, tell what happens and what failed, build the report; return the exit status."""
    from workbench.pipelines import run_pipeline

    options: dict[str, Any] = {"until": until, "force": force, "jobs": jobs, "cold": cold}
    with _open_view(as_json) as (watch, end), _ended_by_signals():
        if not cold:
            watch = _after(lambda: _say_what_is_cold(pipeline), watch)
        state = run_pipeline(pipeline, **options, watch=watch, waiting=_say_who_runs)
        status = 1 if state.failed else 0
        end(state, status)
    if not as_json:
        _conclude(state)
    return status


def rebuild_report(pipeline: Pipeline, strict: bool = True) -> "WrittenReport":
    """Build the report of a pipeline from its runs; `strict` is that of `write_report`."""
    from workbench.reports.page import write_report

    written = write_report(pipeline.folder, strict=strict)
    with contextlib.suppress(OSError):  # then it is built again the next time
        stamp = _report_stamp(pipeline, written.path, written.digest)
        write_json(pipeline.folder / REPORT_FILE, stamp)
    return written


def describe_removable(found: Sequence[Removable]) -> Iterator[str]:
    """Yield a line for each run folder that may go, and one for all."""
    for run in found:
        yield f"{run.size / 2**20:9.1f} MB  {run.path}  ({run.reason})"
    total = sum(run.size for run in found) / 2**20
    yield f"{total:9.1f} MB in {len(found)} run folders" if found else "Every run folder is referred to."


def _conclude(state: PipelineState) -> None:
    for step in state.failed:
        _print_failure(state, step)
    skipped = [step.label for step in state.steps if step.state == "skipped"]
    if skipped:
        click.echo(f"Skipped, since what they need failed: {', '.join(skipped)}", err=True)
    ran = sum(step.state == "done" for step in state.steps)
    if not ran and not state.failed:
        click.echo(f"{state.pipeline.name}: nothing to do, {_count(state)} fresh")
    page, digest = _report(state.pipeline)
    click.echo(f"Report: {page}\nManifest: {digest}")
    if ran:
        click.echo("Explore: make lab")


def _count(state: PipelineState) -> str:
    fresh = sum(step.state == "fresh" for step in state.steps)
    return f"{fresh} step{'s are' if fresh != 1 else ' is'}"


def _report(pipeline: Pipeline) -> tuple[str, str]:
    """Return path and digest of the report, which is built unless it tells of these runs already."""
    known = read_json(pipeline.folder / REPORT_FILE)
    if known is not None:
        page, digest = pipeline.root / known["page"], known.get("manifest", "")
        if page.is_file() and _report_stamp(pipeline, page, digest) == known:
            return known["page"], digest
    written = rebuild_report(pipeline, strict=False)  # a slip in the text is no reason to lose the report
    return show(written.path, pipeline.root), written.digest


def _report_stamp(pipeline: Pipeline, page: Path, digest: str) -> dict[str, Any]:
    """Return what tells whether a report is up to date: the page, the runs, its text, the code that draws."""
    steps = (read_json(pipeline.folder / STATE_FILE) or {}).get("steps")
    beside = (".md", ".bib", ".html")  # a report's text, references and template
    texts = [path for path in pipeline.file.parent.iterdir() if path.suffix in beside]
    code = [path for path in PACKAGE.rglob("*.*") if path.suffix != ".pyc"]
    files = sorted((str(path), path.stat().st_mtime_ns) for path in [*code, *texts])
    status = page.stat()
    return {
        "page": show(page, pipeline.root),
        "manifest": digest,
        "written": [status.st_size, status.st_mtime_ns],
        "made_from": hashlib.sha256(json.dumps([pipeline.title, steps, files]).encode()).hexdigest(),
    }


def _print_failure(state: PipelineState, step: StepState) -> None:
    failure = step.failure
    where = f", code cell {failure.cell} of {failure.cells}" if failure.cell else ""
    click.echo(f"\nFailed: {step.label}{where}", err=True)
    for line in failure.source.splitlines():
        click.echo(f"    {line}", err=True)
    if failure.output:
        click.echo(f"  last output:\n{failure.output}", err=True)
    click.echo(f"  {failure.error}", err=True)
    executed = show(step.folder / EXECUTED_FILE, state.pipeline.root)
    click.echo(f"  look into it, with its parameters: workbench lab '{executed}'\n", err=True)


def _after(say: Callable[[], None], watch: Watch) -> Watch:
    """Return `watch` with `say` before its first call, which comes only when something has to run."""
    waiting = [say]

    def first_say(state: PipelineState) -> None:
        while waiting:
            waiting.pop()()
        watch(state)

    return first_say


def _say_what_is_cold(pipeline: Pipeline) -> None:
    from workbench.kernels.choice import why_cold
    from workbench.kernels.settings import read_settings

    read_settings(pipeline.root)  # so that a wrong one is told before anything runs
    for notebook in sorted({step.notebook.path for step in pipeline.steps}):
        if reason := why_cold(notebook):
            click.echo(f"{show(notebook, pipeline.root)} starts in a cold kernel: {reason}.", err=True)


def _say_who_runs(owner: str) -> None:
    click.echo(f"Waiting: the pipeline is being run by {owner}. Ctrl-C to leave it alone.", err=True)


@contextlib.contextmanager
def _open_view(as_json: bool) -> Iterator[tuple[Watch, Callable[[PipelineState, int], None]]]:
    """Yield what shows how things stand, and what to call at the end; it loads when first used."""
    if as_json:
        from workbench.dashboards.event_lines import EventLines

        lines = EventLines()

        def end(state: PipelineState, status: int) -> None:
            lines.update(state)
            lines.write("report", path=_report(state.pipeline)[0])
            lines.end(state, status)

        yield lines.update, end
        return
    with contextlib.ExitStack() as views:
        opened: list[Watch] = []

        def watch(state: PipelineState) -> None:
            if not opened:
                from rich.console import Console

                from workbench.dashboards.progress import show_progress

                opened.append(views.enter_context(show_progress(Console())))
            opened[0](state)

        yield watch, lambda state, status: None


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the run as Ctrl-C does: kernels end, notebooks are saved."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    old = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)

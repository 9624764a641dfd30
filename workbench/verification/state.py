"""What differs between the world of a report and this one: environment, code, files."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workbench.provenance import collect_provenance, git_state
from workbench.reports.collect import collect_report
from workbench.reports.manifest import build_manifest, hash_files
from workbench.reports.page import render_page
from workbench.reports.seal import open_sealed, seal_page
from workbench.runs import STATE_FILE, project_root, resolve_path, show_path
from workbench.verification.subject import Subject
from workbench.verification.verdicts import ALTERED, IDENTICAL, Line


def list_differences(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return how this machine and project differ from those where the runs were made.

    They come first in every verification, since they explain most drift.
    """
    here = collect_provenance(project_root())
    found: dict[str, list[str]] = {}
    for run in runs:
        for difference in _differences(run, here):
            found.setdefault(difference, []).append(run["label"])
    return [
        text if len(labels) == len(runs) else f"{text} ({', '.join(labels)})"
        for text, labels in found.items()
    ]


def _differences(run: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    was = run["environment"]
    for name in ("python", "backend"):
        if was.get(name) != here[name]:
            yield f"{name} {was.get(name)} → {here[name]}"
    for kind in ("packages", "machine"):
        before, after = was.get(kind, {}), here[kind]
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                yield f"{name} {before.get(name, 'absent')} → {after.get(name, 'absent')}"
    git, now = run["git"] or {}, here["git"] or {}
    if git.get("commit") != now.get("commit"):
        yield f"commit {git.get('commit', 'unknown')[:10]} → {now.get('commit', 'unknown')[:10]}"
    if git.get("dirty"):
        yield "the runs were made with uncommitted changes"
    if now.get("dirty"):
        yield "there are uncommitted changes here"


def list_code_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what of a step's code differs between two runs of it, both from `describe_run`."""
    changed = []
    for kind in sorted({*old["code"], *new["code"]}):
        before, after = old["code"].get(kind), new["code"].get(kind)
        if isinstance(before, dict) and isinstance(after, dict):
            files = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
            changed += files if len(files) <= 3 else [*files[:3], f"{len(files) - 3} more files"]
        elif before != after:
            changed.append(f"the code of {old['notebook']}")
    return changed


def check_files(runs: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Yield one line for each run folder that is here: whether its files are those of the manifest."""
    for run in runs:
        folder = resolve_path(run["folder"])
        if not folder.is_dir():
            continue
        before, after = run["files"], hash_files(folder)
        problems = [
            f"{name} was replaced" for name in before if name in after and before[name] != after[name]
        ]
        problems += [f"{name} is gone" for name in before if name not in after]
        problems += [f"{name} was added" for name in after if name not in before]
        what = f"{len(before)} files of {run['folder']}"
        verdict = ALTERED if problems else IDENTICAL
        yield Line(verdict, what, run["label"], note="; ".join(problems), old_run=run["folder"])


def check_page(subject: Subject) -> Iterator[Line]:
    """Build a report again from the stored runs and yield what it would show otherwise.

    That asks for the same code and the same current runs as when it was built; else nothing is yielded.
    """
    manifest = subject.manifest
    builder, here = manifest.get("builder"), git_state(project_root())
    if not manifest.get("elements") or not builder or builder != here or here["dirty"]:
        return
    folders = [resolve_path("runs") / name for name in dict.fromkeys(manifest["states"])]
    if not all((folder / STATE_FILE).is_file() for folder in folders):
        return
    report = collect_report(*folders, text=manifest["text"], diff=manifest["diff"])
    built_from = {show_path(step.folder) for step in report.steps if step.folder}
    if built_from != {run["folder"] for run in manifest["runs"] if "folder" in run}:
        return
    page, _ = seal_page(render_page(report, subject.path, manifest["template"]), build_manifest(report))
    elements = open_sealed(page, subject.name).manifest["elements"]
    shown = manifest["elements"]
    differing = [name for name in {*shown, *elements} if shown.get(name) != elements.get(name)]
    for name in differing:
        yield Line(ALTERED, name, subject.name, note="the stored runs give another one")
    if not differing:
        yield Line(IDENTICAL, f"{len(shown)} numbers, tables and figures of the report", subject.name)


def is_here(run: Mapping[str, Any]) -> bool:
    """Tell whether a run folder with stored results lies in this project."""
    return (resolve_path(run["folder"]) / "run.json").is_file()

"""Verify a report, a pipeline or a run: run it again and compare every number."""

import datetime
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.pipelines.spec import find_references
from workbench.reports.collect import SUMMARY
from workbench.reports.manifest import describe_run
from workbench.runs import open_run, show_path
from workbench.verification.compare import compare_runs
from workbench.verification.conclusions import compare_conclusions
from workbench.verification.replay import replay_notebooks
from workbench.verification.rerun import Watch, new_folder, run_again, went_on
from workbench.verification.seeds_left_out import leave_out_seeds
from workbench.verification.spread import Pair, differs_in_seed
from workbench.verification.state import check_files, check_page, is_here, list_code_changes, list_differences
from workbench.verification.subject import Subject, open_subject
from workbench.verification.verdicts import ALTERED, DRIFTED, GOOD, IDENTICAL, NOT_COMPARABLE, VERDICTS, Line

_FRESH_SEEDS = 1_000_000  # how far new seeds may lie from the recorded ones


@dataclass(frozen=True)
class Verification:
    """What came out when something was run again."""

    subject: Subject
    mode: str  # "full", "quick" or "new seeds"
    date: str  # ISO 8601
    seconds: float
    differences: list[str]  # of environment and commit, which explain most drift
    lines: list[Line]
    folder: Path  # the new run folders
    shift: int  # what was added to every seed

    @property
    def holds(self) -> bool:
        """Whether everything is identical or within noise."""
        return all(line.verdict in GOOD for line in self.lines)

    @property
    def counts(self) -> dict[str, int]:
        """How many lines have each verdict, what needs attention first."""
        found = Counter(line.verdict for line in self.lines)
        return {verdict: found[verdict] for verdict in VERDICTS if found[verdict]}

    @property
    def attention(self) -> list[Line]:
        """The lines that are not identical, the worst first."""
        lines = [line for line in self.lines if line.verdict != IDENTICAL]
        return sorted(lines, key=lambda line: VERDICTS.index(line.verdict))

    @property
    def summary(self) -> str:
        """One sentence."""
        words = ", ".join(
            f"{count} {verdict}" for verdict, count in self.counts.items() if verdict != IDENTICAL
        )
        total, same = len(self.lines), self.counts.get(IDENTICAL, 0)
        return f"{same} of {total} identical" + (f"; {words}" if words else "")


def verify(
    what: str,
    *,
    quick: bool = False,
    new_seeds: bool = False,
    nbval: bool = True,
    watch: Watch = lambda state: None,
    tell: Callable[[str], None] = lambda text: None,
) -> Verification:
    """Run again what a report, a pipeline or a run claims, and compare every number.

    Args:
        what: A report's HTML file, a run folder, or a pipeline.
        quick: Only evaluate stored predictions again and check hashes.
        new_seeds: Train with fresh seeds and compare the conclusions instead of the digits.
        nbval: Also run copies of the executed notebooks under `pytest --nbval`; not with the two above.
        watch: The runner's view, called several times a second.
        tell: Called with what was found before anything runs: environment differences, altered files.

    Raises:
        WorkbenchError: It is nothing that can be verified, or its notebooks do not take its parameters.
    """
    begin, now = time.monotonic(), datetime.datetime.now(datetime.UTC)
    subject = open_subject(what)
    runs = _choose(subject, quick)
    differences = list_differences(runs)
    lines = [Line(ALTERED, "report", subject.name, note=edit) for edit in subject.edits]
    lines += [*check_files(subject.finished), *check_page(subject)]
    for text in differences or ["the environment is the same"]:
        tell(text)
    shift = 1 + secrets.randbelow(_FRESH_SEEDS) if new_seeds else 0
    folder = new_folder(subject.name, f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")
    found, failed = run_again(runs, folder, watch, lambda seed: seed + shift)
    labels = {run["folder"]: run["label"] for run in subject.finished}
    labels |= {show_path(path): label for label, path in found.items()}
    pairs = _pairs(runs, found, labels)
    doubtful = [] if new_seeds else [run for run in runs if _is_doubtful(pairs.get(run["label"]))]
    if doubtful:
        tell(f"evaluated again without each seed, to know noise: {', '.join(r['label'] for r in doubtful)}")
        apart = folder.with_name(f"{folder.name}-seeds")
        for label, left_out in leave_out_seeds(doubtful, runs, found, labels, apart, watch).items():
            pairs[label] = replace(pairs[label], left_out=left_out)
    lines += _compare(runs, pairs, failed, new_seeds)
    if nbval and not quick and not new_seeds:
        lines += replay_notebooks([run for run in runs if is_here(run)], folder)
    mode = "new seeds" if new_seeds else "quick" if quick else "full"
    seconds = time.monotonic() - begin
    return Verification(subject, mode, now.isoformat(), seconds, differences, lines, folder, shift)


def _compare(
    runs: Sequence[Mapping[str, Any]], pairs: Mapping[str, Pair], failed: Mapping[str, str], new_seeds: bool
) -> Iterator[Line]:
    """Yield what is to be said of every run: of its conclusions with new seeds, else of all that it found."""
    for run in runs:
        label = run["label"]
        if label in failed:
            yield Line(NOT_COMPARABLE, "all of it", label, note=failed[label], old_run=run["folder"])
        elif not new_seeds:
            yield from compare_runs(pairs[label])
        elif SUMMARY in run["tables"]:
            yield from compare_conclusions(run, pairs[label].new)


def _choose(subject: Subject, quick: bool) -> list[dict[str, Any]]:
    """Return the runs to do again; those of a quick verification take stored runs as their inputs."""
    runs = subject.finished
    if quick:
        runs = [
            run | {"declared": run["parameters"]} for run in runs if SUMMARY in run["tables"] and is_here(run)
        ]
    if not runs:
        why = "no evaluation whose stored runs are here" if quick else "no finished run"
        raise WorkbenchError(
            f"There is {why} behind {show_path(subject.path)}, so there is nothing to verify.\n"
            + ("Verify without --quick: it runs every step again." if quick else "Run the pipeline first.")
        )
    return runs


def _is_doubtful(pair: Pair | None) -> bool:
    """Tell whether a run came out otherwise without a known reason, and no run of another seed tells why."""
    if pair is None or pair.changed or len(pair.siblings) > 1:
        return False
    return any(line.verdict == DRIFTED for line in compare_runs(pair))


def _pairs(
    runs: Sequence[Mapping[str, Any]], found: Mapping[str, Path], labels: Mapping[str, str]
) -> dict[str, Pair]:
    """Return each run with its new counterpart, and what makes the two incomparable."""
    new = {label: describe_run(open_run(path), label, labels) for label, path in found.items()}
    changes: dict[str, list[str]] = {}
    pairs = {}
    for run in runs:
        label = run["label"]
        if label not in new:
            continue
        changes[label] = list(
            dict.fromkeys([*_own_changes(run, new[label]), *_inherited(run, runs, changes)])
        )
        siblings = [other for other in runs if differs_in_seed(other, run)]
        pairs[label] = Pair(run, new[label], siblings, "; ".join(changes[label]))
    return pairs


def _own_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    code = list_code_changes(old, new)
    if code:
        yield f"code changed: {', '.join(code)}"
    if old["dataset"] and (new["dataset"] or {}).get("fingerprint") != old["dataset"]["fingerprint"]:
        yield f"the data {old['dataset']['name']} changed"
    if old["speed"] != new["speed"]:
        yield f"this machine trains another way: {old['speed']} → {new['speed']}"
    if went_on(Path(new["folder"])):
        yield "the training went on from a checkpoint"


def _inherited(
    run: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], changes: Mapping[str, list[str]]
) -> Iterator[str]:
    references = set(find_references(run["declared"]))
    for other in runs:
        if other["pipeline"] == run["pipeline"] and references & {other["reference"], other["step"]}:
            yield from changes.get(other["label"], [])

"""Diagnosis of a training from its event log alone."""

from collections.abc import Iterable, Mapping
from typing import Any

from workbench.events import drop_replayed
from workbench.findings import Finding
from workbench.training.diagnosis.curves import RULES
from workbench.training.diagnosis.history import History, follow, is_number
from workbench.training.diagnosis.nonfinite import find_nonfinite
from workbench.training.diagnosis.thresholds import Thresholds

_WATCHED = ("loss", "val_loss")


class Findings:
    """What was found so far; each rule speaks once, and again when it gets worse."""

    def __init__(self) -> None:
        self._ranks: dict[str, int] = {}
        self.found: list[Finding] = []

    def add(self, finding: Finding | None) -> bool:
        """Tell whether a finding is news, and keep it then."""
        if finding is None or finding.rank <= self._ranks.get(finding.rule, -1):
            return False
        self._ranks[finding.rule] = finding.rank
        self.found.append(finding)
        return True


def diagnose(events: Iterable[Mapping[str, Any]], thresholds: Thresholds | None = None) -> list[Finding]:
    """Return what the curves of a log tell, of its last `fit` and those that it goes on from.

    Rules that must know the model or its data are silent.

    Args:
        events: As `read_events` returns them.
        thresholds: When to speak.

    Example:
        diagnose(run.events())
    """
    thresholds = thresholds or Thresholds()
    history, findings = History(), Findings()
    for event in drop_replayed(list(events)):
        if event["type"] == "fit" and not event.get("initial_epoch"):
            findings = Findings()
        history = follow(history, event)
        if event["type"] in ("step", "epoch"):
            name = name_nonfinite(event["metrics"])
            if name:
                what = f"{name} in epoch {event['epoch'] + 1}"
                findings.add(find_nonfinite(what, event["epoch"], None, (), None, thresholds))
        if event["type"] == "epoch":
            for finding in judge_curves(history, thresholds):
                findings.add(finding)
    return findings.found


def judge_curves(history: History, thresholds: Thresholds) -> list[Finding]:
    """Return what all rules about curves find after the last epoch; nothing of a loss that is no number."""
    if not history.metrics or name_nonfinite(history.metrics[-1]):
        return []
    found = (rule(history, thresholds) for rule in RULES)
    return [finding for finding in found if finding is not None]


def name_nonfinite(metrics: Mapping[str, Any]) -> str:
    """Return the beginning of a sentence about a loss that is NaN or infinite, "" if none is."""
    for name in _WATCHED:
        if name in metrics and not is_number(metrics[name]):
            return f"{'Validation' if name.startswith('val_') else 'Training'} loss became {metrics[name]}"
    return ""

"""What happened while a run trained: what was noticed, what was done by hand, how it ended."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.dashboards.status import (
    describe_change,
    describe_end,
    describe_moment,
    describe_refusal,
    is_steered,
)
from workbench.findings import Finding, drop_lighter


@dataclass(frozen=True)
class Intervention:
    """Something that a person asked of a training."""

    time: str
    moment: str  # epoch and step
    what: str  # with the values before and after
    by: str
    refusal: str  # why it was not done; empty if it was


@dataclass(frozen=True)
class Ending:
    """How one call of `fit` ended."""

    words: str
    early: bool  # before the last planned epoch


@dataclass(frozen=True)
class Training:
    """The trainings of one run, seen from their end."""

    findings: list[Finding]  # the most severe first
    interventions: list[Intervention]
    endings: list[Ending]
    costs: list[str]  # of each call of `fit` that told them
    steered: bool  # somebody changed its course: it is not the experiment that its parameters tell of

    @property
    def is_remarkable(self) -> bool:
        """Whether there is more to say than that it trained as planned."""
        return bool(self.findings or self.interventions or any(ending.early for ending in self.endings))


def read_training(events: Sequence[Mapping[str, Any]]) -> Training:
    """Collect what the event log of a run says besides metrics.

    A finding that a later attempt repeated, or that got worse, counts once.
    """
    controls = [event for event in events if event["type"] == "control"]
    found = [Finding.from_event(event) for event in drop_lighter(events)]
    return Training(
        findings=sorted(found, key=lambda finding: -finding.rank),
        interventions=[_intervention(event) for event in controls],
        endings=_endings(events),
        costs=[describe_costs(event["costs"]) for event in events if event.get("costs")],
        steered=is_steered(controls),
    )


def describe_costs(costs: Mapping[str, Any]) -> str:
    """Return in one line what a training cost, from the `costs` of its `fit_end` event."""
    parts = [
        f"{costs['seconds']:.0f} s, {costs['processor_seconds']:.0f} s of processor time",
        f"{costs['peak_memory'] / 2**30:.1f} GiB of memory at its peak",
        f"{costs['samples']:,} samples" if costs["samples"] else "",
        f"{costs['parameters']:,} parameters, {costs['trainable_parameters']:,} of them trained",
        f"{costs['flops']:.2g} floating-point operations ({costs['flops_method']})"
        if "flops" in costs
        else "",
        _describe_energy(costs),
    ]
    return "; ".join(part for part in parts if part)


def _describe_energy(costs: Mapping[str, Any]) -> str:
    if costs.get("energy_kwh") is None:
        return ""
    carbon = f", {1000 * costs['co2_kg']:.3g} g of CO₂" if costs.get("co2_kg") is not None else ""
    return f"{1000 * costs['energy_kwh']:.3g} Wh{carbon} ({costs['energy_method']})"


def shorten_evidence(evidence: Mapping[str, Any]) -> Any:
    """Return evidence with its numbers to four digits, for reading."""
    if isinstance(evidence, Mapping):
        return {key: shorten_evidence(value) for key, value in evidence.items()}
    if isinstance(evidence, list | tuple):
        return [shorten_evidence(value) for value in evidence]
    return f"{evidence:.4g}" if isinstance(evidence, float) else evidence


def _intervention(control: Mapping[str, Any]) -> Intervention:
    time = datetime.datetime.fromtimestamp(control["time"], datetime.UTC)
    return Intervention(
        time=f"{time:%Y-%m-%d %H:%M:%S} UTC",
        moment=describe_moment(control),
        what=describe_change(control),
        by=str(control["by"]),
        refusal=describe_refusal(control),
    )


def _endings(events: Sequence[Mapping[str, Any]]) -> list[Ending]:
    endings, fit = [], None
    for event in events:
        if event["type"] == "fit":
            fit = event
        elif event["type"] == "fit_end" and fit is not None:
            endings.append(Ending(describe_end(event, fit), event["stopped"]))
    return endings

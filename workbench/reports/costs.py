"""What a pipeline cost: time, memory, arithmetic and recorded energy, step by step and in sum."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.reports.collect import Report, ReportedStep
from workbench.reports.rendering import format_duration


@dataclass(frozen=True)
class Cost:
    """What one step cost, or all of them; None where that is not known."""

    label: str
    seconds: float | None  # wall time of the notebook, imports and all
    memory: float | None  # bytes, the peak of its process
    training: float | None = None  # seconds of wall time in which `fit` ran
    processor: float | None = None  # seconds of processor time meanwhile
    samples: float | None = None  # that were trained on, each as often as it was
    flops: float | None = None  # floating-point operations of the training
    energy: float | None = None  # kWh
    carbon: float | None = None  # kg of CO₂
    method: str = ""  # how the energy was found: measured or estimated, and by what


@dataclass(frozen=True)
class CostTable:
    """The costs of one pipeline."""

    pipeline: str
    rows: list[Cost]

    @property
    def total(self) -> Cost:
        """The sums; of the memory the highest peak."""
        columns = ("seconds", "training", "processor", "samples", "flops", "energy", "carbon")
        sums = {name: _add(getattr(row, name) for row in self.rows) for name in columns}
        methods = "; ".join(dict.fromkeys(row.method for row in self.rows if row.method))
        return Cost(label="all steps", memory=_most(row.memory for row in self.rows), method=methods, **sums)

    @property
    def columns(self) -> list[tuple[str, Callable[[Cost], str]]]:
        """Headings, and what stands below them for a row; columns of which nothing is known are left out."""
        every = [
            ("time, s", "seconds", "{:,.0f}", 1),
            ("memory at its peak, GiB", "memory", "{:.2f}", 2**-30),
            ("training, s", "training", "{:,.0f}", 1),
            ("processor, s", "processor", "{:,.0f}", 1),
            ("samples trained on", "samples", "{:,.0f}", 1),
            ("operations, 10¹²", "flops", "{:,.3g}", 1e-12),
            ("energy, Wh", "energy", "{:,.3g}", 1000),
            ("CO₂, g", "carbon", "{:,.3g}", 1000),
        ]
        total = self.total
        return [
            (heading, _reader(name, form, scale))
            for heading, name, form, scale in every
            if getattr(total, name) is not None
        ]

    @property
    def sentence(self) -> str:
        """The sums in words."""
        total = self.total
        parts = [f"All steps of {self.pipeline} took {format_duration(total.seconds or 0)}"]
        parts += [f"{total.memory / 2**30:.2g} GiB of memory at their peak"] if total.memory else []
        if total.energy is not None:
            carbon = f" and {1000 * total.carbon:.3g} g of CO₂" if total.carbon is not None else ""
            method = f" ({total.method})" if total.method else ""
            parts.append(f"{1000 * total.energy:.3g} Wh{carbon} for the trainings{method}")
        return f"{', '.join(parts)}."


def collect_costs(report: Report) -> list[CostTable]:
    """Return the costs of every pipeline of a report whose steps have run."""
    tables: dict[str, list[Cost]] = {}
    for step in report.steps:
        if step.run and step.seconds is not None:
            tables.setdefault(step.pipeline, []).append(_read_cost(step, step.run.details.get("costs", {})))
    return [CostTable(pipeline, rows) for pipeline, rows in tables.items()]


def _read_cost(step: ReportedStep, costs: Mapping[str, Mapping[str, Any]]) -> Cost:
    """Read the costs of a step, whose run keeps them by the number of the training."""
    trainings = list(costs.values())
    whole = (step.run.step or {}) if step.run else {}  # what the runner saw of its process

    def total(name: str) -> float | None:
        return _add(training.get(name) for training in trainings)

    return Cost(
        label=step.label,
        seconds=whole.get("seconds") or step.seconds,
        memory=_most([whole.get("memory"), *(training.get("peak_memory") for training in trainings)]),
        training=total("seconds"),
        processor=total("processor_seconds"),
        samples=total("samples"),
        flops=total("flops"),
        energy=total("energy_kwh"),
        carbon=total("co2_kg"),
        method="; ".join(dict.fromkeys(_methods(trainings))),
    )


def _methods(trainings: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(training["energy_method"]) for training in trainings if training.get("energy_method")]


def _known(values: Iterable[Any]) -> list[float]:
    return [value for value in values if isinstance(value, int | float) and math.isfinite(value)]


def _add(values: Iterable[Any]) -> float | None:
    known = _known(values)
    return sum(known) if known else None


def _most(values: Iterable[Any]) -> float | None:
    return max(filter(None, _known(values)), default=None)


def _reader(name: str, form: str, scale: float) -> Callable[[Cost], str]:
    def read(cost: Cost) -> str:
        value = getattr(cost, name)
        return "" if value is None else form.format(value * scale)

    return read

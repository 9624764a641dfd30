"""What was noticed about a training or an experiment: the evidence, and what to try."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import WorkbenchError
from workbench.events import spell, unspell

SEVERITIES = ("info", "warning", "error")  # the lightest first


def drop_lighter(events: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the `finding` events among `events`, of each training and rule only the last.

    A rule speaks again when things get worse, and then the first word is no longer of interest.
    """
    last = {}
    for event in events:
        if event["type"] == "finding":
            key = (event.get("fit"), event["rule"])
            last.pop(key, None)
            last[key] = event
    return list(last.values())


@dataclass(frozen=True)
class Finding:
    """One thing that was noticed.

    Args:
        rule: Name of the rule, such as "overfitting".
        severity: "info", "warning" or "error".
        message: One sentence with the evidence in numbers.
        advice: One sentence about what to try.
        evidence: The numbers by name, as JSON values.
        source: Where the rule comes from: a paper, a book or a page.
        epoch: After which epoch it was noticed, counted from 0; None if no epoch matters.

    Raises:
        WorkbenchError: The severity is none of the three.
    """

    rule: str
    severity: str
    message: str
    advice: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    epoch: int | None = None

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise WorkbenchError(
                f"A finding of {self.rule} was called {self.severity!r}, which is no severity.\n"
                f"Give one of {', '.join(SEVERITIES)}."
            )

    @property
    def rank(self) -> int:
        """How severe it is, as a number: 0 for "info", 2 for "error"."""
        return SEVERITIES.index(self.severity)

    def as_event(self) -> dict[str, Any]:
        """Return the fields of a `finding` event, as plain JSON without NaN or infinity."""
        return {name: spell(value) for name, value in self._fields().items()}

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> "Finding":
        """Return the finding that a `finding` event tells of."""
        return cls(**{name: unspell(event[name]) for name in cls.__dataclass_fields__ if name in event})

    def _fields(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return fields | {"evidence": dict(self.evidence)}

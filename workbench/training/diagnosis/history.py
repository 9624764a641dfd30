"""The epochs of a training so far, as rules read them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

FIRST_BATCHES = 16  # at most so many count as those before much was learned


@dataclass(frozen=True)
class History:
    """Metrics by epoch, and what is known of the training besides.

    Args:
        epochs: Numbers of the finished epochs, ascending.
        metrics: What each of them ended with: training metrics and `val_…`.
        rates: The learning rate of each, None where it is not known.
        first_loss: The loss of the first batches, before much was learned.
        chance: The loss of guessing, where it is known.
        planned: How many epochs there will be, None if that is not known.
        regularized: Whether training metrics are worse than they would be in inference (dropout,
            augmentation, penalties); None if that is not known.
    """

    epochs: tuple[int, ...] = ()
    metrics: tuple[Mapping[str, float], ...] = ()
    rates: tuple[float | None, ...] = ()
    first_loss: float | None = None
    chance: float | None = None
    planned: int | None = None
    regularized: bool | None = None
    _series: dict = field(default_factory=dict, init=False, repr=False, compare=False)  # what was asked for

    def add(self, epoch: int, metrics: Mapping[str, float], rate: float | None = None) -> "History":
        """Return a history with one more epoch."""
        return replace(
            self,
            epochs=(*self.epochs, epoch),
            metrics=(*self.metrics, dict(metrics)),
            rates=(*self.rates, rate),
        )

    def before(self, epoch: int) -> "History":
        """Return the history up to an epoch, without it."""
        count = sum(number < epoch for number in self.epochs)
        return replace(
            self, epochs=self.epochs[:count], metrics=self.metrics[:count], rates=self.rates[:count]
        )

    def series(self, *names: str) -> tuple[list[int], list[list[float]]]:
        """Return the epochs that have all these metrics as finite numbers, and the values of each."""
        if names not in self._series:  # every rule asks for the same few, after every epoch
            rows = [
                (epoch, *(metrics[name] for name in names))
                for epoch, metrics in zip(self.epochs, self.metrics, strict=True)
                if all(is_number(metrics.get(name)) for name in names)
            ]
            epochs, *values = zip(*rows, strict=True) if rows else [()] * (len(names) + 1)
            self._series[names] = list(epochs), [list(column) for column in values]
        return self._series[names]

    @property
    def baseline(self) -> float | None:
        """The loss that a network has that has not learned anything."""
        _, (losses,) = self.series("loss")
        known = (self.chance, self.first_loss, losses[0] if losses else None)
        return next((value for value in known if value is not None and value > 0), None)

    @property
    def accuracy(self) -> float | None:
        """The last training accuracy, of whatever kind, or area under a curve."""
        last = self.metrics[-1] if self.metrics else {}
        trained = {name: value for name, value in last.items() if not name.startswith("val_")}
        found = [value for name, value in trained.items() if "acc" in name or "auc" in name.lower()]
        return max((value for value in found if is_number(value)), default=None)


def follow(history: History, event: Mapping[str, Any]) -> History:
    """Return the history after one more event of a log."""
    if event["type"] == "fit":
        first = event.get("initial_epoch") or 0
        return replace(history.before(first) if first else History(), planned=event.get("epochs"))
    if event["type"] == "epoch":
        return history.add(event["epoch"], event["metrics"], event.get("learning_rate"))
    if event["type"] == "step" and event["epoch"] == 0 and event["step"] <= FIRST_BATCHES:
        loss = event["metrics"].get("loss")
        return replace(history, first_loss=loss) if is_number(loss) and not history.first_loss else history
    return history


def read_history(events: Iterable[Mapping[str, Any]], before: int) -> History:
    """Return what a log tells of the epochs before the one that a training resumes at."""
    history = History()
    for event in events:
        history = follow(history, event)
    return history.before(before)


def is_number(value: Any) -> bool:
    """Tell whether a metric is a finite number."""
    return isinstance(value, (int, float)) and math.isfinite(value)

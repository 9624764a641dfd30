"""How a training stands, in words, from the events of its run, for the views that are written in Python."""

import math
import statistics
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from workbench.controls import CHECKPOINT, LEARNING_RATE, MEASURE_LAYERS, NOW, PATIENCE, PAUSE, STOP
from workbench.events import read_events
from workbench.findings import drop_lighter
from workbench.runs import EVENTS_FILE

Event = Mapping[str, Any]

MARKS = {"info": "i", "warning": "!", "error": "!!"}  # before a finding, by its severity
STEERING = frozenset({STOP, LEARNING_RATE, PATIENCE})  # what makes it another experiment

_PACE_SECONDS = 10.0  # the pace is a mean over about this time
_PACE_EPOCHS = 5  # the time left follows the median of these


def is_training(run_folder: Path) -> bool:
    """Tell whether `fit` is under way in a run folder, as far as its log tells."""
    status = TrainingStatus()
    status.take(read_events(run_folder / EVENTS_FILE))
    return status.under_way


class TrainingStatus:
    """The latest training of a run, as far as the events that it was given tell.

    Example:
        status = TrainingStatus()
        status.take(run.events())
        status.describe()
    """

    def __init__(self) -> None:
        self.fit: Event | None = None  # the event with which the training began
        self.place: Event | None = None  # the newest step or epoch
        self.end: Event | None = None  # its fit_end
        self.broken: Event | None = None  # its exception, if `fit` raised one
        self.error = ""  # why the run failed
        self.paused = False
        self.metrics: dict[str, float] = {}  # the newest value of each
        self.findings: list[Event] = []
        self.controls: list[Event] = []  # what was asked by hand and done
        self._mode = "min"  # of the watched metric
        self._epochs: list[tuple[int, Mapping[str, float]]] = []
        self._durations: deque[float] = deque(maxlen=_PACE_EPOCHS)  # seconds an epoch
        self._pace: deque[tuple[int, float]] = deque()  # batches, and the seconds that they took
        self._since: tuple[float, int] | None = None  # time and batch from which to measure the pace
        self._measured = False  # the pace, in the present epoch

    def take(self, events: Iterable[Event]) -> None:
        """Note further events, in the order of the log."""
        takers = {
            "fit": self._take_fit,
            "step": self._take_step,
            "epoch": self._take_epoch,
            "broken": self._take_broken,
            "fit_end": self._take_fit_end,
            "control": self._take_control,
            "finding": self.findings.append,
            "end": self._take_end,
        }
        for event in events:
            if event["type"] in takers:
                takers[event["type"]](event)

    @property
    def under_way(self) -> bool:
        """Whether a training has begun that did not end, unless its process did."""
        return self.fit is not None and not (self.broken or self.end or self.error)

    def describe(self) -> str:
        """Return the state in one line.

        Example:
            epoch 3/10  step 640/1407  2,310 samples/s  1:32 left  val_loss 0.871 (best 0.802, epoch 2)
        """
        parts = [*self._describe_place(), *self._describe_pace(), *self.describe_metrics()]
        return _plain_line("  ".join(parts))

    def describe_metrics(self, most: int | None = None) -> list[str]:
        """Return the newest metrics as `loss 0.812`: the watched one with its best, then held-out data."""
        watched = self._watched()
        order = sorted(self.metrics, key=lambda name: (name != watched, not name.startswith("val_")))
        return [
            f"{name} {self.metrics[name]:.4g}{self._describe_best() if name == watched else ''}"
            for name in order[:most]
        ]

    def describe_epoch(self) -> str:
        """Return the present epoch and how much of it is over, as `3/10 45 %`."""
        if self.fit is None:
            return ""
        epochs = f"{self._epoch()}/{self.fit['epochs']}"
        share = self._share()
        return epochs if share is None or self.end else f"{epochs} {math.floor(100 * share)} %"

    def describe_notes(self) -> list[str]:
        """Return how many findings there are, and whether the training was steered by hand."""
        count = len(drop_lighter(self.findings))
        notes = [f"{count} finding{'s' * (count > 1)}"] if count else []
        return [*notes, *["steered by hand"] * is_steered(self.controls)]

    def best(self) -> tuple[float, int] | None:
        """Return the best value of the watched metric and its epoch, counted from 0."""
        name = self._watched()
        found = [(metrics[name], epoch) for epoch, metrics in self._epochs if name in metrics]
        found = [(value, epoch) for value, epoch in found if math.isfinite(value)]
        if not found:
            return None
        sign = -1 if self._mode == "max" else 1
        return min(found, key=lambda pair: (sign * pair[0], pair[1]))

    def rate(self) -> tuple[float, str] | None:
        """Return how many samples, or else batches, are trained in a second, and which of them it is."""
        batches = sum(count for count, _ in self._pace)
        seconds = sum(seconds for _, seconds in self._pace)
        if not seconds or self.fit is None:
            return None
        size = self.fit.get("batch_size")
        return (batches / seconds * size, "samples/s") if size else (batches / seconds, "batches/s")

    def seconds_left(self) -> float | None:
        """Return about how long the training still takes if nothing stops it; None while nobody can tell."""
        if self.place is None or self.paused or not self.under_way:
            return None
        left = self.fit["epochs"] - self.place["epoch"] - (self._share() or 0.0)
        if self._durations:
            return left * statistics.median(self._durations)
        if self._pace and self.fit["batches"]:
            spent = sum(seconds for _, seconds in self._pace) / sum(count for count, _ in self._pace)
            return left * self.fit["batches"] * spent
        return None

    def _take_fit(self, event: Event) -> None:
        self.fit, self.place, self.paused = event, None, False
        self.broken, self.end, self.error = None, None, ""
        first = event.get("initial_epoch", 0)
        self._epochs = [(epoch, metrics) for epoch, metrics in self._epochs if epoch < first]
        self.metrics = dict(self._epochs[-1][1]) if self._epochs else {}
        self._durations.clear()
        self._pace.clear()
        self._since, self._measured = None, False

    def _take_step(self, event: Event) -> None:
        self.place = event
        self.metrics.update(event["metrics"])
        if self._since and event["time"] > self._since[0] and event["step"] > self._since[1]:
            self._pace.append((event["step"] - self._since[1], event["time"] - self._since[0]))
            self._measured = True
            while sum(seconds for _, seconds in self._pace) - self._pace[0][1] > _PACE_SECONDS:
                self._pace.popleft()
        self._since = (event["time"], event["step"])

    def _take_epoch(self, event: Event) -> None:
        self.place = event
        self._mode = event.get("mode", "min")
        self.metrics.update(event["metrics"])
        if "step" in event:  # it was cut short: no whole epoch, nor one that tells the pace
            return
        self._epochs.append((event["epoch"], event["metrics"]))
        self._durations.append(event["seconds"])
        batches = self.fit and self.fit["batches"]
        if not self._measured and batches and event["seconds"] > 0:  # too short for steps in the log
            self._pace.clear()
            self._pace.append((batches, event["seconds"]))
        self._since, self._measured = (event["time"], 0), False

    def _take_broken(self, event: Event) -> None:
        self.broken, self.paused = event, False

    def _take_fit_end(self, event: Event) -> None:
        self.end, self.paused = event, False
        self.metrics.update(dict(self._epochs).get(event.get("restored"), {}))

    def _take_control(self, event: Event) -> None:
        self.controls.append(event)
        if event["action"] == PAUSE and not event.get("refused"):
            self.paused = bool(event["value"])
            self._since = None  # the pause is no part of the pace

    def _take_end(self, event: Event) -> None:
        if event["status"] == "failed":
            self.error = (event.get("error") or "no reason given").partition("\n")[0]

    def _epoch(self) -> int:
        """Return the epoch that the newest metrics belong to, or that begins, counted from 1."""
        first = self.fit["initial_epoch"] if self.fit else 0
        return min((self.place["epoch"] if self.place else first) + 1, self.fit["epochs"])

    def _share(self) -> float | None:
        """Return how much of the present epoch is over, if that is known."""
        batches = self.fit and self.fit["batches"]
        if self.place is None:
            return 0.0 if batches else None
        if "step" not in self.place:  # an epoch that was not cut short
            return 1.0
        return self.place["step"] / batches if batches else None

    def _watched(self) -> str:
        """Return the metric whose best value matters: early stopping's, else a loss, held out if possible."""
        monitor = self.fit.get("monitor") if self.fit else None
        return next((name for name in (monitor, "val_loss", "loss") if name in self.metrics), "")

    def _describe_best(self) -> str:
        best = self.best()
        if best is None:
            return ""
        name, (value, epoch) = self._watched(), best
        if value == self.metrics[name]:
            return " (best)"
        newest_is_better = (self.metrics[name] < value) == (self._mode != "max")
        if newest_is_better and math.isfinite(self.metrics[name]):
            return ""  # a mean over part of an epoch
        return f" (best {value:.4g}, epoch {epoch + 1})"

    def _describe_place(self) -> list[str]:
        if self.error:
            return [f"failed: {self.error}"]
        if self.fit is None:
            return ["waiting for training to begin"]
        if self.end:
            return [f"{describe_end(self.end, self.fit)}, {_clock(self.end['seconds'])}"]
        place = [f"epoch {self._epoch()}/{self.fit['epochs']}"]
        batches = self.fit["batches"]
        if self.place and self.place["type"] == "step":
            place.append(f"step {self.place['step']}{f'/{batches}' if batches else ''}")
        broken = [f"broken off by {self.broken['error']}"] if self.broken else []
        return [*place, *["paused"] * self.paused, *broken]

    def _describe_pace(self) -> list[str]:
        rate, left = self.rate(), self.seconds_left()
        if self.paused or not self.under_way:
            return []
        pace = [f"{rate[0]:,.0f} {rate[1]}" if rate[0] >= 10 else f"{rate[0]:.2g} {rate[1]}"] if rate else []
        return [*pace, *([f"{_clock(left)} left"] if left is not None else [])]


def describe_end(end: Event, fit: Event) -> str:
    """Return how a training ended, from its `fit_end` and `fit` events."""
    if not end["stopped"]:
        return f"{fit['epochs']} epoch{'s' * (fit['epochs'] != 1)}"
    reason = end.get("reason") or ""
    how = {"": "stopped", "by hand": "stopped by hand"}.get(reason, f"stopped ({reason})")
    restored = f", with the weights of epoch {end['restored'] + 1}" if end.get("restored") is not None else ""
    return f"{how} after {end['epochs']} of {fit['epochs']} epochs{restored}"


def describe_finding(finding: Event) -> list[str]:
    """Return a finding in two lines: what was noticed behind the mark of its severity, and what to try."""
    mark = MARKS.get(finding["severity"], "!")
    lines = [f"{mark} {finding['message']}", f"{' ' * len(mark)} {finding['advice']}"]
    return [_plain_line(line) for line in lines]


def describe_control(control: Event) -> str:
    """Return in one line what was asked by hand, when and by whom.

    Example:
        by hand: learning rate 0.001 → 0.0001 (epoch 3, step 640, panel)
    """
    refusal = describe_refusal(control)
    change = f"{describe_change(control)} ({describe_moment(control)}, {control['by']})"
    return _plain_line(f"refused: {change}: {refusal}" if refusal else f"by hand: {change}")


def describe_change(control: Event) -> str:
    """Return what was changed, with the values before and after where there are any."""
    action, value = control["action"], control["value"]
    if action == STOP:
        return "stop now" if value == NOW else "stop after this epoch"
    if action == PAUSE:
        return "pause" if value else "resume"
    if action in (CHECKPOINT, MEASURE_LAYERS):
        return {CHECKPOINT: "save a checkpoint", MEASURE_LAYERS: "measure the layers"}[action]
    old = control.get("old")
    change = _short(value) if old is None else f"{_short(old)} → {_short(value)}"
    return f"{action.replace('_', ' ')} {change}"


def describe_refusal(control: Event) -> str:
    """Return why what was asked could not be done; empty if it was done."""
    return (control.get("refused") or "").partition("\n")[0]


def describe_moment(control: Event) -> str:
    """Return the epoch, counted from 1, and the step of an intervention."""
    return f"epoch {control['epoch'] + 1}, step {control['step']}"


def is_steered(controls: Iterable[Event]) -> bool:
    """Tell whether somebody changed the course of a training, and did not just look or wait."""
    return any(control["action"] in STEERING and not control.get("refused") for control in controls)


def _plain_line(text: str) -> str:
    """Return text in one line, without what a terminal would obey; names and messages come from data."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _clock(seconds: float) -> str:
    """Return seconds as minutes:seconds, or hours:minutes:seconds."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"

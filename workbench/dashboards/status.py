"""The state of a training in one line, from the events of its run."""

from collections.abc import Mapping, Sequence
from typing import Any

Event = Mapping[str, Any]


def describe_training(events: Sequence[Event]) -> str:
    """Return how far the latest training has come, its latest metrics, its pace and the time left.

    Example:
        epoch 3/10 · loss 0.812 · val_loss 0.871 · 66 batches/s · 1:32 left
    """
    begun = [number for number, event in enumerate(events) if event["type"] == "fit"]
    if not begun:
        return "waiting for training to begin"
    training = events[begun[-1] :]
    parts = [_describe_position(training), *_describe_metrics(training)]
    if training[-1]["type"] in ("step", "epoch"):
        parts += _describe_pace(training)
    return " · ".join(parts)


def describe_epoch(epoch: Event, epochs: int) -> str:
    """Return the metrics and the duration of one of `epochs` epochs from its event."""
    place = f"epoch {epoch['epoch'] + 1}/{epochs}"
    return "  ".join([place, *_describe_metrics([epoch]), f"{epoch['seconds']:.1f} s"])


def _describe_position(training: Sequence[Event]) -> str:
    begun, epochs = training[0], training[0]["epochs"]
    for event in reversed(training):
        if event["type"] == "end" and event["status"] == "failed":
            return f"failed: {event['error']}"
        if event["type"] == "fit_end":
            took = _duration(event["time"] - begun["time"])
            if event["stopped"]:
                return f"stopped after {event['epochs']} of {epochs} epochs, {took}"
            return f"{epochs} epochs, {took}"
    return f"epoch {min(int(_epochs_done(training)) + 1, epochs)}/{epochs}"


def _describe_metrics(training: Sequence[Event]) -> list[str]:
    """Return the latest value of every metric; validation is measured once an epoch."""
    latest: dict[str, float] = {}
    for event in training:
        latest.update(event.get("metrics", {}))
    return [f"{name} {value:.4g}" for name, value in latest.items()]


def _describe_pace(training: Sequence[Event]) -> list[str]:
    begun, last = training[0], training[-1]
    done = _epochs_done(training) - begun["initial_epoch"]
    elapsed = last["time"] - begun["time"]
    if done <= 0 or elapsed <= 0:
        return []
    left = elapsed / done * (begun["epochs"] - begun["initial_epoch"] - done)
    pace = [f"{done * begun['batches'] / elapsed:.0f} batches/s"] if begun["batches"] else []
    return [*pace, f"{_duration(left)} left"]


def _epochs_done(training: Sequence[Event]) -> float:
    """Return the number of epochs that are over, with the share of the present one if it is known."""
    begun, last = training[0], training[-1]
    if last["type"] == "epoch":
        return last["epoch"] + 1
    if last["type"] == "step":
        share = last["step"] / begun["batches"] if begun["batches"] else 0
        return last["epoch"] + share
    return begun["initial_epoch"]


def _duration(seconds: float) -> str:
    """Return seconds as minutes:seconds, or hours:minutes:seconds."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"

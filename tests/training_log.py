"""Events of a training, as its log holds them."""

from typing import Any

Event = dict[str, Any]
FIT = {
    "type": "fit", "time": 100.0, "attempt": 1, "epochs": 4, "batches": 50, "initial_epoch": 0,
    "batch_size": None, "monitor": None, "patience": None,
}  # fmt: skip
FINDING = {
    "type": "finding", "time": 103.0, "attempt": 1, "rule": "overfitting", "severity": "warning",
    "message": "The gap widened to 0.3.", "advice": "Stop earlier.", "evidence": {}, "source": "", "epoch": 1,
}  # fmt: skip
CONTROL = {
    "type": "control", "time": 104.0, "attempt": 1, "request": "a1", "action": "learning_rate",
    "value": 0.0001, "old": 0.001, "by": "panel", "epoch": 2, "step": 640,
}  # fmt: skip
BROKEN = {"type": "broken", "time": 104.0, "attempt": 1, "error": "KeyboardInterrupt"}
FAILED = {"type": "end", "time": 106.0, "attempt": 1, "status": "failed", "error": "Oom\nat line 3"}


def step(epoch: int, step: int, seconds: float, **metrics: float) -> Event:
    return {
        "type": "step", "time": 100.0 + seconds, "attempt": 1, "epoch": epoch, "step": step,
        "metrics": metrics,
    }  # fmt: skip


def epoch(epoch: int, seconds: float, took: float = 5.0, **metrics: float) -> Event:
    return {
        "type": "epoch", "time": 100.0 + seconds, "attempt": 1, "epoch": epoch, "seconds": took,
        "metrics": metrics,
    }  # fmt: skip


def fit_end(seconds: float, epochs: int = 4, **fields: Any) -> Event:
    event = {"type": "fit_end", "time": 100.0 + seconds, "seconds": seconds, "attempt": 1, "epochs": epochs}
    return event | {"stopped": epochs < 4, "reason": ""} | fields

"""The weights of the best epoch so far."""

import math
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from workbench.training.snapshot import copy_values, read_snapshot

_PREFIX = "best/"  # of the tensors' names


class BestEpoch:
    """Watch which epoch is best, and hold its weights: in memory, and in the first checkpoint after it.

    Args:
        early_stopping: What it monitors says which epoch is best; without it the one with the smallest
            `val_loss`, or `loss` where nothing is validated.
    """

    def __init__(self, early_stopping: keras.callbacks.EarlyStopping | None = None) -> None:
        self.early_stopping = early_stopping
        self.forget()

    def forget(self) -> None:
        """Know of no best epoch, as when a training begins."""
        self.epoch: int | None = None  # None also while the model itself holds the best weights
        self.file = ""  # the name of the checkpoint that holds them, once it is written
        self._value, self._watched = 0.0, ""
        self._weights: list[np.ndarray] = []

    def watch(self, epoch: int, logs: Mapping[str, float], model: keras.Model, whole: bool) -> None:
        """Compare an epoch with the best one, and keep its weights if it is better.

        Args:
            epoch: Which one has ended.
            logs: Its metrics.
            model: With the weights of its end.
            whole: False for an epoch that was cut short, which is no place to return to.
        """
        if self._is_better(logs):
            self.epoch, self.file = (epoch if whole else None), ""
            self._weights = copy_values(model.weights) if whole else []

    def collect(self, file: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what the checkpoint `file` notes, and the weights unless one before it holds them."""
        weights = {}
        if self.epoch is not None and not self.file:
            self.file = file
            weights = {f"{_PREFIX}{number:05d}": value for number, value in enumerate(self._weights)}
        noted = {"epoch": self.epoch, "file": self.file, "value": self._value, "watched": self._watched}
        return noted, weights

    def go_on(self, noted: Mapping[str, Any], other_folder: Path | None = None) -> None:
        """Know again what a checkpoint noted; of one in another folder, read the weights at once."""
        self.epoch, self.file = noted["epoch"], noted["file"]
        self._value, self._watched = noted["value"], noted["watched"]
        self._weights = []
        if other_folder and self.file:
            self._weights, self.file = _read_weights(other_folder / self.file), ""

    def put_back(self, model: keras.Model, folder: Path) -> int | None:
        """Give a model the weights of the best epoch and return that epoch; None where it has them.

        Raises:
            DamagedSnapshot: They were on disk only, and the file was altered.
        """
        if self.epoch is None:
            return None
        if not self._weights:
            self._weights = _read_weights(folder / self.file)
        for variable, value in zip(model.weights, self._weights, strict=True):
            variable.assign(value)
        return self.epoch

    def _is_better(self, logs: Mapping[str, float]) -> bool:
        if self.early_stopping:
            self._watched = self.early_stopping.monitor
        elif self._watched != "val_loss":
            watched = "val_loss" if "val_loss" in logs else "loss"
            if watched != self._watched:
                self.forget()  # a loss of training says nothing beside it
                self._watched = watched
        value = logs.get(self._watched)
        if value is None or math.isnan(value):
            return False
        # Early stopping has been through its own end of the epoch, where it finds its direction.
        better = self.early_stopping.monitor_op if self.early_stopping else operator.lt
        if self.epoch is not None and not better(value, self._value):
            return False
        self._value = float(value)
        return True


def _read_weights(path: Path) -> list[np.ndarray]:
    tensors = read_snapshot(path).tensors
    return [tensors[name] for name in sorted(tensors) if name.startswith(_PREFIX)]

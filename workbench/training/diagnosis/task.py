"""What a compiled model tells of its task."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

_CATEGORICAL = ("categorical_crossentropy", "sparse_categorical_crossentropy")
_BINARY = "binary_crossentropy"
_HARDER = (  # layers that act in training only
    "Dropout",
    "Noise",
    "Random",
    "MixUp",
    "CutMix",
    "Augment",
    "StochasticDepth",
    "DropPath",
)


@dataclass(frozen=True)
class Task:
    """One classification.

    Args:
        binary: Whether there is one probability, of class 1, in place of one for each class.
        from_logits: Whether the network's output still lacks softmax or sigmoid.
    """

    binary: bool
    from_logits: bool

    def probabilities(self, outputs: np.ndarray) -> np.ndarray | None:
        """Return (n, classes) probabilities of the network's output, None if it has another shape."""
        if outputs.ndim != 2 or (outputs.shape[1] == 1) != self.binary:
            return None
        outputs = outputs.astype(np.float64)
        if not np.isfinite(outputs).all() or not (self.from_logits or _are_probabilities(outputs)):
            return None
        if self.binary:
            positive = 1 / (1 + np.exp(-np.clip(outputs, -500, 500))) if self.from_logits else outputs
            return np.concatenate([1 - positive, positive], axis=1)
        if not self.from_logits:
            return outputs
        powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def labels(self, y: Any) -> np.ndarray | None:
        """Return (n,) int classes of the targets, None if they are no classes."""
        if not isinstance(y, np.ndarray) or y.dtype.kind not in "iufb":
            return None
        if y.ndim == 2 and y.shape[1] > 1:
            one_hot = np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all()
            return y.argmax(axis=1) if one_hot and not self.binary else None
        whole = y.reshape(len(y), -1)
        if whole.shape[1] != 1 or not (np.isfinite(whole).all() and (whole == np.floor(whole)).all()):
            return None
        classes = whole[:, 0].astype(np.int64)
        return None if classes.min() < 0 or (self.binary and classes.max() > 1) else classes


def _are_probabilities(outputs: np.ndarray) -> bool:
    sums = outputs.sum(axis=1) if outputs.shape[1] > 1 else 1.0
    return bool(((outputs >= 0) & (outputs <= 1)).all() and np.allclose(sums, 1, atol=0.02))


def read_task(model: keras.Model) -> Task | None:
    """Return the classification that a model is compiled for, None if it is compiled for anything else."""
    loss = getattr(model, "loss", None)
    if isinstance(loss, dict | list | tuple):
        values = list(loss.values()) if isinstance(loss, dict) else list(loss)
        loss = values[0] if len(values) == 1 else None
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    name = loss.name if isinstance(loss, keras.losses.Loss) else getattr(loss, "__name__", "")
    if type(loss) in (keras.losses.CategoricalCrossentropy, keras.losses.SparseCategoricalCrossentropy):
        name = _CATEGORICAL[0]
    elif type(loss) is keras.losses.BinaryCrossentropy:
        name = _BINARY
    elif isinstance(loss, keras.losses.Loss):
        return None
    if name not in (*_CATEGORICAL, _BINARY):
        return None
    return Task(name == _BINARY, bool(getattr(loss, "from_logits", False)))


def is_regularized(model: keras.Model) -> bool:
    """Tell whether training is made harder than validation by something in the model."""
    layers = model._flatten_layers(include_self=False)
    return bool(model.losses) or any(
        part in cls.__name__ for layer in layers for cls in type(layer).__mro__ for part in _HARDER
    )


def chance_loss(model: keras.Model, task: Task | None, labels: np.ndarray | None) -> float | None:
    """Return the cross-entropy of guessing by the frequency of classes, None if it is not known.

    Without labels all classes count as equally frequent. Penalties and smoothed labels move the loss away
    from a cross-entropy, so nothing is known then.
    """
    smoothed = getattr(model.loss, "label_smoothing", 0) or getattr(model.loss, "_fn_kwargs", {}).get(
        "label_smoothing", 0
    )
    if task is None or model.losses or smoothed:
        return None
    if labels is not None:
        part = np.bincount(labels) / len(labels)
        part = part[part > 0]
        return float(-(part * np.log(part)).sum()) or None
    if task.binary:
        return float(np.log(2))
    shape = getattr(model, "output_shape", None)
    classes = shape[-1] if isinstance(shape, tuple) and len(shape) == 2 else None
    return float(np.log(classes)) if classes else None

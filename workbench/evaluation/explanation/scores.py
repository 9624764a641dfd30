"""The score of a class before the softmax, whose gradient says what speaks for this class."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from workbench.errors import WorkbenchError

Scores = Callable[[Any], Any]


def require_tensorflow() -> None:
    """Check that gradients can be computed.

    Raises:
        WorkbenchError: Keras runs on another backend.
    """
    if keras.backend.backend() != "tensorflow":
        raise WorkbenchError(
            f"Explanations need the gradients of TensorFlow, but Keras runs on {keras.backend.backend()}.\n"
            "Start the notebook with KERAS_BACKEND=tensorflow; a saved model loads on any backend."
        )


def build_scores(model: keras.Model, *features: Any) -> keras.Model:
    """Return a model that gives the scores of the classes, and the given inner tensors beside them.

    The scores are what the last layer hands to its softmax; of a model without one, they are its outputs.

    Raises:
        WorkbenchError: The model is not functional, so its inside cannot be reached.
    """
    require_tensorflow()
    model = getattr(model, "_functional", None) or model  # what a Sequential model is inside
    last = model.layers[-1]
    try:
        model.input, last.input  # noqa: B018  (a subclassed model has none)
    except (AttributeError, ValueError) as error:
        raise WorkbenchError(
            f"The model {model.name} is subclassed or not built, so its layers cannot be reached.\n"
            "Build it by keras.Model(inputs, outputs) or keras.Sequential."
        ) from error
    activation = getattr(last, "activation", None)
    is_softmax = activation is not None and getattr(activation, "__name__", "") == "softmax"
    if isinstance(last, keras.layers.Dense) and is_softmax:
        scores = keras.ops.matmul(keras.ops.cast(last.input, "float32"), last.kernel.value)
        scores = scores + last.bias.value if last.use_bias else scores
    elif is_softmax:
        scores = last.input
    else:
        scores = model.output
    return keras.Model(model.input, [scores, *features] if features else scores)


def choose_classes(scores: Any, classes: Any) -> np.ndarray:
    """Return the class to explain for each sample: the given ones, else the one with the highest score."""
    if classes is None:
        return np.asarray(scores).argmax(axis=1)
    chosen = np.broadcast_to(np.asarray(classes), len(scores))
    if chosen.min() < 0 or chosen.max() >= scores.shape[1]:
        raise WorkbenchError(
            f"The class {int(chosen.max())} was asked for, but the network tells {scores.shape[1]} apart.\n"
            f"Give 0 to {scores.shape[1] - 1}."
        )
    return chosen


def take_classes(classes: Any, start: int, count: int) -> Any:
    """Return what of the classes to explain belongs to some samples; one class, or None, belongs to all."""
    if classes is None or np.ndim(classes) == 0:
        return classes
    return np.asarray(classes)[start : start + count]


def pick(scores: Any, classes: np.ndarray) -> Any:
    """Return the score of each sample's class, as a tensor (n,)."""
    import tensorflow as tf

    return tf.gather(scores, tf.constant(classes, tf.int32), axis=1, batch_dims=1)

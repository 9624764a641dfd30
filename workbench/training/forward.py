"""A network looked at from inside, layer by layer, without changing its training."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import keras
import numpy as np

from workbench.errors import WorkbenchError
from workbench.training.probe import Arrays, Samples, leaves

Seen = Callable[[keras.Layer, Any, Any], None]  # (layer, its first input, its output)


def can_look_inside() -> bool:
    """Tell whether layers can be called while `fit` runs; on JAX, `fit` holds the weights elsewhere.

    The gradients of a probe need TensorFlow as well, so that is the one backend that is supported.
    """
    return keras.backend.backend() == "tensorflow"


def require_inputs(model: keras.Model, samples: Samples) -> None:
    """Check that samples of a probe are what a network takes, as far as the network tells.

    Raises:
        WorkbenchError: They are not.
    """
    model = getattr(model, "_functional", None) or model  # what a Sequential model is inside
    try:
        expected = model.input
    except (AttributeError, ValueError):  # subclassed, or of layers that take any shape
        return
    if isinstance(expected, dict):
        given = samples.x if isinstance(samples.x, dict) else {}
        pairs = [(given.get(name), tensor) for name, tensor in expected.items()]
    else:
        flat, arrays = keras.tree.flatten(expected), leaves(samples.x)
        pairs = list(zip(arrays, flat, strict=True)) if len(arrays) == len(flat) else [(None, flat[0])]
    if not all(array is not None and _fits(array, tensor) for array, tensor in pairs):
        wanted = ", ".join(f"{tensor.name} {tensor.shape[1:]}" for tensor in keras.tree.flatten(expected))
        got = samples.x if isinstance(samples.x, dict) else {"x": leaves(samples.x)[0]}
        told = ", ".join(f"{name} {array.shape[1:]} of {array.dtype}" for name, array in got.items())
        raise WorkbenchError(
            f"The probe holds samples of {told}, but the network {model.name} takes {wanted}.\n"
            "Give what fit is given, such as probe=(x_val, y_val)."
        )


def compute_outputs(model: keras.Model, samples: Samples, seen: Seen, training: bool = False) -> Any:
    """Return what the network makes of the samples; `seen` hears of every layer when it is done."""
    with watch_calls(model, seen):
        return model(to_tensors(samples.x), training=training)


def compute_loss(model: keras.Model, samples: Samples, outputs: Any) -> Any:
    """Return the compiled loss of outputs, regularization included, as `fit` has it."""
    x, y = to_tensors(samples.x), to_tensors(samples.y)
    return model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=None)


def has_loss(model: keras.Model) -> bool:
    """Tell whether the loss of the model's training can be computed from outside of `fit`."""
    own_step = type(model).train_step is not keras.Model.train_step
    own_loss = type(model).compute_loss is not keras.Model.compute_loss
    return own_loss or (getattr(model, "loss", None) is not None and not own_step)


@contextmanager
def watch_calls(model: keras.Model, seen: Seen) -> Iterator[None]:
    """Call `seen` after every call of a layer inside the model, in the order in which they finish.

    A layer's parts finish before it does. `call` is an attribute looked up on the layer itself, so an
    instance can be given another one for a while; this works for subclassed and nested models alike.
    """
    layers = model._flatten_layers(include_self=False)  # the one way to a subclassed layer's parts
    replaced = {}
    for layer in layers:
        replaced[layer] = vars(layer).get("call")
        vars(layer)["call"] = _watched(layer, seen)
    try:
        yield
    finally:
        for layer, call in replaced.items():
            del vars(layer)["call"]
            if call is not None:
                vars(layer)["call"] = call


@contextmanager
def undisturbed(model: keras.Model) -> Iterator[None]:
    """Put back what a forward pass changes: moving statistics, seeds of dropout, and metrics."""
    variables = [*model.non_trainable_variables, *model.metrics_variables]
    with restored(variables):
        yield


@contextmanager
def restored(variables: Sequence[Any]) -> Iterator[None]:
    """Put back the values of variables."""
    values = [keras.ops.copy(variable) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)


def to_tensors(arrays: Arrays) -> Any:
    """Return arrays as tensors of the types that `fit` would make of them."""
    return keras.tree.map_structure(_to_tensor, arrays)


def to_array(tensor: Any) -> np.ndarray:
    """Return a tensor as an array; one of half precision as float32, since numpy lacks bfloat16."""
    if keras.backend.standardize_dtype(tensor.dtype) in ("bfloat16", "float16"):
        tensor = keras.ops.cast(tensor, "float32")
    return keras.ops.convert_to_numpy(tensor)


def name_layer(model: keras.Model, weight: Any) -> str:
    """Return the path of the layer that a weight belongs to, from the model on."""
    return weight.path.rpartition("/")[0].removeprefix(f"{model.name}/")


def all_finite(arrays: Any) -> bool:
    """Tell whether no floating number of an array, or of a structure of arrays, is NaN or infinite."""
    floating = [array for array in map(np.asarray, keras.tree.flatten(arrays)) if array.dtype.kind == "f"]
    return all(np.isfinite(array).all() for array in floating)


def finite_rows(arrays: Arrays) -> np.ndarray:
    """Return (n,) bool: which samples are free of NaN and infinity."""
    good = np.ones(len(leaves(arrays)[0]), bool)
    for array in leaves(arrays):
        if array.dtype.kind == "f":
            good &= np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    return good


def is_eager(value: Any) -> bool:
    """Tell whether `value` is one tensor with numbers in it, not a symbolic one of a graph."""
    import tensorflow as tf

    return tf.is_tensor(value) and not tf.is_symbolic_tensor(value) and hasattr(value, "numpy")


def _watched(layer: keras.Layer, seen: Seen) -> Callable[..., Any]:
    call = layer.call

    @wraps(call)
    def watched(*args: Any, **kwargs: Any) -> Any:
        output = call(*args, **kwargs)
        seen(layer, next(iter((*args, *kwargs.values())), None), output)
        return output

    return watched


def _fits(array: np.ndarray, tensor: keras.KerasTensor) -> bool:
    """Tell whether an array can be fed to an input; an axis of length 1 at the end may be missing."""
    if (array.dtype.kind in "TUO") != (tensor.dtype == "string"):
        return False
    shape, wanted = list(array.shape[1:]), list(tensor.shape[1:])
    while shape and shape[-1] == 1:
        shape.pop()
    while wanted and wanted[-1] in (1, None) and len(wanted) > len(shape):
        wanted.pop()
    same = (b is None or a == b for a, b in zip(shape, wanted, strict=False))
    return len(shape) == len(wanted) and all(same)


def _to_tensor(array: np.ndarray) -> Any:
    import tensorflow as tf

    if array.dtype == np.float64:
        array = array.astype(keras.backend.floatx())
    return tf.convert_to_tensor(array.tolist() if array.dtype.kind in "TUO" else array)

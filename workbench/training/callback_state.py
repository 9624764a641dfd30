"""What the callbacks of a training know beyond how they were set: patience used up, best values, history."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

Tensors = dict[str, np.ndarray]

# The first end of an epoch gives min_delta its sign, together with a function; that happens anew.
_OF_KERAS = frozenset({"_model", "params", "validation_data", "min_delta"})


class CallbackStates:
    """Remember how callbacks begin a training, so that what changed since can be kept and put back.

    What did not change is left as the next attempt sets it: a longer patience in the notebook counts. An
    attribute counts if it is a number, text, array, or a list or mapping of these; others, such as open
    files, are the callback's own affair.

    Args:
        callbacks: In their order; their training has begun (`on_train_begin` was called).
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        self.callbacks = callbacks
        self._fresh = [_plain_attributes(callback) for callback in callbacks]

    def collect(self) -> tuple[list[dict[str, Any]], Tensors]:
        """Return for each callback its changed attributes, and the arrays among them by name."""
        tensors: Tensors = {}
        states = []
        for number, (callback, fresh) in enumerate(zip(self.callbacks, self._fresh, strict=True)):
            changed = {
                name: value
                for name, value in _plain_attributes(callback).items()
                if name not in fresh or not _equal(value, fresh[name])
            }
            packed = {
                name: _pack(value, f"callback/{number}/{name}", tensors) for name, value in changed.items()
            }
            states.append({"class": type(callback).__name__, "attributes": packed})
        return states, tensors

    def put_back(self, states: Sequence[Mapping[str, Any]], tensors: Mapping[str, np.ndarray]) -> None:
        """Give the callbacks the attributes that `collect` returned of the first, second … of their class."""
        left = list(states)
        for callback in self.callbacks:
            own = next((state for state in left if state["class"] == type(callback).__name__), None)
            if own:
                left.remove(own)
                for name, value in own["attributes"].items():
                    setattr(callback, name, _unpack(value, tensors))


def describe_callbacks(callbacks: Sequence[keras.callbacks.Callback]) -> list[Any]:
    """Return the classes of callbacks with their numbers, which decide what they do to a training."""
    return [
        [type(callback).__name__, {k: v for k, v in _plain_attributes(callback).items() if _is_number(v)}]
        for callback in callbacks
    ]


def read_random_state() -> tuple[dict[str, Any], Tensors]:
    """Return the states of the generators that code without one of its own draws from."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    facts = {"python": [version, gauss], "numpy": [name, position, has_gauss, cached]}
    tensors = {
        "random/python": np.array(words, np.uint32),
        "random/numpy": np.array(keys, np.uint32),
    }
    if (generator := global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)) is not None:
        tensors["random/keras"] = np.array(keras.ops.convert_to_numpy(generator.state))
    return facts, tensors


def restore_random_state(facts: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Let these generators go on from the states that `read_random_state` returned."""
    version, gauss = facts["python"]
    random.setstate((version, tuple(map(int, tensors["random/python"])), gauss))
    name, *rest = facts["numpy"]
    np.random.set_state((name, tensors["random/numpy"], *rest))
    generator = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    if generator is not None and "random/keras" in tensors:
        generator.state.assign(tensors["random/keras"])


def _plain_attributes(callback: keras.callbacks.Callback) -> dict[str, Any]:
    return {
        name: _copy(value)
        for name, value in vars(callback).items()
        if name not in _OF_KERAS and _is_plain(value)
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float | np.number | np.bool_)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biuf" or value.dtype.isbuiltin == 2  # bfloat16 and the like
    return value is None or isinstance(value, str) or _is_number(value)


def _copy(value: Any) -> Any:
    """Return a copy that does not change with the original; arrays are only ever replaced."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return one is other
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))


def _pack(value: Any, name: str, tensors: Tensors) -> Any:
    """Return `value` as JSON, with a name in place of every array."""
    if isinstance(value, np.ndarray):
        tensors[name] = value if value.dtype.isbuiltin == 1 else value.astype("float32")
        return {"array": name}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_pack(item, f"{name}/{number}", tensors) for number, item in enumerate(value)]}
    if isinstance(value, dict):
        return {"dict": {key: _pack(item, f"{name}/{key}", tensors) for key, item in value.items()}}
    return {"value": value}


def _unpack(packed: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Any:
    ((kind, value),) = packed.items()
    if kind == "array":
        return tensors[value]
    if kind in ("list", "tuple"):
        items = [_unpack(item, tensors) for item in value]
        return items if kind == "list" else tuple(items)
    if kind == "dict":
        return {key: _unpack(item, tensors) for key, item in value.items()}
    return value

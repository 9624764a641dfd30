"""What a training must have in common with a checkpoint to go on from it."""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import keras

from workbench.datasets.batches import Batches
from workbench.models.recomputation import is_recomputed
from workbench.provenance import is_deterministic, thread_settings
from workbench.runs import Run
from workbench.training.snapshot import digest_arrays

Key = dict[str, str]


def resume_key(model: keras.Model, run: Run, batches: Batches | None) -> Key:
    """Return a digest of each part that decides what a training does; epochs and paths are no such part.

    Args:
        model: Compiled, before anything of a checkpoint is restored.
        run: Its recorded dataset and its parameter `seed`.
        batches: What the model is trained with, if they are the workbench's.
    """
    dataset = (run.details.get("dataset") or {}).get("fingerprint")
    if dataset is None and batches is not None:
        dataset = digest_arrays(batches.inputs) + digest_arrays(batches.targets)
    parts = {
        "model": digest_model(model),
        "compile": _describe_compilation(model),
        "dataset": dataset,
        "batches": batches.settings() if batches is not None else None,
        "seed": run.parameters.get("seed"),
        "precision": keras.config.dtype_policy().name,
        "threads": [thread_settings(), len(os.sched_getaffinity(0)), keras.backend.backend()],
        "deterministic": is_deterministic(),
    }
    return {name: _digest(part) for name, part in parts.items()}


def digest_model(model: keras.Model) -> str:
    """Return the identity of a network with its precision, and of which weights are trained."""
    return _digest(_describe_model(model))


def differing_parts(key: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the names of the parts in which two keys differ."""
    return [name for name in key if key[name] != other.get(name)]


def _describe_model(model: keras.Model) -> Any:
    """Return the configuration of a model without the numbers that Keras puts behind names."""
    try:
        config = model.get_config()
    except NotImplementedError:  # a subclassed model that does not tell what it was built with
        return [[variable.path.rpartition("/")[2], list(variable.shape)] for variable in model.variables]
    trained = [[list(weight.shape), weight.trainable] for weight in model.weights]
    recomputed = [is_recomputed(layer) for layer in model._flatten_layers()]  # no configuration tells of it
    return [_without_names(config), trained, recomputed]


def _describe_compilation(model: keras.Model) -> Any:
    try:
        config = dict(model.get_compile_config())
    except (TypeError, ValueError, NotImplementedError):  # a loss or metric that cannot be serialized
        config = {"optimizer": model.optimizer.get_config()}
    config.pop("steps_per_execution", None)  # the same steps, more or fewer of them a call
    return _without_names({**config, "jit_compile": bool(model.jit_compile)})


def _without_names(config: Any) -> Any:
    """Return a configuration with every name of a layer replaced by a number in order of appearance.

    Keras counts layers through the life of a process: the second "dense" of a kernel may be the first
    one of its model. Seeds are left out as well: layers without one draw it when they are built.
    """
    plain = json.loads(json.dumps(config, default=_plain))
    numbers: dict[str, str] = {}
    _collect_names(plain, numbers)
    return _replace(plain, numbers)


def _collect_names(value: Any, numbers: dict[str, str]) -> None:
    if isinstance(value, dict):
        name = value.get("name")
        if isinstance(name, str):
            numbers.setdefault(name, f"#{len(numbers)}")
        for item in value.values():
            _collect_names(item, numbers)
    elif isinstance(value, list):
        for item in value:
            _collect_names(item, numbers)


def _replace(value: Any, numbers: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if key != "seed"}
        return {numbers.get(key, key): _replace(item, numbers) for key, item in kept.items()}
    if isinstance(value, list):
        return [_replace(item, numbers) for item in value]
    return numbers.get(value, value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """Return what JSON does not know as text without an address of memory."""
    if isinstance(value, keras.KerasTensor | keras.Variable):
        return [list(value.shape), str(value.dtype)]
    if hasattr(value, "get_config"):
        return [type(value).__name__, value.get_config()]
    return getattr(value, "__name__", None) or type(value).__name__


def _digest(part: Any) -> str:
    text = json.dumps(part, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]

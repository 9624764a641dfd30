"""Parts of a network that are not trained: what they make of a split is computed once and kept."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from workbench.datasets import Split
from workbench.datasets.kept import keep_arrays
from workbench.errors import WorkbenchError


def compute_features(
    frozen: keras.Model,
    split: Split,
    batch_size: int = 64,
    *,
    mask: str = "",
    cache_dir: str | Path | None = None,
) -> Split:
    """Return a split whose input is what a frozen network makes of another one's.

    It is computed the first time, without dropout, and kept under data/cache/features/ for these weights and
    samples. A head that is trained on it never runs what is before it:

        encoder = text.build_encoder("minilm-l6", tokenizer, frozen_layers=7)
        pooled = keras.Model(encoder.input, GlobalAveragePooling1D()(encoder.output, mask=…))
        features = compute_features(pooled, tokens["train"], mask="padding_mask")
        head.fit(features.batches(32, seed=seed), epochs=50)
        network = keras.Model(pooled.input, head(pooled.output))  # for raw tokens again

    Args:
        frozen: A model with one output and no weight that is trained.
        split: What the model takes.
        batch_size: Samples that go through the model at a time; without influence on what comes out.
        mask: As for `Split.batches`, where the output has no axis of that length.
        cache_dir: Where features are kept; data/cache of the project by default.

    Raises:
        WorkbenchError: A weight of the model is trained, or it has several outputs.
    """
    _check(frozen)

    def compute() -> dict[str, np.ndarray]:
        batches = split.batches(batch_size, shuffle=False, mask=mask)
        return {"features": frozen.predict(batches, verbose=0)}  # (n, …)

    features = keep_arrays("features", _identity(frozen, split), compute, cache_dir)
    return Split(features, split.targets, split.ids)


def _check(frozen: keras.Model) -> None:
    if len(frozen.outputs) != 1:
        raise WorkbenchError(
            f"Features were to be taken of a model with {len(frozen.outputs)} outputs.\n"
            "Give a keras.Model with the one that the head takes."
        )
    if frozen.trainable_weights:
        raise WorkbenchError(
            f"Features were to be kept of the model {frozen.name}, but it is trained: "
            f"{len(frozen.trainable_weights)} of its weights may change.\n"
            "Freeze it with model.trainable = False, or train it with the head."
        )


def _identity(frozen: keras.Model, split: Split) -> str:
    digest = hashlib.sha256(json.dumps([layer.dtype_policy.name for layer in frozen.layers]).encode())
    digest.update(json.dumps(_structure(frozen.get_config()), sort_keys=True, default=str).encode())
    for array in (*map(keras.ops.convert_to_numpy, (each.value for each in frozen.weights)),):
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    for name, array in sorted(split.inputs.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:32]


def _structure(config: Any) -> Any:
    """Return classes and settings of layers without their names, which are counted through a process."""
    if isinstance(config, Mapping):
        return {
            key: _structure(value)
            for key, value in config.items()
            if key not in ("name", "seed", "keras_history")
        }
    return [_structure(value) for value in config] if isinstance(config, list | tuple) else config

"""Where NaN or infinity comes from."""

import time
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from workbench.findings import Finding
from workbench.training.diagnosis.thresholds import Thresholds
from workbench.training.forward import (
    all_finite,
    can_look_inside,
    compute_loss,
    compute_outputs,
    finite_rows,
    has_loss,
    is_eager,
    name_layer,
    restored,
    to_array,
    undisturbed,
)
from workbench.training.probe import Samples
from workbench.training.snapshot import copy_values

_SOURCE = (
    "Goodfellow, Bengio and Courville 2016, Deep Learning, sections 4.1 and 11.5, "
    "https://www.deeplearningbook.org"
)
_ADVICE = {
    "inputs": "Remove or mend these samples, for instance with np.nan_to_num, before training.",
    "targets": "Remove or mend the targets of these samples before training.",
    "weights": "Lower the learning rate or clip gradients (clipnorm=1.0), and check the scale of the inputs.",
    "layer": "Look for a division by 0, a logarithm of 0 or an overflow in this layer, or for huge weights.",
    "loss": "Look for a logarithm of 0 or a division by 0 in the loss, and prefer from_logits=True.",
    "gradient": "Look for a square root or a norm of 0, whose slope is infinite, and add something small.",
    "": "Lower the learning rate or clip gradients (clipnorm=1.0), and check inputs for huge numbers.",
}


class Snapshot:
    """The last good weights, from which the samples of the probe are replayed."""

    def __init__(self, model: keras.Model) -> None:
        self._values = copy_values(model.weights)

    @contextmanager
    def loaded(self, model: keras.Model) -> Any:
        """Give the model these weights for a while."""
        with restored(model.weights):
            for weight, value in zip(model.weights, self._values, strict=True):
                weight.assign(value)
            yield

    @property
    def finite(self) -> bool:
        return all_finite(self._values)


def find_nonfinite(
    what: str,
    epoch: int,
    model: keras.Model | None,
    replayed: Sequence[Samples],
    good: Snapshot | None,
    thresholds: Thresholds,
    first: int | None = None,
) -> Finding:
    """Tell where NaN or infinity comes from, as far as can be known.

    Args:
        what: Where it was seen, as the beginning of a sentence: "The loss became NaN in …".
        epoch: The current one.
        model: The network; None if only a log is known.
        replayed: Batches to be replayed, if there are any.
        good: The last weights without NaN.
        thresholds: How long to search.
        first: The number of the first of these batches in its epoch, counted from 0; None if they are not
            the batches of the training.
    """
    place, where, evidence = "", "", {}
    if model is not None and replayed:
        place, where, evidence = _replay(model, replayed, good, thresholds.replay_seconds, first)
    bad = [] if model is None else _bad_weights(model)
    if bad:
        evidence = evidence | {"weights": bad[:10]}
        if not place:
            where += f"; {'and ' if where else ''}the first weights that are not finite belong to {bad[0]}"
            place = "weights"
    return Finding(
        "nonfinite", "error", f"{what}{where}.", _ADVICE[place], evidence | {"place": place}, _SOURCE, epoch
    )


def _replay(
    model: keras.Model, batches: Sequence[Samples], good: Snapshot | None, seconds: float, first: int | None
) -> tuple[str, str, dict[str, Any]]:
    """Return the place where NaN begins, what to say of it, and the evidence; "" where all was well."""
    total = sum(map(len, batches))
    for place, field in (("inputs", "x"), ("targets", "y")):
        ids = np.concatenate([each.ids[~finite_rows(getattr(each, field))] for each in batches])
        if len(ids):
            shown = ", ".join(map(str, ids[:3]))
            return place, f": the {place} of {len(ids)} of {total} samples are not finite ({shown})", {
                "samples": ids[:10].tolist(), "count": len(ids),
            }  # fmt: skip
    if good is None or not good.finite or not can_look_inside():
        return "", "", {}
    until = time.perf_counter() + seconds
    seen = 0
    with good.loaded(model), undisturbed(model):
        for number, batch in enumerate(batches, first or 0):
            found = _first_bad(model, batch)
            if found:
                ids = batch.ids[:3].tolist()
                name = f"layer {found[1]}" if found[0] == "layer" else f"the {found[0]}"
                name += f" of {found[1]}" if found[0] == "gradient" else ""
                where = f": with the last good weights, {name} is the first that is not finite, in batch "
                where += f"{number + 1}{' of the replayed samples' if first is None else ''}"
                where += f" ({ids[0]} to {batch.ids[-1]})"
                return found[0], where, {"layer": found[1], "batch": number, "samples": batch.ids.tolist()}
            seen += len(batch)
            if time.perf_counter() > until:
                break
    return "", f"; {seen} samples replayed with the last good weights gave no such number", {"replayed": seen}


def _first_bad(model: keras.Model, batch: Samples) -> tuple[str, str] | None:
    """Return ("layer", its name), ("loss", "") or ("gradient", of which layer), whichever comes first."""
    import tensorflow as tf

    bad: list[str] = []

    def look(layer: keras.Layer, _: Any, output: Any) -> None:
        tensors = [tensor for tensor in keras.tree.flatten(output) if is_eager(tensor)]
        if not bad and not all(all_finite(to_array(tensor)) for tensor in tensors):
            bad.append(layer.name)

    with tf.GradientTape() as tape:
        outputs = compute_outputs(model, batch, look, training=True)
        if bad:
            return "layer", bad[0]
        if not has_loss(model):
            return None
        loss = compute_loss(model, batch, outputs)
    if not all_finite(to_array(loss)):
        return "loss", ""
    weights = model.trainable_weights
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    for weight, gradient in reversed(list(zip(weights, gradients, strict=True))):  # as they are computed
        if gradient is not None and not all_finite(to_array(tf.convert_to_tensor(gradient))):
            return "gradient", name_layer(model, weight)
    return None


def _bad_weights(model: keras.Model) -> Sequence[str]:
    """Return the paths of layers with weights that are not finite, in the order of the model."""
    bad = [name_layer(model, w) for w in model.weights if not all_finite(to_array(keras.ops.copy(w)))]
    return list(dict.fromkeys(bad))

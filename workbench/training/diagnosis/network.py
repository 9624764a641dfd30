"""Rules about what happens inside the network: activations, outputs and gradients of probe samples."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from workbench.findings import Finding
from workbench.training.diagnosis.thresholds import Thresholds
from workbench.training.forward import all_finite, compute_outputs, is_eager, to_array
from workbench.training.layers import Gradients
from workbench.training.probe import Samples

ENOUGH = 64  # samples without which a unit is not called dead
_RELU = (keras.activations.relu, keras.activations.relu6)
_SCALES_ITSELF = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
)


@dataclass
class Observation:
    """What was seen while samples went through the network."""

    count: int = 0  # samples
    outputs: list[np.ndarray] = field(default_factory=list)  # one array a batch, if there is one output
    alive: dict[str, np.ndarray] = field(default_factory=dict)  # (units,) bool of each layer with relu
    weighted: list[keras.Layer] = field(default_factory=list)  # layers with weights, in depth order
    squares: float = 0.0  # sum of squares of what the first of them was given
    numbers: int = 0  # how many numbers that were
    largest: float = 0.0  # absolute value among them
    finite: bool = True

    def see(self, layer: keras.Layer, value: Any, output: Any) -> None:
        """Take note of one call of a layer."""
        if layer.weights and not any(layer is known for known in self.weighted):
            self.weighted.append(layer)
        if layer.weights and layer is self.weighted[0] and is_eager(value):
            numbers = to_array(value).astype(np.float64)
            self.squares += float(np.square(numbers).sum())
            self.numbers += numbers.size
            self.largest = max(self.largest, float(np.abs(numbers).max(initial=0)))
        if _is_relu(layer) and is_eager(output) and len(output.shape) > 1:
            first = getattr(layer, "data_format", None) == "channels_first"
            others = [
                axis for axis in range(len(output.shape)) if axis != (1 if first else len(output.shape) - 1)
            ]
            alive = to_array(keras.ops.any(output > 0, axis=others))
            known = self.alive.get(layer.name)
            self.alive[layer.name] = alive if known is None or known.shape != alive.shape else known | alive


def observe(model: keras.Model, samples: Samples, seconds: float) -> Observation:
    """Send samples through the network, batch by batch until the time is up, at least one batch."""
    seen = Observation()
    until = time.perf_counter() + seconds
    for batch in samples.batches():
        outputs = compute_outputs(model, batch, seen.see)
        seen.count += len(batch)
        if is_eager(outputs):
            seen.outputs.append(to_array(outputs))
            seen.finite &= all_finite(seen.outputs[-1])
        if time.perf_counter() > until or not seen.finite:
            break
    return seen


def find_dead_units(seen: Observation, thresholds: Thresholds, epoch: int) -> Finding | None:
    """Many relu units of a layer are 0 for every sample."""
    dead = {name: float(1 - alive.mean()) for name, alive in seen.alive.items()}
    if not dead or seen.count < ENOUGH or max(dead.values()) < thresholds.dead:
        return None
    worst = max(dead, key=lambda name: dead[name])
    units = len(seen.alive[worst])
    return Finding(
        "dead_relu",
        "error" if dead[worst] == 1 else "warning",
        f"{round(dead[worst] * units)} of {units} relu units of layer {worst} are 0 for all of {seen.count} "
        "samples and learn nothing.",
        "Lower the learning rate, check the scale of the inputs, use He initialization (he_normal), or try "
        "leaky_relu or gelu.",
        {"dead": dead, "samples": seen.count},
        "Lu et al. 2019, Dying ReLU and Initialization, https://arxiv.org/abs/1903.06733",
        epoch,
    )


def find_saturation(
    probabilities: np.ndarray, labels: np.ndarray, thresholds: Thresholds, epoch: int
) -> Finding | None:
    """Many samples are mistaken with a probability of all but 1.

    That a trained network is certain where it is right is no fault.

    Args:
        probabilities: (n, classes).
        labels: (n,) int.
        thresholds: When to speak.
        epoch: The current one.
    """
    certain = probabilities.max(axis=1) >= thresholds.saturation
    wrong = probabilities.argmax(axis=1) != labels
    part = float((certain & wrong).mean())
    if len(labels) < ENOUGH // 2 or part < thresholds.saturated_mistakes or certain[wrong].mean() < 0.5:
        return None
    return Finding(
        "saturated_softmax",
        "warning",
        f"{(certain & wrong).sum()} of {len(labels)} samples are mistaken with a probability of at least "
        f"{thresholds.saturation:.4g}, {certain[wrong].mean():.0%} of all mistakes.",
        "Check the scale of the inputs, lower the learning rate, or try weight decay, label smoothing or "
        "earlier stopping.",
        {"saturated_mistakes": part, "mistakes": float(wrong.mean()), "samples": len(labels)},
        "Guo et al. 2017, On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599; "
        "Goodfellow, Bengio and Courville 2016, Deep Learning, section 6.2.2.3",
        epoch,
    )


def find_unscaled_inputs(seen: Observation, thresholds: Thresholds, epoch: int) -> Finding | None:
    """The first trainable layer is given numbers that are much too large or too small.

    Silent where the layer looks up whole numbers or normalizes, where the layer after it normalizes, and
    where its weights are frozen: then they were learned with these inputs.
    """
    if not seen.weighted or not seen.numbers or not seen.weighted[0].trainable_weights:
        return None
    first = seen.weighted[0]
    if isinstance(first, keras.layers.Embedding) or any(
        isinstance(layer, _SCALES_ITSELF) for layer in seen.weighted[:2]
    ):
        return None
    size = math.sqrt(seen.squares / seen.numbers)
    if not math.isfinite(size) or seen.largest == 0:
        return None
    large, small = size > thresholds.large_inputs, seen.largest < thresholds.small_inputs
    if not (large or small):
        return None
    advice = (
        "Scale inputs to about zero mean and unit variance (keras.layers.Normalization), or pixels to 0…1 "
        "(keras.layers.Rescaling(1/255))."
        if large
        else "Check whether inputs are scaled twice, and bring them to about unit variance."
    )
    return Finding(
        "unscaled_input",
        "warning",
        f"The first trainable layer, {first.name}, is given numbers up to {seen.largest:.3g} with a root "
        f"mean square of {size:.3g}, where about 1 is best.",
        advice,
        {"layer": first.name, "root_mean_square": size, "largest": seen.largest, "samples": seen.count},
        "LeCun et al. 1998, Efficient BackProp, section 4.3, "
        "http://yann.lecun.com/exdb/publis/pdf/lecun-98b.pdf",
        epoch,
    )


def find_vanishing_gradients(gradients: Gradients, thresholds: Thresholds, epoch: int) -> Finding | None:
    """The gradients of the first layers are tiny beside those of the last ones."""
    ends = _first_and_last(gradients)
    if ends is None or ends[0] >= thresholds.vanishing * ends[1]:
        return None
    first, last = gradients.groups[0], gradients.groups[-1]
    return Finding(
        "vanishing_gradients",
        "warning",
        f"The gradient norm is {ends[0]:.2g} in the first layers ({first.name}) and {ends[1]:.2g} in the "
        f"last ones ({last.name}), so that the first hardly learn.",
        "Try relu or gelu in place of sigmoid or tanh, He or Glorot initialization, batch or layer "
        "normalization, or residual connections.",
        {"groups": [vars(group) for group in gradients.groups], "loss": gradients.loss},
        "Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks, "
        "https://proceedings.mlr.press/v9/glorot10a.html",
        epoch,
    )


def find_exploding_gradients(
    gradients: Gradients, baseline: float | None, thresholds: Thresholds, epoch: int
) -> Finding | None:
    """Gradients grow on the way to the first layers, or are huge altogether.

    Args:
        gradients: Of a batch of the probe.
        baseline: The loss of a network that has not learned anything, if that is known.
        thresholds: When to speak.
        epoch: The current one.
    """
    norms = [group.gradient_norm for group in gradients.groups]
    total = math.hypot(*norms)
    ends = _first_and_last(gradients)
    grows = ends is not None and ends[0] > thresholds.exploding * ends[1]
    huge = baseline is not None and total > thresholds.exploding * baseline
    if not math.isfinite(gradients.loss) or not (grows or huge or not math.isfinite(total)):
        return None
    worst = max(gradients.groups, key=lambda group: _or_infinite(group.gradient_norm))
    return Finding(
        "exploding_gradients",
        "warning" if math.isfinite(total) else "error",
        f"The gradient norm is {total:.3g} at a loss of {gradients.loss:.3g}, {worst.gradient_norm:.3g} in "
        f"{worst.name} and {norms[-1]:.3g} in {gradients.groups[-1].name}.",
        "Clip gradients (clipnorm=1.0 in the optimizer), lower the learning rate, check the scale of inputs "
        "and targets, or normalize between layers.",
        {"groups": [vars(group) for group in gradients.groups], "loss": gradients.loss, "norm": total},
        "Pascanu, Mikolov and Bengio 2013, On the difficulty of training recurrent neural networks, "
        "https://proceedings.mlr.press/v28/pascanu13.html",
        epoch,
    )


def _first_and_last(gradients: Gradients) -> tuple[float, float] | None:
    """Return the larger norm of the first two groups and of the last two; None if too few, or none is left.

    Two, because one layer alone may have a reason of its own: a bias, a token that does not occur.
    """
    norms = [group.gradient_norm for group in gradients.groups]
    if len(norms) < 4 or not all(map(math.isfinite, norms)):
        return None
    first, last = max(norms[:2]), max(norms[-2:])
    return (first, last) if last > 1e-8 else None


def _or_infinite(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _is_relu(layer: keras.Layer) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return not layer.negative_slope and not layer.threshold
    return any(getattr(layer, "activation", None) is relu for relu in _RELU)

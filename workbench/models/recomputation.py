"""Gradient checkpointing: layers that keep their input alone, and are computed again for their gradients."""

from typing import Any

import keras


def recompute(layer: keras.layers.Layer) -> None:
    """Let a layer keep nothing but its input for the backward pass, which computes the rest again.

    That is Chen et al. 2016 (https://arxiv.org/abs/1604.06174) with one segment a layer: much less memory for
    a further forward pass, and the same gradients, but for rounding in bfloat16 or by XLA. How a layer is
    saved and predicts stays as it is. `keras.RematScope` would do the same, but on TensorFlow it fails with
    arguments by name, and draws dropout anew in the second pass.

    Args:
        layer: Built, of one input and one output, without moving statistics.
    """
    layer.call = _Recomputed(layer)


def is_recomputed(layer: keras.layers.Layer) -> bool:
    """Tell whether a layer was given to `recompute`."""
    return isinstance(vars(layer).get("call"), _Recomputed)


class _Recomputed:
    """The `call` of a layer, with seeds that are drawn before it, so that both passes have the same ones."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        self._call = layer.call
        weights = set(map(id, layer.weights))
        self._seeds = [each for each in layer.variables if id(each) not in weights]

    def __call__(self, inputs: Any, **options: Any) -> Any:
        if not options.get("training"):
            return self._call(inputs, **options)
        before = [(seed, keras.ops.copy(seed)) for seed in self._seeds]

        def run(inputs: Any) -> tuple[Any, ...]:
            with keras.StatelessScope(state_mapping=before) as scope:
                outputs = self._call(inputs, **options)
                return outputs, *(scope.get_current_value(seed) for seed in self._seeds)

        outputs, *after = keras.remat(run)(inputs)
        for seed, value in zip(self._seeds, after, strict=True):
            seed.assign(value)
        return outputs

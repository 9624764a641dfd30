"""What ways to fine-tune a transformer take in memory and time: estimated before training, measured after."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np
import pandas as pd
import psutil

from workbench.errors import WorkbenchError
from workbench.runs import Run, show_path

if TYPE_CHECKING:
    from workbench.datasets.batches import Batches

MIB = 2**20
_FLOAT = 4  # bytes of a float32


@dataclass(frozen=True)
class Way:
    """Which weights are trained, and in how many parts a step of the optimizer takes its samples."""

    frozen_layers: int = 0  # counted from the input; the embeddings are the first
    lora_rank: int = 0
    accumulation: int = 1
    gradient_checkpointing: bool = False

    def describe(self, layers: int) -> str:
        """Return it in words, for a network of so many layers."""
        words = "all weights"
        if self.lora_rank:
            words = f"LoRA of rank {self.lora_rank}"
        elif self.frozen_layers:
            words = f"{self.frozen_layers} of {layers} layers frozen"
        words += ", gradient checkpointing" if self.gradient_checkpointing else ""
        return words if self.accumulation == 1 else f"{words}, {self.accumulation} batches accumulated"


def estimate_ways(
    network: keras.Model,
    batches: "Batches",
    frozen_layers: int = 0,
    lora_rank: int = 0,
    accumulation: int = 1,
    gradient_checkpointing: bool = False,
) -> pd.DataFrame:
    """Return what the chosen way to fine-tune and the usual others are expected to take; nothing is trained.

    All take the same steps. The numbers are rough estimates, for float32 and without compilation:

    - `estimated_training_mib`: weights; gradients; what the optimizer keeps, by its present number of values
      a weight; and activations of the longest batch by Korthikanti et al. 2022
      (https://arxiv.org/abs/2205.05198, section 4.1), per layer 8 values of the encoder's and 2 of the inner
      width a token, 2 values for each pair of tokens and head, and the masks of dropout, for the layers
      through which gradients go. Gradient checkpointing keeps their inputs and the values of one of them.
    - `estimated_process_mib_at_least`: the process as it is now, and what of these it does not hold yet.
      Tracing the step and temporary arrays are not in it; with MiniLM on TensorFlow they took 0.4 to 1 GiB.
    - `estimated_epoch_seconds`: one forward pass, timed now, for all tokens with their padding; a backward
      pass takes as much for the gradients of activations and again for those of weights (Kaplan et al. 2020,
      https://arxiv.org/abs/2001.08361, section 2.1). LoRA spares the latter, frozen layers both, and
      gradient checkpointing adds a forward pass of the layers that they go through. Without validation, and
      without the seconds in which the first epoch traces the step.

    Args:
        network: Compiled, with an encoder of `build_encoder` in it, and with a built optimizer.
        batches: What it will be trained with, grouped by length.
        frozen_layers: As the encoder was built.
        lora_rank: As the encoder was built.
        accumulation: Batches whose gradients together make one step, as the optimizer was told.
        gradient_checkpointing: As the encoder was built.

    Raises:
        WorkbenchError: There is no such encoder in the network, its optimizer is not built, or the batches
            are not grouped by length.
    """
    _check(network, batches)
    chosen = Way(frozen_layers, lora_rank, accumulation, gradient_checkpointing)
    sizes = _Sizes.of(network)
    layers = len(sizes.layers) + 1
    others = [Way(), Way(lora_rank=8), Way(frozen_layers=layers // 2 + 1), Way(frozen_layers=layers)]
    batch_size = batches.batch_size * accumulation
    others += [Way(gradient_checkpointing=True)]
    others += [Way(accumulation=4)] if batch_size >= 4 else []
    state = sum(math.prod(each.shape) for each in network.optimizer.variables) * _FLOAT
    slots = round(state / _FLOAT / max(1, sizes.trained(chosen))) - (accumulation > 1)
    present = psutil.Process().memory_info().rss - state
    forward = _time_forward(network, batches)
    rows = []
    for way in dict.fromkeys([chosen, *others]):
        trained = sizes.trained(way)
        kept = trained * _FLOAT * (1 + slots + (way.accumulation > 1))  # gradients and the optimizer's
        kept += sizes.activations(way, math.ceil(batch_size / way.accumulation), max(batches.buckets))
        rows.append(
            {
                "way": way.describe(layers),
                "chosen": way == chosen,
                "trained_weights": trained,
                "estimated_training_mib": round((sizes.total(way) * _FLOAT + kept) / MIB),
                "estimated_process_mib_at_least": round((present + kept) / MIB),
                "estimated_epoch_seconds": round(forward * sizes.passes(way), 1),
            }
        )
    return pd.DataFrame(rows)


def add_measured(ways: pd.DataFrame, run: Run, batches: "Batches") -> pd.DataFrame:
    """Return the table of `estimate_ways` with what was measured of the chosen way beside its estimates.

    `measured_process_mib` is the highest memory of the process since it began, `measured_epoch_seconds` the
    mean over the epochs with validation and callbacks, of the last training of the run.

    Args:
        ways: From `estimate_ways`.
        run: Has been trained.
        batches: What it was trained with.

    Raises:
        WorkbenchError: The run has no training that has ended.
    """
    costs = list(run.details.get("costs", {}).values())
    if not costs:
        raise WorkbenchError(
            f"What a training took was asked for of the run {show_path(run.path)}, in which none has ended.\n"
            "Train first, with callbacks=wb.callbacks(run, …)."
        )
    epochs = costs[-1]["samples"] / batches.samples
    ways = ways.assign(measured_process_mib=math.nan, measured_epoch_seconds=math.nan)
    ways.loc[ways["chosen"], "measured_process_mib"] = round(costs[-1]["peak_memory"] / MIB)
    ways.loc[ways["chosen"], "measured_epoch_seconds"] = round(costs[-1]["seconds"] / epochs, 1)
    return ways


@dataclass(frozen=True)
class _Sizes:
    """The sizes of a network around an encoder, without LoRA's matrices; weights are counted one by one."""

    embeddings: int
    layers: list[int]
    head: int
    untrained: int  # of the encoder, and never of use here
    targets: list[tuple[tuple[int, ...], int]]  # of LoRA: shape of the kernel, size of the bias
    width: int
    inner_width: int
    heads: int

    @classmethod
    def of(cls, network: keras.Model) -> "_Sizes":
        backbone = next(
            (each for each in network._flatten_layers() if hasattr(each, "transformer_layers")), None
        )
        if backbone is None:
            raise WorkbenchError(
                f"Ways to fine-tune were asked for of the model {network.name}, which has no transformer.\n"
                "Give one that is built on an encoder of workbench.models.text.build_encoder."
            )
        embeddings = backbone.token_embedding, backbone.position_embedding, backbone.segment_embedding
        own = {id(each) for each in backbone.weights}
        return cls(
            embeddings=sum(_count(each) for each in (*embeddings, backbone.embeddings_layer_norm)),
            layers=[_count(each) for each in backbone.transformer_layers],
            head=_size(each for each in network.weights if id(each) not in own),
            untrained=_count(backbone.pooled_dense),
            targets=[
                (tuple(each._kernel.shape), _size([each.bias]))
                for layer in backbone.transformer_layers
                for each in layer._flatten_layers()
                if each.name in backbone.default_lora_layer_names()
            ],
            width=backbone.hidden_dim,
            inner_width=backbone.intermediate_dim,
            heads=backbone.num_heads,
        )

    def total(self, way: Way) -> int:
        """Return all weights."""
        return self.embeddings + sum(self.layers) + self.head + self.untrained + self._lora(way.lora_rank)

    def trained(self, way: Way) -> int:
        """Return the weights that are trained; beside LoRA's matrices Keras trains the biases there."""
        if way.lora_rank:
            return self.head + self._lora(way.lora_rank) + sum(bias for _, bias in self.targets)
        return self.head + sum([self.embeddings, *self.layers][way.frozen_layers :])

    def activations(self, way: Way, samples: int, tokens: int) -> int:
        """Return bytes of what the backward pass needs of the forward pass."""
        values = tokens * (8 * self.width + 2 * self.inner_width) + 2 * self.heads * tokens**2
        masks = 2 * tokens * self.width + self.heads * tokens**2  # of dropout, a byte each
        layers = self._reached(way)
        if way.gradient_checkpointing:
            inputs = layers * tokens * self.width * _FLOAT
            return samples * (inputs + min(1, layers) * (_FLOAT * values + masks))
        return samples * layers * (_FLOAT * values + masks)

    def passes(self, way: Way) -> float:
        """Return the time of training in forward passes."""
        passes = (1 if way.lora_rank else 2) + way.gradient_checkpointing
        return 1 + passes * self._reached(way) / len(self.layers)

    def _reached(self, way: Way) -> int:
        """Return the layers that gradients go through, embeddings apart."""
        return len(self.layers) - max(0, way.frozen_layers - 1)

    def _lora(self, rank: int) -> int:
        return sum(rank * (math.prod(shape[:-1]) + shape[-1]) for shape, _ in self.targets)


def _check(network: keras.Model, batches: "Batches") -> None:
    if not batches.buckets:
        raise WorkbenchError(
            "Ways to fine-tune were to be compared for batches that are not grouped by length.\n"
            'Make them with .batches(…, mask="padding_mask").'
        )
    if not network.compiled or not network.optimizer.built:
        raise WorkbenchError(
            f"Ways to fine-tune the model {network.name} were to be compared, but how much its optimizer "
            "keeps of each weight is not known before it is built.\n"
            "Compile it and call optimizer.build(network.trainable_variables)."
        )


def _count(layer: keras.layers.Layer) -> int:
    return _size(each for each in layer.weights if not each.name.startswith("lora_"))


def _size(weights: Iterable[keras.Variable]) -> int:
    return sum(math.prod(each.shape) for each in weights)


def _time_forward(network: keras.Model, batches: "Batches") -> float:
    """Return the seconds of a forward pass of all samples, from one of a batch of usual length."""
    plan = batches.plan(0)
    number = int(np.argsort(plan.lengths)[len(plan.lengths) // 2])
    inputs, _, rows = batches.read(0, number)
    length = plan.lengths[number]
    batch = keras.tree.map_structure(lambda each: keras.ops.convert_to_tensor(each[:, :length]), inputs)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        keras.ops.convert_to_numpy(network(batch, training=False))  # waits for the end
        seconds.append(time.perf_counter() - began)
    tokens = int(np.diff(plan.ends) @ plan.lengths)
    return min(seconds) / (len(rows) * length) * tokens

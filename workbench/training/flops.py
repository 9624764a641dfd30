"""Floating-point operations of a network, counted in its graph."""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from workbench.datasets.batches import Batches

METHOD = (
    "2 for each multiply-add of the matrix products and convolutions in the graph of the forward pass; "
    "training takes 3 times that, since a backward pass has two products for one (Kaplan et al. 2020, "
    "https://arxiv.org/abs/2001.08361, section 2.1), also where layers are frozen or computed again"
)
PASSES_OF_TRAINING = 3


def count_flops(model: keras.Model, batches: "Batches") -> int | None:
    """Return the operations of one forward pass of one sample, or None where no graph can be had.

    What stands in a loop of the graph counts once, and element-wise operations do not count.

    Args:
        model: Built.
        batches: Tell the shapes; inputs that are cut to several lengths count with their mean length.
    """
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    length = _mean_length(batches)
    specs = tf.nest.map_structure(
        lambda spec: tf.TensorSpec(
            [1, *(length if size is None else size for size in spec.shape[1:])], spec.dtype
        ),
        batches.element_spec[0],
    )
    graph = tf.function(lambda inputs: model(inputs, training=False)).get_concrete_function(specs).graph
    return sum(_of_operation(operation) for operation in _operations(graph))


def _mean_length(batches: "Batches") -> int:
    plan = batches.plan(0)
    return math.ceil(plan.lengths.mean())


def _operations(graph: Any) -> Iterator[Any]:
    """Yield the operations of a graph and of the functions that it calls."""
    yield from graph.get_operations()
    for function in graph._functions.values():
        yield from function.graph.get_operations() if hasattr(function, "graph") else ()


def _of_operation(operation: Any) -> int:
    count = _COUNTS.get(operation.type)
    shapes = [tensor.shape for tensor in (*operation.inputs, *operation.outputs)]
    if count is None or not all(shape.is_fully_defined() for shape in shapes):
        return 0
    return 2 * count(operation)


def _of_convolution(operation: Any) -> int:
    *window, channels, _ = operation.inputs[1].shape  # (…, input channels of a group, output channels)
    return math.prod(operation.outputs[0].shape) * math.prod(window) * channels


def _of_depthwise_convolution(operation: Any) -> int:
    height, width, *_ = operation.inputs[1].shape
    return math.prod(operation.outputs[0].shape) * height * width


def _of_product(operation: Any) -> int:
    transposed = "transpose_a" if operation.type == "MatMul" else "adj_x"
    rows = operation.inputs[0].shape
    return math.prod(operation.outputs[0].shape) * rows[-2 if operation.get_attr(transposed) else -1]


def _of_einsum(operation: Any) -> int:
    """Return the product of the sizes of all axes, each counted once."""
    subscripts = operation.get_attr("equation").decode().partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for letters, tensor in zip(subscripts, operation.inputs, strict=True):
        names = letters.replace("...", "")
        leading = len(tensor.shape) - len(names)
        sizes |= {f"...{axis}": size for axis, size in enumerate(tensor.shape[:leading])}
        sizes |= dict(zip(names, tensor.shape[leading:], strict=True))
    return math.prod(sizes.values())


_COUNTS: dict[str, Callable[[Any], int]] = {
    "Conv1D": _of_convolution,
    "Conv2D": _of_convolution,
    "Conv3D": _of_convolution,
    "DepthwiseConv2dNative": _of_depthwise_convolution,
    "MatMul": _of_product,
    "BatchMatMulV2": _of_product,
    "BatchMatMulV3": _of_product,
    "Einsum": _of_einsum,
}

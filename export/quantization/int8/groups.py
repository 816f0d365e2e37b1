"""Finds what can be quantized: quantization groups, MatMuls with constant weights that read the same value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from bert_onnx.errors import CheckpointError, UsageError
from export.passes.graph.values import is_operator

#: Operators that a float graph does not have.
QUANTIZED_OPERATORS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QLinearMatMul"}
    | {"ConvInteger", "MatMulNBits", "QGemm", "QAttention", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"}
)

#: A MatMul with fewer output channels stays in float: a classifier's last layer costs nothing and decides everything.
FEWEST_CHANNELS = 16


@dataclass(frozen=True)
class QuantGroup:
    """MatMuls that share one quantized activation.

    Args:
        name: the name of the first MatMul.
        source: name of x [..., I], the value that they read.
        nodes: names of the MatMuls.
        inputs: I.
        outputs: output channels of all their weights together.
        normalized: x is the output of a LayerNormalization with constant scale and bias.
    """

    name: str
    source: str
    nodes: tuple[str, ...]
    inputs: int
    outputs: int
    normalized: bool = False


def find_groups(model: ir.Model) -> tuple[QuantGroup, ...]:
    """The quantization groups of a float graph, in the order of its nodes.

    Raises:
        UsageError: the graph is quantized already, or has nothing to quantize.
        CheckpointError: a weight is NaN or infinite.
    """
    refuse_quantized(model)
    readers: dict[ir.Value, list[ir.Node]] = {}
    for node in model.graph:
        if is_weight_matmul(node):
            source, weight = node.inputs
            assert source is not None
            assert weight is not None
            _check_finite(weight)
            readers.setdefault(source, []).append(node)
    if not readers:
        raise UsageError("the graph has no MatMul with constant weights, so there is nothing to quantize in it.")
    return tuple(_make_group(source, nodes) for source, nodes in readers.items())


def refuse_quantized(model: ir.Model) -> None:
    """Raises UsageError where `model` holds an operator of a quantized graph."""
    for node in model.graph:
        if node.op_type in QUANTIZED_OPERATORS:
            raise UsageError(
                f"the graph is already quantized: {node.name or node.op_type} is a {node.op_type}. "
                "Quantize the float graph it was made from."
            )


def is_weight_matmul(node: ir.Node) -> bool:
    """Whether `node` is MatMul(x, W) with a constant float32 W [I, O] that is wide enough to be worth it."""
    if not is_operator(node, "MatMul"):
        return False
    source, weight = node.inputs
    if source is None or weight is None or not weight.is_initializer() or weight.const_value is None:
        return False
    tensor = weight.const_value
    shape = tensor.shape.numpy()
    return (
        source.const_value is None
        and tensor.dtype == ir.DataType.FLOAT
        and len(shape) == 2
        and int(shape[1]) >= FEWEST_CHANNELS
    )


def nodes_of(model: ir.Model, names: Iterable[str]) -> list[ir.Node]:
    """The nodes called `names`, in the order of `names`.

    Raises:
        KeyError: there is no such node.
    """
    by_name = {node.name: node for node in model.graph}
    return [by_name[name] for name in names]


def weights_of(model: ir.Model, group: QuantGroup) -> list[np.ndarray]:
    """The weights [I, O] of the MatMuls of `group`, in their order."""
    return [weight_of(node) for node in nodes_of(model, group.nodes)]


def weight_of(node: ir.Node) -> np.ndarray:
    """The constant W [I, O] of MatMul(x, W)."""
    weight = node.inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    return weight.const_value.numpy()


def _make_group(source: ir.Value, nodes: list[ir.Node]) -> QuantGroup:
    shapes = [weight_of(node).shape for node in nodes]
    names = tuple(node.name or "" for node in nodes)
    outputs = sum(int(shape[1]) for shape in shapes)
    return QuantGroup(names[0], source.name or "", names, int(shapes[0][0]), outputs, constant_norm(source) is not None)


def constant_norm(value: ir.Value) -> ir.Node | None:
    """The LayerNormalization over the last axis, with constant scale and bias, whose output `value` is."""
    node = value.producer()
    if node is None or not is_operator(node, "LayerNormalization") or value is not node.outputs[0]:
        return None
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else -1
    last = axis == -1 or (value.shape is not None and axis == len(value.shape) - 1)
    parameters = [one for one in node.inputs[1:] if one is not None]
    return node if last and len(parameters) == 2 and all(one.const_value is not None for one in parameters) else None


def _check_finite(weight: ir.Value) -> None:
    assert weight.const_value is not None
    array = weight.const_value.numpy()
    if array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        index = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
        raise CheckpointError(f"{weight.name}{index} is {array[tuple(index)]}; such weights cannot be quantized.")

"""Knows the operators that work on each token by itself: y[b, s] depends on x[b, s] and on weights alone.

Those may run on [T, D] as well as on [B, S, D], and on one row as well as on all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from export.passes.graph import canonical
from export.passes.graph.match import constant_vector
from export.passes.graph.values import constant_array, is_operator

#: Elementwise operators of ai.onnx with one operand.
_UNARY = frozenset(
    {"Abs", "Cast", "Elu", "Erf", "Exp", "Gelu", "Identity", "LeakyRelu", "Neg", "Relu", "Sigmoid", "Softplus"}
    | {"Sqrt", "Tanh"}
)  # fmt: skip

#: Elementwise operators with several operands, which broadcast.
_BROADCASTING = frozenset({"Add", "Clip", "Div", "Max", "Min", "Mul", "Pow", "Sub"})

#: The last axis of [B, S, D], counted from either side.
_LAST_AXES = (-1, 2)


def token_operands(node: ir.Node) -> tuple[int, ...] | None:
    """Positions of the inputs of `node` that hold tokens [B, S, D] if it works on each token by itself, else None.

    Every other input is a weight that is the same for all tokens.
    """
    if is_operator(node, canonical.GELU, domain=canonical.DOMAIN) or is_operator(node, *_UNARY):
        return (0,)
    if is_operator(node, canonical.ROTARY, domain=canonical.DOMAIN):
        return (0, 1, 2)
    if is_operator(node, *_BROADCASTING):
        places = tuple(i for i, value in enumerate(node.inputs) if value is not None and not is_per_feature(value))
        return places or None
    if is_operator(node, "LayerNormalization"):
        axis = node.attributes["axis"].as_int() if "axis" in node.attributes else -1
        return (0,) if axis in _LAST_AXES and all(is_per_feature(value) for value in node.inputs[1:]) else None
    if is_operator(node, "Softmax", "LogSoftmax"):
        axis = node.attributes["axis"].as_int() if "axis" in node.attributes else -1
        return (0,) if axis in _LAST_AXES else None
    if is_operator(node, "MatMul"):
        return (0,) if is_matrix(node.inputs[1]) else None
    return None


def is_per_feature(value: ir.Value | None) -> bool:
    """Whether `value` is absent, or a constant that has no axes of length other than 1 but the last."""
    if value is None:
        return True
    array = constant_array(value)
    return array is not None and int(np.prod(array.shape[:-1])) == 1


def is_matrix(value: ir.Value | None) -> bool:
    """Whether `value` is a constant [in, out], or the transpose of one."""
    if value is None:
        return False
    node = value.producer()
    source = node.inputs[0] if is_operator(node, "Transpose") and node is not None else value
    array = constant_array(source)
    return array is not None and array.ndim == 2


@dataclass(frozen=True)
class FirstRow:
    """A node that reads nothing of [B, S, D] but [:, 0] or [:, :1].

    Args:
        node: the node.
        keeps_axis: whether its result is [B, 1, D] rather than [B, D].
    """

    node: ir.Node
    keeps_axis: bool


def first_row_reader(node: ir.Node, value: ir.Value) -> FirstRow | None:
    """`node` as a reader of the first row of `value`; None if it reads anything else of it."""
    if node.inputs[0] is not value or any(other is value for other in node.inputs[1:]):
        return None
    if is_operator(node, "Gather"):
        index = constant_array(node.inputs[1])
        axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
        if axis in (1, -2) and index is not None and index.size == 1 and index.ndim < 2 and not index.any():
            return FirstRow(node, keeps_axis=index.ndim == 1)
    if is_operator(node, "Slice"):
        starts, ends, axes, steps = (
            constant_vector(node.inputs[place]) if place < len(node.inputs) else None for place in range(1, 5)
        )
        if starts == [0] and ends == [1] and axes in ([1], [-2]) and steps in (None, [1]):
            return FirstRow(node, keeps_axis=True)
    return None

"""The lengths of a value's axes: as annotated, else worked out from the nodes before it, as far as a BERT needs it.

Two axes are the same length for certain if they compare equal: both the same number, the same name, or the same axis
of the same value.
"""

from __future__ import annotations

import onnx_ir as ir

from export.passes.graph import canonical
from export.passes.graph.values import constant_input, is_operator

#: A number, a name, or (value, position) for an axis of which nothing else is known.
Axis = int | str | tuple[ir.Value, int]

#: Operators whose output has the shape of their first input.
_KEEP_SHAPE = frozenset(
    {"LayerNormalization", "Softmax", "Cast", "Identity", "Relu", "Tanh", "Erf", "Sigmoid", "Gelu", "Sqrt"}
)  # fmt: skip
_ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Div", "Pow"})
_MICROSOFT = frozenset({"BiasGelu", "FastGelu", "Gelu", "SkipLayerNormalization"})

#: How far back a chain of nodes is followed.
_DEPTH = 64


def axes_of(value: ir.Value | None, depth: int = _DEPTH) -> tuple[Axis, ...] | None:
    """The axes of `value`; None where not even their number is known."""
    if value is None:
        return None
    if value.shape is not None and all(isinstance(axis, int) or axis.value is not None for axis in value.shape):
        return tuple(axis if isinstance(axis, int) else _name(str(axis.value)) for axis in value.shape)
    computed = _from_producer(value, depth - 1) if depth else None
    if computed is not None or value.shape is None:
        return computed
    return tuple(
        axis if isinstance(axis, int) else (_name(axis.value) if axis.value is not None else (value, position))
        for position, axis in enumerate(value.shape)
    )


def _name(name: str) -> str:
    """One spelling for a sum or a product of names: `b*a` -> `a * b`."""
    for operator in "+*":
        terms = [term.strip() for term in name.split(operator)]
        if all(term.isidentifier() for term in terms):
            return f" {operator} ".join(sorted(terms))
    return name


def same_shape(left: ir.Value | None, right: ir.Value | None) -> bool:
    """Whether two values have equal shapes for certain."""
    axes = axes_of(left)
    return axes is not None and axes == axes_of(right)


def width_of(value: ir.Value | None) -> int | None:
    """The length of the last axis, where it is a known number."""
    axes = axes_of(value)
    return axes[-1] if axes and isinstance(axes[-1], int) else None


def _from_producer(value: ir.Value, depth: int) -> tuple[Axis, ...] | None:
    node = value.producer()
    if node is None or value.index():
        return None
    inputs = node.inputs
    if node.op_type in _KEEP_SHAPE and node.domain in ("", canonical.DOMAIN):
        return axes_of(inputs[0], depth)
    if is_operator(node, *_MICROSOFT, domain="com.microsoft"):
        return axes_of(inputs[0], depth)
    if is_operator(node, canonical.ATTENTION, domain=canonical.DOMAIN):
        query, context = axes_of(inputs[canonical.QUERY], depth), axes_of(inputs[canonical.VALUE], depth)
        return None if query is None or context is None else (*query[:-1], context[-1])
    if is_operator(node, "MatMul"):
        return _of_matmul(axes_of(inputs[0], depth), axes_of(inputs[1], depth))
    if is_operator(node, *_ELEMENTWISE):
        return _broadcast(axes_of(inputs[0], depth), axes_of(inputs[1], depth))
    if is_operator(node, "Gather"):
        return _of_gather(node, depth)
    return None


def _of_matmul(left: tuple[Axis, ...] | None, right: tuple[Axis, ...] | None) -> tuple[Axis, ...] | None:
    """[..., I] times [I, O]; products of two stacks of matrices are not followed."""
    if left is None or right is None or len(right) != 2:
        return None
    return (*left[:-1], right[-1])


def _broadcast(left: tuple[Axis, ...] | None, right: tuple[Axis, ...] | None) -> tuple[Axis, ...] | None:
    """The common shape of two operands, where it is certain."""
    if left is None or right is None:
        return None
    rank = max(len(left), len(right))
    pairs = zip((1,) * (rank - len(left)) + left, (1,) * (rank - len(right)) + right, strict=True)
    axes = [b if a == 1 else a if b in (1, a) else None for a, b in pairs]
    return None if None in axes else tuple(axis for axis in axes if axis is not None)


def _of_gather(node: ir.Node, depth: int) -> tuple[Axis, ...] | None:
    """table [V, D] and indices -> indices' axes, D; a constant index takes the axis away."""
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    data, indices = axes_of(node.inputs[0], depth), axes_of(node.inputs[1], depth)
    constant = constant_input(node, 1)
    if indices is None and constant is not None:
        indices = constant.shape
    if data is None or indices is None or axis < 0:
        return None
    return (*data[:axis], *indices, *data[axis + 1 :])

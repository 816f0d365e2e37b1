"""Follows the integers of computed shapes: Shape, and what exporters do with its result."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from export.passes.graph.values import constant_array, is_operator
from export.passes.shapes.state import Contents, ShapeState
from export.passes.shapes.symbolic_dims import Dim, Dims, Names, add, multiply, subtract


def follow_contents(node: ir.Node, state: ShapeState) -> Contents | None:
    """The integers that `node` computes, or None where they do not come from shapes."""
    rule = _RULES.get(node.op_type) if node.domain == "" else None
    return rule(node, state) if rule is not None else None


def _shape(node: ir.Node, state: ShapeState) -> Contents | None:
    dims = state.shape_of(node.inputs[0])
    if dims is None:
        return None
    start = node.attributes["start"].as_int() if "start" in node.attributes else 0
    end = node.attributes["end"].as_int() if "end" in node.attributes else len(dims)
    return Contents(dims[start:end])


def _same(node: ir.Node, state: ShapeState) -> Contents | None:
    """Cast to int64, Identity."""
    if node.op_type == "Cast" and node.attributes["to"].as_int() != ir.DataType.INT64:
        return None
    return state.contents_of(node.inputs[0])


def _gather(node: ir.Node, state: ShapeState) -> Contents | None:
    source, places = state.contents_of(node.inputs[0]), constant_array(node.inputs[1])
    if source is None or source.scalar or places is None or places.ndim > 1:
        return None
    return Contents(tuple(source.dims[int(place)] for place in places.reshape(-1)), places.ndim == 0)


def _slice(node: ir.Node, state: ShapeState) -> Contents | None:
    source = state.contents_of(node.inputs[0])
    bounds = [constant_array(value) for value in node.inputs[1:]]
    if source is None or source.scalar or any(bound is None or bound.size != 1 for bound in bounds):
        return None
    numbers = [int(bound.reshape(())) for bound in bounds if bound is not None]
    step = numbers[3] if len(numbers) > 3 else 1
    return Contents(source.dims[slice(numbers[0], numbers[1], step)])


def _concat(node: ir.Node, state: ShapeState) -> Contents | None:
    parts = [state.contents_of(value) for value in node.inputs]
    if any(part is None or part.scalar for part in parts):
        return None
    return Contents(tuple(dim for part in parts if part is not None for dim in part.dims))


def _rank(node: ir.Node, state: ShapeState) -> Contents | None:
    """Unsqueeze, Squeeze and Reshape between a scalar and a vector of one element, or of a vector to itself."""
    source = state.contents_of(node.inputs[0])
    if source is None:
        return None
    if node.op_type == "Unsqueeze":
        return Contents(source.dims) if source.scalar else None
    if node.op_type == "Squeeze":
        return Contents(source.dims, scalar=True) if len(source.dims) == 1 and not source.scalar else None
    shape = constant_array(node.inputs[1])
    return Contents(source.dims, shape.size == 0) if shape is not None and shape.size <= 1 else None


def _arithmetic(node: ir.Node, state: ShapeState) -> Contents | None:
    left, right = state.contents_of(node.inputs[0]), state.contents_of(node.inputs[1])
    if left is None or right is None:
        return None
    length = max(len(left.dims), len(right.dims))
    if {len(left.dims), len(right.dims)} - {1, length} or length == 0:
        return None
    wide = [side.dims * (length // len(side.dims)) for side in (left, right)]
    dims = tuple(_calculate(node.op_type, one, other, state) for one, other in zip(*wide, strict=True))
    return Contents(dims, left.scalar and right.scalar)


def _calculate(operator: str, left: Dim, right: Dim, state: ShapeState) -> Dim:
    if operator == "Add":
        return add(left, right)
    if operator == "Sub":
        return subtract(left, right, state.names)
    if operator == "Mul":
        return multiply(left, right)
    if isinstance(left, int) and isinstance(right, int) and left >= 0 and right > 0:
        return left // right
    return state.names.fresh((operator, left, right))


def _where(node: ir.Node, state: ShapeState) -> Contents | None:
    """Where(a == b, yes, no), as an Expand of -1 is written: a length is never negative."""
    equal = node.inputs[0].producer() if node.inputs[0] is not None else None
    if equal is None or not is_operator(equal, "Equal"):
        return None
    sides = [state.contents_of(value) for value in (*equal.inputs, *node.inputs[1:])]
    length = max((len(side.dims) for side in sides if side is not None), default=0)
    if any(side is None or len(side.dims) not in (1, length) for side in sides):
        return None
    wide = [side.dims * (length // len(side.dims)) for side in sides if side is not None]
    return Contents(tuple(_choose(entry, state.names) for entry in zip(*wide, strict=True)))


def _choose(entry: Dims, names: Names) -> Dim:
    left, right, yes, no = entry
    if left == right:
        return yes
    numbers = [dim for dim in (left, right) if isinstance(dim, int)]
    if len(numbers) == 2 or any(number < 0 for number in numbers):
        return no
    return names.fresh(("where", *entry))


def _filled(node: ir.Node, state: ShapeState) -> Contents | None:
    """ConstantOfShape of a known length."""
    length = state.contents_of(node.inputs[0])
    fill = node.attributes["value"].as_tensor().numpy() if "value" in node.attributes else np.zeros(1, np.float32)
    if length is None or len(length.dims) != 1 or not isinstance(length.dims[0], int) or fill.dtype != np.int64:
        return None
    return Contents((int(fill.reshape(())),) * length.dims[0])


_RULES: dict[str, Callable[[ir.Node, ShapeState], Contents | None]] = {
    "Shape": _shape,
    "Cast": _same,
    "Identity": _same,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Unsqueeze": _rank,
    "Squeeze": _rank,
    "Reshape": _rank,
    "Add": _arithmetic,
    "Sub": _arithmetic,
    "Mul": _arithmetic,
    "Div": _arithmetic,
    "Where": _where,
    "ConstantOfShape": _filled,
}

"""What becomes of a mask of ones and zeros on its way through elementwise operators: a number for each of the two.

That covers every order of operators at once; only the axes have to be followed beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from export.passes.graph.match import constant_vector, scalar
from export.passes.graph.values import constant_input, is_operator

#: Where the axes of a mask [B, R] went: "B", "R", "1" for a new axis, "*" for one that an Expand made long.
Axes = tuple[str, ...]


@dataclass(frozen=True)
class Masked:
    """A value that depends on one mask alone, element by element.

    Args:
        source: the mask, [B, R].
        hidden, seen: what becomes of a zero and of a one.
        axes: where the mask's axes are.
        expanded: the shape input of the Expand that the value came through.
    """

    source: ir.Value
    hidden: float
    seen: float
    axes: Axes
    expanded: ir.Value | None = None


def follow_masks(graph: ir.Graph) -> dict[ir.Value, Masked]:
    """Every value that depends on one mask alone."""
    known: dict[ir.Value, Masked] = {}
    for node in graph:
        _follow(node, known)
    return known


def _follow(node: ir.Node, known: dict[ir.Value, Masked]) -> None:
    """Enter the output of `node` into `known`, if it depends on one mask alone."""
    if node.domain != "" or len(node.outputs) != 1:
        return
    operands = [_read(value, known) for value in node.inputs if value is not None]
    found: Masked | None = None
    if node.op_type in _SHAPED and operands and isinstance(operands[0], Masked):
        found = _move_axes(node, operands[0])
    elif node.op_type in _ELEMENTWISE and all(operand is not None for operand in operands):
        found = _compute(node, [operand for operand in operands if operand is not None])
    if found is not None:
        known[node.outputs[0]] = found


def _read(value: ir.Value, known: dict[ir.Value, Masked]) -> Masked | float | None:
    """What is known of an operand: a mask, or a number."""
    if value in known:
        return known[value]
    if _is_mask(value):
        return Masked(value, 0.0, 1.0, ("B", "R"))
    number = scalar(value)
    return number if number is not None else _uniform(value)


def _uniform(value: ir.Value) -> float | None:
    """The number that fills a ConstantOfShape, or an Expand of one number."""
    node = value.producer()
    if is_operator(node, "ConstantOfShape") and node is not None:
        tensor = node.attributes["value"].as_tensor().numpy() if "value" in node.attributes else np.zeros(1)
        return float(tensor.reshape(-1)[0])
    if is_operator(node, "Expand") and node is not None:
        return scalar(node.inputs[0])
    return None


def _is_mask(value: ir.Value) -> bool:
    """Whether `value` is an input of the graph of rank 2 that indexes nothing, or the reshape of one to rank 2."""
    node = value.producer()
    if is_operator(node, "Reshape") and node is not None:
        shape, source = constant_vector(node.inputs[1]), node.inputs[0]
        rank = len(shape) if shape is not None else _rank(value)
        return rank == 2 and source is not None and _is_mask_input(source)
    return _is_mask_input(value) and _rank(value) == 2


def _rank(value: ir.Value) -> int | None:
    return None if value.shape is None else len(value.shape)


def _is_mask_input(value: ir.Value) -> bool:
    if not value.is_graph_input() or value.dtype in (None, ir.DataType.FLOAT16):
        return False
    return not any(_leads_to_index(user, position) for user, position in value.uses())


def _leads_to_index(node: ir.Node, position: int) -> bool:
    """Whether input `position` of `node` indexes a table, perhaps after a Reshape or a Cast."""
    if is_operator(node, "Gather"):
        return position == 1
    if is_operator(node, "Reshape", "Cast", "Identity") and position == 0:
        return any(_leads_to_index(user, place) for user, place in node.outputs[0].uses())
    return False


def _move_axes(node: ir.Node, masked: Masked) -> Masked | None:
    """The mask after Unsqueeze, Expand, or a Reshape that puts axes of 1 between its own."""
    axes = list(masked.axes)
    if node.op_type == "Unsqueeze":
        places = constant_input(node, 1)
        if places is None:
            return None
        rank = len(axes) + places.size
        for place in sorted(int(place) % rank for place in places.reshape(-1)):
            axes.insert(place, "1")
        return replace(masked, axes=tuple(axes))
    if node.op_type == "Reshape":
        moved = _reshaped(constant_vector(node.inputs[1]))
        return replace(masked, axes=moved) if moved and masked.axes == ("B", "R") and not masked.expanded else None
    if masked.expanded is not None or node.inputs[1] is None:
        return None
    return replace(masked, axes=_expanded(axes, node), expanded=node.inputs[1])


def _reshaped(shape: Sequence[int] | None) -> Axes | None:
    """Axes of a mask [B, R] after a Reshape to [0, 1, ..., 1, -1]."""
    if shape is None or len(shape) < 2 or list(shape) != [0, *[1] * (len(shape) - 2), -1]:
        return None
    return ("B", *["1"] * (len(shape) - 2), "R")


def _expanded(axes: list[str], node: ir.Node) -> Axes:
    """Axes after an Expand; which of the new ones got longer does not matter, since a bias is broadcast anyway."""
    shape = node.outputs[0].shape
    rank = len(shape) if shape is not None else len(axes)
    longer = ["1"] * (rank - len(axes)) + axes
    return tuple("*" if axis == "1" and place == rank - 2 else axis for place, axis in enumerate(longer))


_SHAPED = ("Unsqueeze", "Expand", "Reshape")
_ELEMENTWISE = ("Cast", "Sub", "Mul", "Add", "Where", "Not", "Equal", "Greater", "Less", "And", "Identity", "Neg")


def _compute(node: ir.Node, operands: list[Masked | float]) -> Masked | None:
    """An elementwise operator of values that depend on the same mask with the same axes, and of numbers."""
    masks = [operand for operand in operands if isinstance(operand, Masked)]
    if not masks or any((mask.source, mask.axes) != (masks[0].source, masks[0].axes) for mask in masks):
        return None
    hidden = _apply(node, [operand.hidden if isinstance(operand, Masked) else operand for operand in operands])
    seen = _apply(node, [operand.seen if isinstance(operand, Masked) else operand for operand in operands])
    if hidden is None or seen is None:
        return None
    return replace(masks[0], hidden=hidden, seen=seen)


def _apply(node: ir.Node, numbers: list[float]) -> float | None:
    """The operator of `node` on single numbers; None where it has no rule, or makes a NaN."""
    with np.errstate(all="ignore"):
        result = _number(node, [np.float64(number) for number in numbers])
    return None if result is None or np.isnan(result) else float(result)


def _number(node: ir.Node, numbers: list[np.float64]) -> float | None:
    first = numbers[0]
    match node.op_type, numbers[1:]:
        case "Cast", []:
            to = node.attributes["to"].as_int()
            return float(first != 0) if to == ir.DataType.BOOL else float(first)
        case "Identity", []:
            return float(first)
        case "Neg", []:
            return float(-first)
        case "Not", []:
            return float(first == 0)
        case "Add", [second]:
            return float(first + second)
        case "Sub", [second]:
            return float(first - second)
        case "Mul", [second]:
            return float(first * second)
        case "Equal", [second]:
            return float(first == second)
        case "Greater", [second]:
            return float(first > second)
        case "Less", [second]:
            return float(first < second)
        case "And", [second]:
            return float(bool(first) and bool(second))
        case "Where", [second, third]:
            return float(second if first else third)
    return None

"""Replaces shapes that are computed at run time by constants, where the names of the axes prove them equal.

    Reshape(x, Concat(Shape(y)[0], Shape(y)[1], H, K))  ->  Reshape(x, [0, 0, H, K])    0: as in x

Needs the axis names that the tracer wrote: it fires only where input and output carry the same name on the same
axis. At most one further axis may be unknown; it becomes -1.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph.values import add_constant, constant_input, is_operator

_COPY, _REST = 0, -1


def simplify_shapes(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the Reshape nodes that lost their computed shape, and the round trips of one-element shapes."""
    fired, refusals = _drop_scalar_round_trips(model.graph), []
    for node in list(model.graph):
        if not is_operator(node, "Reshape") or constant_input(node, 1) is not None:
            continue
        shape = _constant_shape(node)
        if shape is None:
            refusals.append(Refusal(node.name or "", f"{node.outputs[0].shape} has more than one unknown axis"))
            continue
        node.replace_input_with(1, add_constant(model.graph, "shape", np.array(shape, np.int64)))
        node.attributes.pop("allowzero", None)  # 0 copies an axis
        fired += 1
    return PassOutcome(fired, tuple(refusals))


def _constant_shape(node: ir.Node) -> list[int] | None:
    """The second input of a Reshape as a constant, or None where the axis names do not prove it."""
    source, result = node.inputs[0], node.outputs[0]
    if source is None or source.shape is None or result.shape is None:
        return None
    shape: list[int] = []
    for position, axis in enumerate(result.shape):
        if isinstance(axis, int):
            shape.append(axis)
        elif position < len(source.shape) and _same_axis(source.shape[position], axis):
            shape.append(_COPY)
        else:
            shape.append(_REST)
    has_empty_axis = any(axis == 0 for axis in result.shape)
    return None if shape.count(_REST) > 1 or has_empty_axis else shape


def _same_axis(left: int | ir.SymbolicDim, right: int | ir.SymbolicDim) -> bool:
    """Whether two axes carry the same name."""
    return not isinstance(left, int) and not isinstance(right, int) and left.value is not None and left == right


def _drop_scalar_round_trips(graph: ir.Graph) -> int:
    """Reshape(Squeeze(v), [-1]) or Unsqueeze(Squeeze(v), [0]) -> v, where v has the shape [1]."""
    fired = 0
    for node in list(graph):
        if not is_operator(node, "Reshape", "Unsqueeze") or node.inputs[0] is None:
            continue
        producer = node.inputs[0].producer()
        target = constant_input(node, 1)
        if producer is None or not is_operator(producer, "Squeeze") or target is None:
            continue
        vector = producer.inputs[0]
        wanted = [-1] if node.op_type == "Reshape" else [0]
        if vector is None or target.tolist() != wanted or not _has_one_element(vector):
            continue
        node.outputs[0].replace_all_uses_with(vector)
        graph.remove(node, safe=True)
        fired += 1
    return fired


def _has_one_element(value: ir.Value) -> bool:
    """Whether `value` is a vector of one element: by its annotation, or because it is one axis of a Shape."""
    if value.shape is not None:
        return list(value.shape) == [1]
    producer = value.producer()
    if producer is None or producer.op_type != "Shape" or "start" not in producer.attributes:
        return False
    start, end = producer.attributes["start"].as_int(), producer.attributes.get("end")
    return end is not None and start >= 0 and end.as_int() == start + 1

"""Writes the lookup of the first positions as the slice of the table that it is.

    Gather(table, Slice([[0, 1, 2, ...]], 0, S))  ->  Slice(table, 0, S)        table [N, D]

Exporters of transformers keep its buffer of position ids and index with it. The result loses the leading axis of length
1, which the Add of the other embeddings broadcasts anyway. Fires only where every reader is such an Add. Refuses a
buffer that does not count from zero, and readers that need the axis.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph.match import other_input
from export.passes.graph.values import constant_array, constant_input, is_operator
from export.passes.graph.writer import write_before


def raise_positions(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the lookups that became slices."""
    fired, refusals = 0, []
    for node in list(model.graph):
        ids = node.inputs[1].producer() if is_operator(node, "Gather") and node.inputs[1] is not None else None
        if ids is None or not is_operator(ids, "Slice") or constant_array(ids.inputs[0]) is None:
            continue
        reason = _refusal(node, ids)
        if reason is not None:
            refusals.append(Refusal(node.name or "", reason))
            continue
        _replace(node, ids)
        fired += 1
    common.RemoveUnusedNodesPass()(model)
    return PassOutcome(fired, tuple(refusals))


def _refusal(node: ir.Node, ids: ir.Node) -> str | None:
    """Why the lookup is not a slice from zero."""
    table, buffer = constant_array(node.inputs[0]), constant_array(ids.inputs[0])
    if table is None or table.ndim != 2 or ("axis" in node.attributes and node.attributes["axis"].as_int() != 0):
        return "the table is not a constant of two axes"
    if buffer is None or buffer.ndim != 2 or buffer.shape[0] != 1 or buffer.shape[1] > table.shape[0]:
        return "the positions are not one row for this table"
    if not np.array_equal(buffer[0], np.arange(buffer.shape[1])):
        return "the positions do not count from zero"
    starts, axes, steps = (constant_input(ids, place) for place in (1, 3, 4))
    if starts is None or starts.tolist() != [0] or axes is None or axes.tolist() not in ([1], [-1]):
        return "the positions are not sliced from the first"
    if steps is not None and steps.tolist() != [1]:
        return "the positions are sliced in steps"
    if buffer.shape[1] != table.shape[0] and ids.inputs[2] is not None and ids.inputs[2].is_initializer():
        return "the positions are fewer than the rows of the table"
    result = node.outputs[0]
    if result.is_graph_output() or not all(_broadcasts(user, result) for user, _ in result.uses()):
        return "something other than a sum of embeddings reads the positions"
    return None


def _broadcasts(node: ir.Node, value: ir.Value) -> bool:
    """Whether `node` adds three axes to `value`, so that its first one is not missed."""
    other = other_input(node, value) if is_operator(node, "Add") else None
    return other is not None and other is not value and other.shape is not None and len(other.shape) == 3


def _replace(node: ir.Node, ids: ir.Node) -> None:
    op, old = write_before(node), node.outputs[0]
    zero, one = op.integers([0], "zero"), op.integers([1], "one")
    new = op.Slice(node.inputs[0], zero, ids.inputs[2], zero, one)
    new.type, new.shape = old.type, _shape(old)
    old.replace_all_uses_with(new)


def _shape(result: ir.Value) -> ir.Shape | None:
    """[S, D], with the S of the sum: a table that is too short for it would not add up."""
    user = next((user for user, _ in result.uses()), None)
    other = other_input(user, result) if user is not None else None
    if other is None or other.shape is None or result.shape is None:
        return None
    length = other.shape[1]
    return None if length == 1 else ir.Shape([length, result.shape[2]])

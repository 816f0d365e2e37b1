"""Writes a transpose of matrices as one Transpose, however many reshapes an exporter put around it.

    Reshape(Transpose(Reshape(x, [B*H, S, K]), [0, 2, 1]), [B, H, K, S])   ->  Transpose(x, [0, 1, 3, 2])

Needs the shapes that `infer_shapes` wrote: the last two axes of x must keep their lengths in the first Reshape, and the
axes before them must come back in the second.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph.values import is_operator
from export.passes.graph.writer import replace_value


def simplify_transposes(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the chains that became one Transpose."""
    fired, refusals = 0, []
    for node in list(model.graph):
        if not is_operator(node, "Reshape"):
            continue
        transpose = _producer(node, "Transpose")
        first = _producer(transpose, "Reshape")
        if transpose is None or first is None or list(transpose.attributes["perm"].as_ints()) != [0, 2, 1]:
            continue
        source = first.inputs[0]
        if source is None or not _is_batched(source, first.outputs[0], node.outputs[0]):
            refusals.append(Refusal(node.name or "", "the shapes do not prove that this is one transpose of matrices"))
            continue
        rank = len(source.shape or ())
        order = [*range(rank - 2), rank - 1, rank - 2]
        new = ir.node("Transpose", [source], {"perm": order}, name=transpose.name)
        model.graph.insert_before(node, new)
        replace_value(node.outputs[0], new.outputs[0])
        fired += 1
    if fired:
        common.RemoveUnusedNodesPass()(model)
    return PassOutcome(fired, tuple(refusals))


def _producer(node: ir.Node | None, operator: str) -> ir.Node | None:
    """The node that makes the first input of `node`, if it is an `operator`."""
    value = node.inputs[0] if node is not None else None
    producer = value.producer() if value is not None else None
    return producer if is_operator(producer, operator) else None


def _is_batched(source: ir.Value, flat: ir.Value, result: ir.Value) -> bool:
    """Whether `flat` only joins the axes of `source` before the last two, and `result` has them again, and those two
    the other way round."""
    before, between, after = (_dims(value) for value in (source, flat, result))
    if not before or not between or not after or len(before) != len(after) or len(between) != 3:
        return False
    if None in (*before, *between[1:], *after):
        return False
    return between[1:] == before[-2:] and after == [*before[:-2], before[-1], before[-2]]


def _dims(value: ir.Value) -> list[int | str | None]:
    if value.shape is None:
        return []
    return [axis if isinstance(axis, int) else axis.value for axis in value.shape]

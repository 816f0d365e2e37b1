"""Writes repetition as broadcasting, and drops it where nothing is repeated.

    Tile(x, repeats)   ->  Expand(x, repeats)       every axis that is repeated has the length 1
    Expand(x, shape)   ->  x                        x has that shape already

Needs the shapes that `infer_shapes` wrote. Refuses a Tile that repeats a longer axis, or one of unknown length.
"""

from __future__ import annotations

import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph.values import is_operator
from export.passes.graph.writer import replace_node


def simplify_expands(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the nodes that were replaced or removed."""
    fired, refusals = 0, []
    for node in list(model.graph):
        if is_operator(node, "Tile"):
            if not _repeats_ones(node):
                refusals.append(Refusal(node.name or "", "an axis that is repeated is not known to have the length 1"))
                continue
            new = ir.node("Expand", node.inputs, name=node.name)
            model.graph.insert_before(node, new)
            replace_node(node, new.outputs[0])
            fired += 1
        elif is_operator(node, "Expand") and _is_idle(node):
            source = node.inputs[0]
            assert source is not None
            node.outputs[0].replace_all_uses_with(source)
            model.graph.remove(node, safe=True)
            fired += 1
    return PassOutcome(fired, tuple(refusals))


def _dims(value: ir.Value | None) -> list[int | str | None] | None:
    if value is None or value.shape is None:
        return None
    return [axis if isinstance(axis, int) else axis.value for axis in value.shape]


def _repeats_ones(node: ir.Node) -> bool:
    """Whether every axis has the length 1 or is not repeated: its length is the same before and after."""
    before, after = _dims(node.inputs[0]), _dims(node.outputs[0])
    if before is None or after is None or len(before) != len(after):
        return False
    return all(one == 1 or (one is not None and one == other) for one, other in zip(before, after, strict=True))


def _is_idle(node: ir.Node) -> bool:
    before = _dims(node.inputs[0])
    if before is None or None in before or node.outputs[0].is_graph_output():
        return False
    return before == _dims(node.outputs[0])

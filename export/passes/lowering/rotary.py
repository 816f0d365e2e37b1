"""Canonical Rotary -> operators that every ONNX client has.

    a, b = Split(Reshape(x, [0, 0, H, K]), axis=-1);  c, s = cosines, sines with an axis for the heads
    Reshape(Concat(a c - b s, b c + a s), [0, 0, H * K])

Tokens that are packed have one axis less in front. It always fires.
"""

from __future__ import annotations

import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome
from export.passes.graph import canonical
from export.passes.graph.values import is_operator
from export.passes.graph.writer import Writer, replace_node, write_before


def lower_rotary(model: ir.Model, context: PassContext) -> PassOutcome:
    """Spells out the Rotary nodes and counts them."""
    nodes = [node for node in model.graph if is_operator(node, canonical.ROTARY, domain=canonical.DOMAIN)]
    for node in nodes:
        replace_node(node, _spell(write_before(node), node))
    return PassOutcome(len(nodes))


def _spell(op: Writer, node: ir.Node) -> ir.Value:
    state, cosines, sines = node.inputs
    heads = node.attributes["num_heads"].as_int()
    assert state is not None
    assert state.shape is not None
    kept, width = [0] * (len(state.shape) - 1), state.shape[-1]
    assert isinstance(width, int)
    split = op.Reshape(state, op.integers([*kept, heads, width // heads], "heads"))
    half = op.integers([width // heads // 2] * 2, "halves")
    a, b = op.node("Split", [split, half], {"axis": -1}, (None, None))
    c, s = (op.Unsqueeze(table, op.integers([-2], "axes")) for table in (cosines, sines))
    first, second = op.Sub(op.Mul(a, c), op.Mul(b, s)), op.Add(op.Mul(b, c), op.Mul(a, s))
    return op.Reshape(op.Concat(first, second, axis=-1), op.integers([*kept, width], "width"))

"""Canonical Attention -> ai.onnx Attention, where the graph has opset 23.

    Attention(query, key, value, bias, past_key, past_value)  ->  the same operator of ai.onnx
    num_heads: H, scale                                           q_num_heads: H, kv_num_heads: H, scale

ONNX Runtime 1.31 reads a bias only where its second last axis is S, so that one of [B, 1, 1, R] is expanded, once
for all layers; and it wants the present outputs wherever there is a past. Refuses below opset 23.
"""

from __future__ import annotations

import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph import canonical
from export.passes.graph.values import is_operator
from export.passes.graph.writer import Writer, is_needed, optional_input, replace_node, write_before

#: The opset that brought ai.onnx's Attention.
_ATTENTION_SINCE = 23

#: qk_matmul_output is what softmax returned.
_AFTER_SOFTMAX = 3


def lower_attention_onnx(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the Attention nodes that became ai.onnx's."""
    nodes = [node for node in model.graph if is_operator(node, canonical.ATTENTION, domain=canonical.DOMAIN)]
    opset = min(context.opset, model.graph.opset_imports[""])
    if opset < _ATTENTION_SINCE:
        reason = f"ai.onnx has Attention from opset {_ATTENTION_SINCE}, and this graph gets {opset}"
        return PassOutcome(0, tuple(Refusal(node.name or "", reason) for node in nodes))
    for node in nodes:
        _lower(node)
    return PassOutcome(len(nodes))


def _lower(node: ir.Node) -> None:
    op, inputs = write_before(node), [optional_input(node, position) for position in range(6)]
    heads = node.attributes["num_heads"].as_int()
    attributes: dict[str, int | float] = {
        "q_num_heads": heads,
        "kv_num_heads": heads,
        "scale": node.attributes["scale"].as_float(),
    }
    needed = [position for position in range(len(node.outputs)) if is_needed(node, position)]
    count = 1 + max(needed, default=0)
    if inputs[canonical.PAST_KEY] is not None:
        count = max(count, 1 + canonical.PRESENT_VALUE)
    if count > canonical.PROBABILITIES:
        attributes["qk_matmul_output_mode"] = _AFTER_SOFTMAX
    inputs[canonical.BIAS] = _one_row_a_query(op, inputs[canonical.BIAS], inputs[canonical.QUERY])
    replace_node(node, *op.node("Attention", inputs, attributes, (None,) * count))


def _one_row_a_query(op: Writer, bias: ir.Value | None, query: ir.Value | None) -> ir.Value | None:
    """`bias` with S on its second last axis, where it may not have that."""
    if bias is None or query is None:
        return bias
    axis = bias.shape[-2] if bias.shape is not None and len(bias.shape) > 1 else 1
    length = query.shape[1] if query.shape is not None else None
    if axis != 1 and axis == length:
        return bias
    one = op.integers([1], "one")
    rows = op.Shape(query, start=1, end=2)
    return op.Expand(bias, op.Concat(one, one, rows, one, axis=0))

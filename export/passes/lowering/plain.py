"""Spells the canonical form out in operators that every ONNX client has (opset 17 and later).

    Gelu       see `lower_gelu`
    Rotary     see `lower_rotary`
    KeyMask    (1 - Cast(Unsqueeze(mask, [1, 2]))) * fill
    Attention  Softmax(scale * Q K^T + bias) V, with Q = Transpose(Reshape(query, [0, 0, H, K])) and so on;
               the result is transposed back and reshaped to [0, 0, H * K]

The fill is finite, so that a row without any real token gives an even distribution and no NaN. It always fires.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome
from export.passes.graph import canonical
from export.passes.graph.values import is_operator
from export.passes.graph.writer import Writer, is_needed, optional_input, replace_node, write_before
from export.passes.lowering.gelu import lower_gelu
from export.passes.lowering.rotary import lower_rotary

_HEADS_FIRST = (0, 2, 1, 3)
_KEYS_LAST = (0, 1, 3, 2)


def lower_plain(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the canonical nodes that were spelled out; none is left."""
    count = lower_gelu(model, context).count + lower_key_mask(model, context).count
    count += lower_rotary(model, context).count + lower_attention(model, context).count
    model.graph.opset_imports.pop(canonical.DOMAIN, None)
    return PassOutcome(count)


def lower_key_mask(model: ir.Model, context: PassContext) -> PassOutcome:
    """Spells out the KeyMask nodes and counts them."""
    nodes = [node for node in model.graph if is_operator(node, canonical.KEY_MASK, domain=canonical.DOMAIN)]
    for node in nodes:
        op = write_before(node)
        replace_node(node, spell_key_mask(op, node))
    return PassOutcome(len(nodes))


def lower_attention(model: ir.Model, context: PassContext) -> PassOutcome:
    """Spells out the Attention nodes and counts them."""
    nodes = [node for node in model.graph if is_operator(node, canonical.ATTENTION, domain=canonical.DOMAIN)]
    for node in nodes:
        _spell_attention(node)
    return PassOutcome(len(nodes))


def spell_key_mask(op: Writer, node: ir.Node) -> ir.Value:
    """Bias [B, 1, 1, R] from the mask that `node`, a KeyMask, reads."""
    dtype = node.outputs[0].dtype or ir.DataType.FLOAT
    lowest = float(np.finfo(dtype.numpy()).min)
    fill = max(node.attributes["fill"].as_float(), lowest)
    mask = op.Unsqueeze(node.inputs[0], op.integers([1, 2], "axes"))
    real = op.Cast(mask, to=dtype)
    padding = op.Sub(op.constant("one", np.array(1, dtype.numpy())), real)
    return op.Mul(padding, op.constant("fill", np.array(fill, dtype.numpy())))


def _spell_attention(node: ir.Node) -> None:
    op, inputs = write_before(node), [optional_input(node, position) for position in range(6)]
    heads, scale = node.attributes["num_heads"].as_int(), node.attributes["scale"].as_float()
    query, key, value = inputs[:3]
    past_key, past_value = inputs[canonical.PAST_KEY], inputs[canonical.PAST_VALUE]
    cached = past_key is not None or is_needed(node, canonical.PRESENT_KEY)

    queries = split_heads(op, query, heads, _HEADS_FIRST)
    present_key, present_value = None, _append(op, past_value, split_heads(op, value, heads, _HEADS_FIRST))
    if cached:
        present_key = _append(op, past_key, split_heads(op, key, heads, _HEADS_FIRST))
        keys = op.Transpose(present_key, perm=_KEYS_LAST)
    else:
        keys = split_heads(op, key, heads, (0, 2, 3, 1))

    scores = op.MatMul(queries, keys)
    if scale != 1.0:
        factor = np.array(scale, (scores.dtype or ir.DataType.FLOAT).numpy())
        scores = op.Mul(scores, op.constant("scale", factor))
    if inputs[canonical.BIAS] is not None:
        scores = op.Add(scores, inputs[canonical.BIAS])
    probabilities = op.Softmax(scores, axis=-1)
    context = merge_heads(op, op.MatMul(probabilities, present_value), query)
    replace_node(node, context, present_key, present_value, probabilities)


def split_heads(op: Writer, value: ir.Value | None, heads: int, order: tuple[int, ...]) -> ir.Value:
    """[B, S, H * K] -> [B, S, H, K] -> its axes in another `order`."""
    split = op.Reshape(value, op.integers([0, 0, heads, _head_size(value, heads)], "heads"))
    return op.Transpose(split, perm=order)


def merge_heads(op: Writer, context: ir.Value, query: ir.Value | None) -> ir.Value:
    """[B, H, S, K] -> [B, S, H * K], the width of `query`."""
    merged = op.Transpose(context, perm=_HEADS_FIRST)
    return op.Reshape(merged, op.integers([0, 0, _head_size(query, 1)], "width"))


def _head_size(value: ir.Value | None, heads: int) -> int:
    """K, or -1 where the width is not known: Reshape then works it out."""
    width = value.shape[-1] if value is not None and value.shape is not None else None
    return width // heads if isinstance(width, int) else -1


def _append(op: Writer, past: ir.Value | None, new: ir.Value) -> ir.Value:
    """[B, H, P, K] and [B, H, R, K] -> [B, H, P + R, K]."""
    return new if past is None else op.Concat(past, new, axis=2)

"""Canonical Attention -> com.microsoft.MultiHeadAttention.

    Attention(query, key, value, bias, past_key, past_value)
        ->  MultiHeadAttention(query, key, value, [b_q b_k b_v], key_padding_mask, attention_bias, past_key, past_value)

A bias that is a KeyMask becomes key_padding_mask = Cast(attention_mask, int32) [B, R], once for all layers, and its
fill the operator's mask_filter_value; any other bias is attention_bias, whose second last axis must be S.
The biases of the three projections go into the operator. Refuses where probabilities are read, where the bias is not
[1 or B, 1 or H, S, R], and where keys alone are returned.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph import canonical
from export.passes.graph.axes import axes_of
from export.passes.graph.linear import find_linear, joined_bias, joined_name, sharing
from export.passes.graph.values import is_operator
from export.passes.graph.writer import (
    MICROSOFT,
    Writer,
    is_needed,
    optional_input,
    replace_node,
    sole_producer,
    split_bias,
    use_microsoft,
    write_before,
)


def lower_mha(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the Attention nodes that became MultiHeadAttention."""
    return _lower_all(model, with_biases=True)


def lower_mha_biases_apart(model: ir.Model, context: PassContext) -> PassOutcome:
    """The same, with the biases of the projections left where they are: integer products take them in for nothing."""
    return _lower_all(model, with_biases=False)


def _lower_all(model: ir.Model, with_biases: bool) -> PassOutcome:
    fired, refusals = 0, []
    for node in [node for node in model.graph if is_operator(node, canonical.ATTENTION, domain=canonical.DOMAIN)]:
        reason = _refusal(node)
        if reason is None:
            _lower(node, with_biases)
            fired += 1
        else:
            refusals.append(Refusal(node.name or "", reason))
    use_microsoft(model)
    return PassOutcome(fired, tuple(refusals))


def _refusal(node: ir.Node) -> str | None:
    if is_needed(node, canonical.PROBABILITIES):
        return "the probabilities are read, and MultiHeadAttention does not return them"
    bias, query = optional_input(node, canonical.BIAS), axes_of(node.inputs[canonical.QUERY])
    if bias is None or key_mask_of(bias) is not None:
        return None
    axes = axes_of(bias)
    if axes is None or query is None or len(axes) != 4 or axes[2] != query[1] or 1 in axes[2:]:
        return f"the bias has the axes {axes}, and MultiHeadAttention wants [1 or B, 1 or H, S, R]"
    return None


def key_mask_of(bias: ir.Value | None) -> ir.Node | None:
    """The KeyMask that makes `bias`."""
    node = bias.producer() if bias is not None else None
    return node if is_operator(node, canonical.KEY_MASK, domain=canonical.DOMAIN) else None


def filter_value(mask: ir.Node) -> float:
    """The fill of a KeyMask as a finite number."""
    return max(mask.attributes["fill"].as_float(), float(np.finfo(np.float32).min))


def _lower(node: ir.Node, with_biases: bool) -> None:
    op = write_before(node)
    inputs = [optional_input(node, position) for position in range(6)]
    attributes: dict[str, int | float] = {
        "num_heads": node.attributes["num_heads"].as_int(),
        "scale": node.attributes["scale"].as_float(),
    }
    padding, attention_bias = None, inputs[canonical.BIAS]
    mask = key_mask_of(attention_bias)
    if mask is not None:
        padding, attention_bias = integer_mask(op, mask), None
        attributes["mask_filter_value"] = filter_value(mask)
    states, bias, adds = _take_biases(op, node) if with_biases else (inputs[: canonical.VALUE + 1], None, [])
    count = 3 if is_needed(node, canonical.PRESENT_KEY) or is_needed(node, canonical.PRESENT_VALUE) else 1
    given = [*states, bias, padding, attention_bias, *inputs[4:]]
    replace_node(node, *op.node("MultiHeadAttention", given, attributes, (None,) * count, MICROSOFT))
    op.graph.remove(adds, safe=True)


def integer_mask(op: Writer, mask: ir.Node) -> ir.Value:
    """The mask [B, R] that a KeyMask reads, as int32."""
    int32 = ir.DataType.INT32
    return op.Cast(mask.inputs[0], to=int32)


def _take_biases(op: Writer, node: ir.Node) -> tuple[list[ir.Value | None], ir.Value | None, list[ir.Node]]:
    """Query, key and value without their biases, the biases joined, and the Adds that are no longer needed.

    Where that cannot be, the three stay as they are, and there is no bias.
    """
    values = list(node.inputs[: canonical.VALUE + 1])
    merged = _merged_bias(values)
    if merged is not None:
        return values, *merged
    linears = [linear for linear in map(find_linear, values) if linear is not None]
    biased = [linear for linear in linears if linear.bias is not None]
    if len(linears) != 3 or not biased or any(sharing(linear) for linear in linears):
        return values, None, []
    if any(len(linear.output.uses()) > 1 or linear.output.is_graph_output() for linear in biased):
        return values, None, []
    bias = joined_bias(op.graph, f"{joined_name(linears, node, 'qkv')}.bias", linears)
    adds = [add for linear in biased if (add := linear.output.producer()) is not None]
    return [linear.product for linear in linears], bias, adds


def _merged_bias(values: list[ir.Value | None]) -> tuple[ir.Value, list[ir.Node]] | None:
    """b and the Add where the three are Split(Add(y, b)) and nothing else reads them; the Split then reads y."""
    makers = {value.producer() for value in values if value is not None}
    split = makers.pop()
    if makers or not is_operator(split, "Split") or split is None or len(split.outputs) != 3:
        return None
    for part, value in zip(split.outputs, values, strict=True):
        if value is not part or len(part.uses()) != 1 or part.is_graph_output():
            return None
    add = sole_producer(split.inputs[0], "Add")
    operands = None if isinstance(add, str) else split_bias(add)
    if operands is None or isinstance(add, str):
        return None
    split.replace_input_with(0, operands[0])
    return operands[1], [add]

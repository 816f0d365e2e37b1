"""Canonical self-attention with its projections -> com.microsoft.Attention.

    Attention(x W_q + b_q, x W_k + b_k, x W_v + b_v, KeyMask(mask))
        ->  com.microsoft.Attention(x, [W_q W_k W_v], [b_q b_k b_v], Cast(mask, int32))

The mask is read as it is, [B, S], so that padding may be anywhere. Refuses cross-attention, caches, read
probabilities, a bias other than a KeyMask, a source that is not [B, S, D], and weights that something else reads.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph import canonical
from export.passes.graph.axes import axes_of
from export.passes.graph.linear import (
    Linear,
    find_linear,
    joined_bias,
    joined_name,
    joined_weight,
    remove_linears,
    sharing,
)
from export.passes.graph.values import is_operator
from export.passes.graph.writer import (
    MICROSOFT,
    Writer,
    is_needed,
    optional_input,
    replace_node,
    use_microsoft,
    write_before,
)
from export.passes.lowering.multi_head_attention import filter_value, integer_mask, key_mask_of


def lower_attention_microsoft(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the Attention nodes that took their projections in."""
    return lower_with(model, integer_mask)


def lower_with(model: ir.Model, make_mask: Callable[[Writer, ir.Node], ir.Value]) -> PassOutcome:
    """Lower every self-attention; `make_mask` gives the operator's mask for a KeyMask node."""
    fired, refusals = 0, []
    for node in [node for node in model.graph if is_operator(node, canonical.ATTENTION, domain=canonical.DOMAIN)]:
        linears = find_projections(node)
        if isinstance(linears, str):
            refusals.append(Refusal(node.name or "", linears))
            continue
        _lower(node, linears, make_mask)
        fired += 1
    use_microsoft(model)
    return PassOutcome(fired, tuple(refusals))


def find_projections(node: ir.Node) -> list[Linear] | str:
    """The three linear layers before `node`, or why com.microsoft.Attention cannot take them."""
    if any(is_needed(node, position) for position in (1, 2, 3)):
        return "keys, values or probabilities are read as well"
    if any(optional_input(node, position) is not None for position in (canonical.PAST_KEY, canonical.PAST_VALUE)):
        return "there is a cache"
    bias = optional_input(node, canonical.BIAS)
    if bias is not None and key_mask_of(bias) is None:
        return "the bias is no mask of keys"
    linears = [linear for linear in map(find_linear, node.inputs[:3]) if linear is not None]
    if len(linears) != 3 or len({linear.source for linear in linears}) != 1:
        return "queries, keys and values are not linear layers of one input"
    axes = axes_of(linears[0].source)
    if axes is None or len(axes) != 3:
        return f"the input of the projections has the axes {axes}, not [B, S, D]"
    if len({linear.width for linear in linears}) != 1:
        return "queries, keys and values have different widths"
    shared = [sharing(linear) for linear in linears]
    shared += [
        f"{linear.output.name} is read elsewhere, too"
        for linear in linears
        if len(linear.output.uses()) != 1 or linear.output.is_graph_output()
    ]
    return next((reason for reason in shared if reason is not None), linears)


def _lower(node: ir.Node, linears: list[Linear], make_mask: Callable[[Writer, ir.Node], ir.Value]) -> None:
    op, name = write_before(node), joined_name(linears, node, "qkv")
    attributes: dict[str, int | float] = {
        "num_heads": node.attributes["num_heads"].as_int(),
        "scale": node.attributes["scale"].as_float(),
    }
    mask = key_mask_of(optional_input(node, canonical.BIAS))
    padding = None
    if mask is not None:
        padding = make_mask(op, mask)
        attributes["mask_filter_value"] = filter_value(mask)
    weight = joined_weight(op.graph, f"{name}.weight", linears)
    bias = joined_bias(op.graph, f"{name}.bias", linears)
    result = op.Attention(linears[0].source, weight, bias, padding, **attributes, _domain=MICROSOFT)
    replace_node(node, result)
    remove_linears(op.graph, linears)

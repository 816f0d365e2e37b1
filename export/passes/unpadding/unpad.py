"""Skips the padding: everything that works token by token runs on the real tokens of a batch alone.

    ids [B, S] -> tables -> layers on [B, S, D] -> heads on [B, S, N]
        ->
    ids[places] [T] -> tables -> layers on [T, D] -> heads on [T, N] -> [B, S, N] with zeros at padding

    Attention(q, k, v, bias)  ->  Attention(q[slots], k[slots], v[slots], bias)[places]      [T] -> [B, S] -> [T]

`packing` says what places and slots are and how they are computed, in operators of opset 13. Zhai et al. 2022
(ByteTransformer, section III-D) packs the same way on GPUs. Positions are looked up by each token's place in its row,
so that holes in a mask and padding on the left keep their meaning. What needs the layout of a batch (attention,
relative positions, pooling) sees padded values: finite numbers at padding inside attention, where the key mask hides
them, and zeros everywhere else.

What comes out: real tokens as in the padded graph. Padding is zero in every output, and so is all that is said of a
text without any real token. The first place of a row counts as a token whatever the mask says, so that heads that
read it give what they give without this pass.

Refuses, leaving the graph as it is: where a cache is kept (padding belongs to it), where an attention has no key mask
or another one than the others, where keys or values do not come from the tokens (cross-attention), where an output at
padding would not be zero, and where a layer has a window and the first place, which may be padding, is read.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph import canonical
from export.passes.graph.canonical import (
    BIAS,
    KEY_MASK,
    PAST_KEY,
    PRESENT_KEY,
    PRESENT_VALUE,
    QUERY,
)
from export.passes.graph.values import is_operator
from export.passes.graph.writer import is_needed, optional_input
from export.passes.unpadding.packing import Packing
from export.passes.unpadding.token_flow import (
    Fate,
    TokenFlow,
    find_bias_nodes,
    find_fates,
    find_token_flow,
    is_probabilities,
)
from export.passes.unpadding.token_rewrite import TokenRewrite
from export.passes.unpadding.token_wise import first_row_reader


def unpad(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the attentions that run between packed tokens: all or none."""
    return unpad_with(model, find_token_flow, Packing)


def unpad_with(
    model: ir.Model,
    find_flow: Callable[[ir.Graph, ir.Value], TokenFlow],
    make_packing: type[Packing],
) -> PassOutcome:
    """Put the part of a graph that `find_flow` finds between what the packing writes; both are given the key mask."""
    graph = model.graph
    attentions = [node for node in graph if is_operator(node, canonical.ATTENTION, domain=canonical.DOMAIN)]
    if not attentions:
        return PassOutcome(0, (Refusal("graph", "there is no attention in the canonical form"),))
    masks: set[ir.Value] = set()
    for node in attentions:
        problem = _attention_problem(node, masks)
        if problem is not None:
            return PassOutcome(0, (Refusal(node.name or "", problem),))
    (mask,) = masks
    flow = find_flow(graph, mask)
    bias_nodes = find_bias_nodes(flow)
    fates = find_fates(graph, flow, bias_nodes)
    refusal = _flow_problem(graph, attentions, flow, fates)
    if refusal is None and make_packing.keeps_padding:
        refusal = _first_place_problem(attentions, flow)
    if refusal is not None:
        return PassOutcome(0, (refusal,))
    TokenRewrite(graph, make_packing(graph, mask), flow, fates, bias_nodes).run()
    return PassOutcome(len(attentions))


def _attention_problem(node: ir.Node, masks: set[ir.Value]) -> str | None:
    """Why `node` cannot attend to packed tokens; else None, and its mask is in `masks`."""
    if optional_input(node, PAST_KEY) is not None or any(is_needed(node, at) for at in (PRESENT_KEY, PRESENT_VALUE)):
        return "it keeps a cache, which holds padding, too"
    bias = optional_input(node, BIAS)
    found = _key_masks(bias) if bias is not None else set()
    if not found:
        return "it has no key mask that says which tokens are real"
    masks |= found
    return None if len(masks) == 1 else "it has another key mask than the others"


def _key_masks(bias: ir.Value) -> set[ir.Value]:
    """Masks that hide keys in `bias`: a KeyMask, anything added to one, or one that a causal mask is put over."""
    node = bias.producer()
    if node is None:
        return set()
    if is_operator(node, KEY_MASK, domain=canonical.DOMAIN) and node.inputs[0] is not None:
        return {node.inputs[0]}
    if not is_operator(node, "Add", "Where", "Expand"):
        return set()
    found: set[ir.Value] = set()
    for value in node.inputs[1:2] if node.op_type == "Where" else node.inputs:
        found |= _key_masks(value) if value is not None else set()
    return found


def _flow_problem(
    graph: ir.Graph, attentions: list[ir.Node], flow: TokenFlow, fates: dict[ir.Value, Fate]
) -> Refusal | None:
    """Why the graph cannot be unpadded, or None."""
    for node in attentions:
        if node not in flow.attentions:
            return Refusal(node.name or "", "its keys and values are not computed token by token from the inputs")
        query = node.inputs[QUERY]
        if query not in flow.values and (query not in fates or fates[query].per_token):
            return Refusal(node.name or "", "its queries are not computed token by token from the inputs")
    for output in graph.outputs:
        fate = fates.get(output)
        if fate is None or fate.zero or is_probabilities(output):
            continue
        if fate.per_token:
            return Refusal(_name(output), f"{output.name} would not be zero at padding")
        rank = None if output.shape is None else len(output.shape)
        if rank != 2:
            return Refusal(_name(output), f"{output.name} has {rank} axes, so that no row of it is one text")
    return None


def _first_place_problem(attentions: list[ir.Node], flow: TokenFlow) -> Refusal | None:
    """Why the first place of a text cannot be read, or None.

    Where it is padding and no token is in its window, it sees all places alike, padding too, which is gone here.
    """
    biases = [optional_input(node, BIAS) for node in attentions]
    if not any(bias is not None and is_operator(bias.producer(), "Where") for bias in biases):
        return None
    for value in flow.values:
        for user, _ in value.uses():
            if first_row_reader(user, value) is not None:
                said = (
                    "reads the first place of each text, which sees padding in layers with a window where it is padding"
                )
                return Refusal(user.name or "", f"it {said}; take the target without -unpadded, or a mean of tokens")
    return None


def _name(value: ir.Value) -> str:
    node = value.producer()
    return (node.name if node is not None else value.name) or ""

"""Canonical Attention between `remove_padding`'s operators -> com.microsoft.PackedMultiHeadAttention.

    Gather(Attention(RestorePadding(q, o), RestorePadding(k, o), RestorePadding(v, o), KeyMask(mask)), o[:T])
        ->  PackedMultiHeadAttention(q, k, v, , o, starts)        q, k, v and the result [T, D]

o and starts are outputs of RemovePadding, whose lengths come from the same mask. Queries, keys and values stay three
products: given them apart, ONNX Runtime takes its fp16 kernel for variable lengths (FlashAttention) at every length,
and no score is ever written to memory. Refuses, leaving it padded: a bias that is more than a key mask, queries
that were narrowed to the first row, probabilities that are read.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph import canonical
from export.passes.graph.canonical import CONTEXT, VALUE
from export.passes.graph.match import remove_unused
from export.passes.graph.values import is_operator
from export.passes.graph.writer import MICROSOFT, is_needed, optional_input, replace_value, write_before
from export.passes.lowering.multi_head_attention import filter_value, key_mask_of

#: Positions of RemovePadding's outputs.
_OFFSETS, _STARTS = 1, 2


@dataclass(frozen=True)
class _Between:
    """An attention between packed tokens.

    Args:
        node: the attention.
        states: [T, D], its queries, keys and values.
        removal: the RemovePadding node.
        packed: the gathers of its context, [T, D].
    """

    node: ir.Node
    states: tuple[ir.Value, ...]
    removal: ir.Node
    packed: tuple[ir.Node, ...]


def lower_packed_attention(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the attentions that became PackedMultiHeadAttention."""
    fired, refusals = 0, []
    for node in [node for node in model.graph if is_operator(node, canonical.ATTENTION, domain=canonical.DOMAIN)]:
        found = _find(node)
        if isinstance(found, str):
            refusals.append(Refusal(node.name or "", found))
            continue
        _lower(found)
        fired += 1
    return PassOutcome(fired, tuple(refusals))


def _find(node: ir.Node) -> _Between | str:
    """`node` with what stands around it, or why it stays padded."""
    bias = optional_input(node, canonical.BIAS)
    if key_mask_of(bias) is None:
        return "its bias is more than a key mask"
    if any(is_needed(node, position) for position in range(1, len(node.outputs))):
        return "its cache or its probabilities are read"
    restored = [value.producer() if value is not None else None for value in node.inputs[: VALUE + 1]]
    if not all(is_operator(one, "RestorePadding", domain=MICROSOFT) for one in restored):
        return "its queries, keys and values are not all packed tokens"
    states = tuple(one.inputs[0] for one in restored if one is not None and one.inputs[0] is not None)
    offsets = {one.inputs[1] for one in restored if one is not None}
    offset = offsets.pop()
    removal = offset.producer() if offset is not None and not offsets else None
    if removal is None or not is_operator(removal, "RemovePadding", domain=MICROSOFT):
        return "its queries, keys and values are not packed by one RemovePadding"
    packed = _gathers(node.outputs[CONTEXT], removal.outputs[_OFFSETS])
    if packed is None:
        return "its context is not packed"
    return _Between(node, states, removal, packed)


def _gathers(context: ir.Value, offsets: ir.Value) -> tuple[ir.Node, ...] | None:
    """The nodes that gather the kept tokens of `context`, as [B * S, D]; None where anything else reads it."""
    if context.is_graph_output():
        return None
    readers: list[ir.Node] = []
    for user, _ in context.uses():
        if not is_operator(user, "Reshape"):
            return None
        readers += [reader for reader, _ in user.outputs[0].uses()]
    return tuple(readers) if readers and all(_gathers_kept(reader, offsets) for reader in readers) else None


def _gathers_kept(node: ir.Node, offsets: ir.Value) -> bool:
    """Whether `node` gathers along the first axis by the beginning of `offsets`."""
    if not is_operator(node, "Gather") or ("axis" in node.attributes and node.attributes["axis"].as_int() != 0):
        return False
    index = node.inputs[1]
    while index is not None and index is not offsets and is_operator(index.producer(), "Cast", "Slice", "Reshape"):
        maker = index.producer()
        index = maker.inputs[0] if maker is not None else None
    return index is offsets


def _lower(found: _Between) -> None:
    node, mask = found.node, key_mask_of(optional_input(found.node, canonical.BIAS))
    assert mask is not None
    op = write_before(node)
    attributes = {
        "num_heads": node.attributes["num_heads"].as_int(),
        "scale": node.attributes["scale"].as_float(),
        "mask_filter_value": filter_value(mask),
    }
    offsets, starts = found.removal.outputs[_OFFSETS], found.removal.outputs[_STARTS]
    inputs = (*found.states, None, offsets, starts)
    result = op.PackedMultiHeadAttention(*inputs, **attributes, _domain=MICROSOFT)
    for gather in found.packed:
        replace_value(gather.outputs[0], result)
        remove_unused(op.graph, gather.outputs[0])

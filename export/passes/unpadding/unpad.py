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
or another one than the others, where keys or values do not come from the tokens (cross-attention), and where an
output at padding would not be zero.
"""

from __future__ import annotations

import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph import canonical
from export.passes.graph.canonical import (
    BIAS,
    KEY_MASK,
    PAST_KEY,
    PRESENT_KEY,
    PRESENT_VALUE,
    PROBABILITIES,
    QUERY,
)
from export.passes.graph.values import add_constant, constant_array, is_operator
from export.passes.graph.writer import is_needed, optional_input, scope_of
from export.passes.raising.head_layout import last_axis
from export.passes.unpadding.packing import TOKENS, Packing
from export.passes.unpadding.token_flow import Fate, TokenFlow, find_bias_nodes, find_fates, find_token_flow
from export.passes.unpadding.token_wise import FirstRow, first_row_reader, token_operands


def unpad(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the attentions that run between packed tokens: all or none."""
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
    flow = find_token_flow(graph, mask)
    bias_nodes = find_bias_nodes(flow)
    fates = find_fates(graph, flow, bias_nodes)
    refusal = _flow_problem(graph, attentions, flow, fates)
    if refusal is not None:
        return PassOutcome(0, (refusal,))
    _Unpadding(graph, mask, flow, fates, bias_nodes).run()
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


def is_probabilities(value: ir.Value) -> bool:
    """Whether `value` is what a canonical Attention returns as probabilities."""
    return (
        is_operator(value.producer(), canonical.ATTENTION, domain=canonical.DOMAIN) and value.index() == PROBABILITIES
    )


def _name(value: ir.Value) -> str:
    node = value.producer()
    return (node.name if node is not None else value.name) or ""


class _Unpadding:
    """Rewrites the graph. Everything was checked before."""

    def __init__(
        self,
        graph: ir.Graph,
        mask: ir.Value,
        flow: TokenFlow,
        fates: dict[ir.Value, Fate],
        bias_nodes: set[ir.Node],
    ) -> None:
        self.graph = graph
        self.flow = flow
        self.bias_nodes = bias_nodes
        self.packing = Packing(graph, mask)
        self.inside = {*flow.nodes, *flow.splits}
        self.guarded = [value for value in graph.outputs if value in fates and not fates[value].zero]
        self.shapes = {output: output.shape for output in graph.outputs}
        self.restored: dict[ir.Value, ir.Value] = {}
        self.unpacked: dict[ir.Value, ir.Value] = {}
        self.packed_operands: dict[ir.Value, ir.Value] = {}

    def run(self) -> None:
        """From the heads' outputs back to the inputs, so that each step finds the readers of its value as they were."""
        for output in self.guarded:
            self._guard(output)
        readers = {value: tuple((user, place) for user, place in value.uses()) for value in self.flow.values}
        for value, uses in readers.items():
            node = value.producer()
            if node is not None and node in self.flow.attentions:
                packed = self.packing.pack(value, last_axis(node.inputs[QUERY]) or -1, scope_of(node))
            else:
                packed = value
                value.shape = None if value.shape is None else ir.Shape([TOKENS, value.shape[-1]])
            self._redirect(value, packed, uses)
        for node in self.flow.lookups:
            assert node.inputs[1] is not None
            node.replace_input_with(1, self.packing.pack_ids(node.inputs[1]))
        for node in self.flow.nodes:
            self._pack_operands(node)
        for node in (*self.flow.nodes, *self.flow.splits):
            if "axis" in node.attributes:
                node.attributes["axis"] = ir.AttrInt64("axis", -1)
        self.graph.sort()

    def _redirect(self, value: ir.Value, packed: ir.Value, uses: tuple[tuple[ir.Node, int], ...]) -> None:
        """Give each reader of `value` the form that it needs."""
        for user, place in uses:
            reader = first_row_reader(user, value) if user not in self.inside else None
            if user in self.inside:
                new = packed
            elif reader is not None:
                self._replace_reader(packed, reader)
                continue
            elif user in self.flow.attentions or user in self.bias_nodes:
                new = self._unpack(packed)  # no zeros: the first place of a row has a query even where it is padding
            else:
                new = self._restore(packed)
            if new is not user.inputs[place]:
                user.replace_input_with(place, new)
        if value.is_graph_output():
            self._replace_output(value, self._restore(packed))

    def _replace_reader(self, packed: ir.Value, reader: FirstRow) -> None:
        """Let the first row of each text be gathered from the packed tokens."""
        old = reader.node.outputs[0]
        new = self.packing.first_row(packed, reader.keeps_axis, scope_of(reader.node))
        new.shape = old.shape
        old.replace_all_uses_with(new)
        self.graph.remove(reader.node, safe=True)

    def _pack_operands(self, node: ir.Node) -> None:
        """Bring what `node` reads beside packed values to the same form; constants lose their leading axes of 1."""
        tokens = token_operands(node) or ()
        for place, operand in enumerate(node.inputs):
            if operand is None:
                continue
            if place in tokens and operand in self.flow.positions:
                if operand not in self.packed_operands:
                    self.packed_operands[operand] = self.packing.pack_positions(operand, scope_of(node))
                node.replace_input_with(place, self.packed_operands[operand])
            elif place in tokens and operand in self.flow.padded:
                if operand not in self.packed_operands:
                    width = self.flow.padded[operand]
                    self.packed_operands[operand] = self.packing.pack(operand, width, scope_of(node))
                node.replace_input_with(place, self.packed_operands[operand])
            elif place not in tokens and not is_operator(node, "MatMul"):
                array = constant_array(operand)
                if array is not None and array.ndim > 1:
                    node.replace_input_with(place, add_constant(self.graph, "weight", array.reshape(-1)))

    def _unpack(self, packed: ir.Value) -> ir.Value:
        if packed not in self.unpacked:
            self.unpacked[packed] = self.packing.unpack(packed, scope_of(packed.producer()))
        return self.unpacked[packed]

    def _restore(self, packed: ir.Value) -> ir.Value:
        if packed not in self.restored:
            self.restored[packed] = self.packing.restore(packed, scope_of(packed.producer()))
        return self.restored[packed]

    def _guard(self, output: ir.Value) -> None:
        """Let `output` be zero where there is no text: [B, H, S, R] at padding queries, [B, N] in empty rows."""
        if is_probabilities(output):
            self._replace_output(output, self.packing.clear_queries(output, scope_of(output.producer())))
            return
        value, reader = output, None
        while (node := value.producer()) is not None and is_operator(node, "Reshape", "Identity"):
            assert node.inputs[0] is not None
            value, reader = node.inputs[0], node
        cleared = self.packing.clear_empty(value, scope_of(value.producer()))
        if reader is None:
            self._replace_output(output, cleared)
        else:
            cleared.shape = value.shape
            reader.replace_input_with(0, cleared)

    def _replace_output(self, old: ir.Value, new: ir.Value) -> None:
        """Return `new` under the name of `old`."""
        name, old.name = old.name, f"{old.name}_before"
        new.name, new.shape, new.type = name, self.shapes[old], old.type
        for position, output in enumerate(self.graph.outputs):
            if output is old:
                self.graph.outputs[position] = new

"""Puts the token-wise part of a graph on packed tokens, whatever packs and unpacks them."""

from __future__ import annotations

import onnx_ir as ir

from export.passes.graph.canonical import QUERY
from export.passes.graph.match import remove_unused
from export.passes.graph.values import add_constant, constant_array, is_operator
from export.passes.graph.writer import replace_value, scope_of
from export.passes.raising.head_layout import last_axis
from export.passes.unpadding.packing import TOKENS, Packing
from export.passes.unpadding.token_flow import Fate, TokenFlow, is_probabilities
from export.passes.unpadding.token_sums import find_token_sums, is_masked
from export.passes.unpadding.token_wise import FirstRow, first_row_reader, token_operands


class TokenRewrite:
    """Rewrites the graph. Everything was checked before.

    Args:
        graph: the graph.
        packing: writes the nodes that pack and unpack.
        flow: what runs on packed tokens.
        fates: what becomes of it.
        bias_nodes: nodes that compute the biases of attentions.
    """

    def __init__(
        self,
        graph: ir.Graph,
        packing: Packing,
        flow: TokenFlow,
        fates: dict[ir.Value, Fate],
        bias_nodes: set[ir.Node],
    ) -> None:
        self.graph = graph
        self.flow = flow
        self.bias_nodes = bias_nodes
        self.packing = packing
        self.inside = {*flow.nodes, *flow.splits}
        self.tokens = {*flow.values, *fates}
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
            elif node is not None and node in self.flow.entries:
                packed = self.packing.enter(value)
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
            elif self._sum_packed(user, value, packed):
                continue
            elif self.packing.drops_masks and is_masked(user, value, self.packing.mask):
                replace_value(user.outputs[0], self._restore(packed))
                remove_unused(self.graph, user.outputs[0])
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
        new.shape = old.shape or new.shape
        old.replace_all_uses_with(new)
        self.graph.remove(reader.node, safe=True)

    def _sum_packed(self, user: ir.Node, value: ir.Value, packed: ir.Value) -> bool:
        """Let sums over tokens that begin at `user` be sums over packed tokens, where the packing writes them."""
        found = find_token_sums(user, value, self.packing.mask, self.tokens)
        results = [self.packing.sum_tokens(packed, one, scope_of(user)) for one in found]
        for one, result in zip(found, results, strict=True):
            if result is not None:
                replace_value(one.result, result)
                remove_unused(self.graph, one.result)
        return bool(results) and None not in results

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

"""Computes only the first row of the last layer where nothing else of it is used.

    y = layer(x) [B, S, D], read as y[:, 0] alone   ->   y = layer'(x) [B, 1, D]

    layer'(x): query, output projection, both LayerNorms and the feed-forward on x[:, :1]; keys and values on x

Exact: each of those works on each token by itself, and row 0 of the context depends on row 0 of the query, all keys
and all values. It saves 2D^2 + 2DF of the 4D^2 + 2DF multiplications a token of the last layer (Devlin et al. 2018,
section 3, for the layer's parts). It must run before the projections are merged, which would compute all queries again.

Refuses where anything reads other rows (mean pooling, `last_hidden_state` or `hidden_states` among the outputs), where
the probabilities are used, and where the bias is computed from all queries (relative positions).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph import canonical
from export.passes.graph.canonical import BIAS, KEY_MASK, PAST_KEY, QUERY
from export.passes.graph.values import add_constant, constant_array, is_operator
from export.passes.graph.writer import is_needed, optional_input, write_before
from export.passes.unpadding.packing import table_of_first_rows
from export.passes.unpadding.token_wise import first_row_reader, token_operands


def first_row(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the layers that were reduced to one row: 1 or 0."""
    attentions = [node for node in model.graph if is_operator(node, canonical.ATTENTION, domain=canonical.DOMAIN)]
    if not attentions:
        return PassOutcome(0)
    last = attentions[-1]
    found = _last_layer(last)
    if isinstance(found, str):
        return PassOutcome(0, (Refusal(last.name or "", found),))
    _Narrowing(model.graph, last, found).run()
    return PassOutcome(1)


def _last_layer(attention: ir.Node) -> set[ir.Node] | str:
    """What follows `attention` up to the readers of the first row, those not included; or why it cannot be reduced."""
    if optional_input(attention, PAST_KEY) is not None:
        return "the layer has a cache"
    if any(is_needed(attention, position) for position in range(1, len(attention.outputs))):
        return "the cache or the probabilities of all rows are used"
    bias = optional_input(attention, BIAS)
    if bias is not None and not is_operator(bias.producer(), KEY_MASK, domain=canonical.DOMAIN):
        return f"the bias {bias.name} may differ from query to query"
    region: set[ir.Node] = {attention}
    readers = 0
    todo = [attention.outputs[canonical.CONTEXT]]
    while todo:
        value = todo.pop()
        if value.is_graph_output():
            return f"{value.name} is an output of the graph"
        for user, _ in value.uses():
            if first_row_reader(user, value) is not None:
                readers += 1
            elif token_operands(user) is None:
                return f"{user.name} ({user.op_type}) reads rows of {value.name} other than the first"
            elif user not in region:
                region.add(user)
                todo.extend(user.outputs)
    if not readers:
        return "nothing reads the first row"
    problems = [_residual_problem(node, region) for node in region if node is not attention]
    return next((problem for problem in problems if problem is not None), region)


def _residual_problem(user: ir.Node, region: set[ir.Node]) -> str | None:
    """Why an operand of `user` that the layer does not compute may be no state [B, S, D]; None if all are."""
    for place in token_operands(user) or ():
        value = user.inputs[place]
        assert value is not None
        if value.producer() in region or is_operator(value.producer(), "LayerNormalization"):
            continue
        if value.shape is None or len(value.shape) != 3 or value.shape[1] == 1:
            return f"{value.name}, which {user.name} reads, is not known to be a hidden state"
    return None


def _first_is(value: ir.Value | None, number: float) -> bool:
    """Whether `value` [S, D] is the first rows of a table whose first row is full of `number`."""
    table = constant_array(table_of_first_rows(value)) if value is not None else None
    return table is not None and bool((table[0] == number).all())


class _Narrowing:
    """Lets a region of the graph run on one row, and whatever computes nothing but its inputs with it.

    Args:
        graph: the graph.
        attention: the last layer's, whose keys and values stay as they are.
        region: the nodes that follow it; nodes before it join as they are narrowed.
    """

    def __init__(self, graph: ir.Graph, attention: ir.Node, region: set[ir.Node]) -> None:
        self.graph = graph
        self.attention = attention
        self.region = region
        self.rows: dict[ir.Value, ir.Value] = {}
        self.zero = add_constant(graph, "first", np.array([0], np.int64))

    def run(self) -> None:
        """Narrow everything."""
        self._drop_rotation()
        # In the order of the graph: it names nodes, and a set's order differs from process to process.
        for node in [node for node in self.graph if node in self.region]:
            self._narrow(node, (QUERY,) if node is self.attention else token_operands(node) or ())
        for node in self.region:
            output = node.outputs[0]
            if output.shape is not None and len(output.shape) == 3:
                output.shape = ir.Shape([output.shape[0], 1, output.shape[2]])
        self.graph.sort()

    def _drop_rotation(self) -> None:
        """Rotary positions turn nothing in the first place: cos 0 = 1 and sin 0 = 0."""
        query = self.attention.inputs[QUERY]
        rotary = query.producer() if query is not None else None
        if rotary is None or not is_operator(rotary, canonical.ROTARY, domain=canonical.DOMAIN):
            return
        if len(rotary.outputs[0].uses()) == 1 and _first_is(rotary.inputs[1], 1.0) and _first_is(rotary.inputs[2], 0.0):
            self.attention.replace_input_with(QUERY, rotary.inputs[0])
            self.graph.remove(rotary, safe=True)

    def _narrow(self, node: ir.Node, places: tuple[int, ...]) -> None:
        for place in places:
            value = node.inputs[place]
            assert value is not None
            node.replace_input_with(place, self._row(value, node))

    def _row(self, value: ir.Value, user: ir.Node) -> ir.Value:
        """[B, 1, D] of `value`, for `user`: computed on one row where only the region needs it, else gathered."""
        node = value.producer()
        if node is None or node in self.region:
            return value
        # Tables of rotations have places on another axis, so that one row of what they turned is gathered.
        places = None if is_operator(node, canonical.ROTARY, domain=canonical.DOMAIN) else token_operands(node)
        if places is not None and not self._is_needed_whole(value):
            self.region.add(node)
            self._narrow(node, places)
            return value
        if value not in self.rows:
            self.rows[value] = write_before(user).Gather(value, self.zero, axis=1)
        return self.rows[value]

    def _is_needed_whole(self, value: ir.Value) -> bool:
        """Whether anything but the region and the queries reads `value`."""
        return value.is_graph_output() or any(
            user not in self.region or (user is self.attention and place != QUERY) for user, place in value.uses()
        )

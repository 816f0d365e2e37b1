"""Finds what a graph computes token by token, from its embeddings to its heads, and what becomes of it afterwards."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import onnx_ir as ir

from export.passes.graph import canonical
from export.passes.graph.canonical import BIAS, KEY, PROBABILITIES, QUERY, VALUE
from export.passes.graph.values import constant_array, is_operator
from export.passes.raising.head_layout import last_axis
from export.passes.unpadding.token_wise import first_row_reader, token_operands

#: Operators that give zeros for zeros in their first input, and keep to its row.
_KEEP_ZEROS = frozenset(
    {"Cast", "Expand", "Gather", "Identity", "ReduceL2", "ReduceMean", "ReduceSum", "Reshape", "Slice", "Split"}
    | {"Squeeze", "Transpose", "Unsqueeze"}
)  # fmt: skip
_REDUCTIONS = frozenset({"ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"})
_SEQUENCE_AXES = ([1], [-2])


@dataclass
class TokenFlow:
    """The part of a graph that can run on packed tokens.

    Args:
        values: the values [B, S, D] that may be computed as [T, D], in the order of the graph.
        lookups: nodes that look ids [B, S] up in a table.
        entries: nodes that stay on [B, S, D] and whose results are packed, where it is not the ids that are.
        nodes: nodes whose operands are in `values`, or are made so (`positions`, `padded`).
        splits: Split nodes of merged projections, along the last axis.
        attentions: nodes whose keys and values are in `values`, and, unless it was narrowed to one row, the query.
        positions: operands [S, D] or [1, S, D], the same for every row of the batch.
        padded: operands [B, S, D] that are not computed token by token, and D.
    """

    values: dict[ir.Value, None] = field(default_factory=dict)
    lookups: list[ir.Node] = field(default_factory=list)
    entries: list[ir.Node] = field(default_factory=list)
    nodes: list[ir.Node] = field(default_factory=list)
    splits: list[ir.Node] = field(default_factory=list)
    attentions: list[ir.Node] = field(default_factory=list)
    positions: set[ir.Value] = field(default_factory=set)
    padded: dict[ir.Value, int] = field(default_factory=dict)


def find_token_flow(graph: ir.Graph, mask: ir.Value, entries: Collection[ir.Node] = ()) -> TokenFlow:
    """Follow embeddings of ids that have the axes of `mask` through the graph, or the results of `entries` alone."""
    flow, axes = TokenFlow(), _input_axes(mask)
    for node in graph:
        if is_operator(node, canonical.ATTENTION, domain=canonical.DOMAIN):
            if node.inputs[KEY] in flow.values and node.inputs[VALUE] in flow.values:
                flow.attentions.append(node)
                if node.inputs[QUERY] in flow.values and last_axis(node.inputs[QUERY]) is not None:
                    flow.values[node.outputs[canonical.CONTEXT]] = None
        elif node in entries:
            flow.entries.append(node)
            flow.values[node.outputs[0]] = None
        elif not entries and _is_lookup(node, axes):
            flow.lookups.append(node)
            flow.values[node.outputs[0]] = None
        elif _is_split_projection(node, flow):
            flow.splits.append(node)
            flow.values.update(dict.fromkeys(node.outputs))
        elif _joins(node, flow):
            flow.nodes.append(node)
            flow.values[node.outputs[0]] = None
    return flow


def _is_lookup(node: ir.Node, axes: list[str] | None) -> bool:
    """Whether `node` looks up ids, which have the axes of the mask, in a constant table."""
    if not is_operator(node, "Gather") or node.inputs[0] is None or node.inputs[1] is None or axes is None:
        return False
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    table = constant_array(node.inputs[0])
    return axis == 0 and table is not None and table.ndim == 2 and _input_axes(node.inputs[1]) == axes


def _input_axes(value: ir.Value) -> list[str] | None:
    """Axes of the graph input that `value` is, or is a reshape of; of ids that are computed from one, their own.

    None where an axis has no name.
    """
    node = value.producer()
    while node is not None and is_operator(node, "Reshape", "Cast", "Identity") and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    if value.shape is None:
        return None
    axes = [None if isinstance(axis, int) else axis.value for axis in value.shape]
    return None if None in axes else [str(axis) for axis in axes]


def _is_split_projection(node: ir.Node, flow: TokenFlow) -> bool:
    """Whether `node` splits what one product made into queries, keys and values."""
    if not is_operator(node, "Split") or node.inputs[0] not in flow.values or "axis" not in node.attributes:
        return False
    users = [user for output in node.outputs for user, _ in output.uses()]
    to_attention = any(is_operator(user, canonical.ATTENTION, domain=canonical.DOMAIN) for user in users)
    return to_attention and node.attributes["axis"].as_int() in (-1, 2)


def _joins(node: ir.Node, flow: TokenFlow) -> bool:
    """Whether `node` works token by token on values of the flow; notes the operands that have to be packed for it."""
    places = token_operands(node)
    operands = [node.inputs[place] for place in places or ()]
    if not any(operand in flow.values for operand in operands):
        return False
    positions: list[ir.Value] = []
    padded: dict[ir.Value, int] = {}
    for operand in operands:
        if operand is None or operand in flow.values:
            continue
        if operand.shape is None or len(operand.shape) not in (2, 3):
            return False
        if len(operand.shape) == 2 or operand.shape[0] == 1:
            if operand.shape[-2] == 1:
                return False
            positions.append(operand)
            continue
        width = operand.shape[2]
        if not isinstance(width, int) or width == 1 or any(isinstance(axis, int) for axis in operand.shape[:2]):
            return False
        padded[operand] = width
    flow.positions.update(positions)
    flow.padded.update(padded)
    return True


@dataclass(frozen=True)
class Fate:
    """What a padded value is that was computed from packed ones.

    Args:
        per_token: whether it still has an entry for every token.
        zero: whether padding, or a text without a real token, gives zeros in it.
    """

    per_token: bool
    zero: bool


def find_bias_nodes(flow: TokenFlow) -> set[ir.Node]:
    """The nodes that compute the biases of attentions: they read tokens where relative positions do."""
    found: set[ir.Node] = set()
    todo = [node.inputs[BIAS] for node in flow.attentions]
    while todo:
        value = todo.pop()
        node = value.producer() if value is not None and value not in flow.values else None
        if node is not None and node not in found:
            found.add(node)
            todo.extend(node.inputs)
    return found


def find_fates(graph: ir.Graph, flow: TokenFlow, bias_nodes: set[ir.Node]) -> dict[ir.Value, Fate]:
    """The fate of every value that is computed from the flow and is not part of it.

    Nodes of biases see other numbers than zeros at padding.
    """
    inside = {*flow.lookups, *flow.entries, *flow.nodes, *flow.splits}
    fates: dict[ir.Value, Fate] = dict.fromkeys(flow.values, Fate(per_token=True, zero=True))
    for node in graph:
        if node in inside or is_operator(node, "Shape"):
            continue
        known = [fates.get(value) if value is not None else None for value in node.inputs]
        fate = _fate(node, known)
        if fate is not None:
            zero = fate.zero and node not in bias_nodes
            for output in node.outputs:
                fates.setdefault(output, Fate(fate.per_token, zero))
    return {value: fate for value, fate in fates.items() if value not in flow.values}


def _fate(node: ir.Node, operands: list[Fate | None]) -> Fate | None:
    """The fate of the results of `node` from that of its operands; None if it has nothing to do with tokens."""
    known = [operand for operand in operands if operand is not None]
    if not known:
        return None
    if is_operator(node, canonical.ATTENTION, domain=canonical.DOMAIN):
        query = operands[QUERY]
        return Fate(per_token=query is None or query.per_token, zero=False)
    first, value = operands[0], node.inputs[0]
    if first is not None and first.per_token and value is not None and first_row_reader(node, value) is not None:
        return Fate(per_token=False, zero=False)
    per_token = any(operand.per_token for operand in known) and not _reduces_sequence(node)
    if is_operator(node, "Div", *_KEEP_ZEROS):
        zero = first is not None and first.zero
    else:
        zero = is_operator(node, "Mul") and any(operand.zero for operand in known)
    return Fate(per_token, zero)


def _reduces_sequence(node: ir.Node) -> bool:
    """Whether `node` reduces over the sequence axis alone."""
    if node.domain != "" or node.op_type not in _REDUCTIONS:
        return False
    given = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
    axes = given.tolist() if given is not None else None
    if "axes" in node.attributes:
        axes = list(node.attributes["axes"].as_ints())
    return axes in _SEQUENCE_AXES


def is_probabilities(value: ir.Value) -> bool:
    """Whether `value` is what a canonical Attention returns as probabilities."""
    return (
        is_operator(value.producer(), canonical.ATTENTION, domain=canonical.DOMAIN) and value.index() == PROBABILITIES
    )

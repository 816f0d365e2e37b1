"""Brings ai.onnx's Attention operator (opset 23) to the canonical form.

    Reshape(Transpose(ai.onnx.Attention(heads of query, heads of key, heads of value, bias)), [0, 0, H*K])
    ai.onnx.Attention(query, key, value, bias) {q_num_heads: H}
        ->  bert_onnx.Attention(query, key, value, bias)

A mask of booleans becomes Where(mask, 0, lowest float). Refuses what the canonical form has no words for: is_causal,
softcap, fewer heads of keys than of queries, scores as an output other than the probabilities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph.canonical import CONTEXT, PRESENT_KEY, PRESENT_VALUE, PROBABILITIES
from export.passes.graph.values import is_operator
from export.passes.graph.writer import write_before
from export.passes.raising.attention_node import AttentionParts, replace_attention
from export.passes.raising.head_layout import CACHE_AXES, find_merge, find_split, last_axis

_MASK, _PAST_KEY, _PAST_VALUE = 3, 4, 5
_PROBABILITIES_MODE = 3


def raise_attention_operator(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the Attention nodes that were made."""
    fired, refusals = 0, []
    for node in list(model.graph):
        if not is_operator(node, "Attention"):
            continue
        found = _unsupported(node) or _match(node)
        if isinstance(found, str):
            refusals.append(Refusal(node.name or "", found))
            continue
        mask = _input(node, _MASK)
        if mask is not None:
            biases = ((_as_bias(node, mask), 1.0),)
            found = replace(found, biases=biases)
        replace_attention(model.graph, found)
        fired += 1
    common.RemoveUnusedNodesPass()(model)
    common.TopologicalSortPass()(model)
    return PassOutcome(fired, tuple(refusals))


def _input(node: ir.Node, position: int) -> ir.Value | None:
    return node.inputs[position] if position < len(node.inputs) else None


def _integer(node: ir.Node, name: str) -> int:
    return node.attributes[name].as_int() if name in node.attributes else 0


def _output(node: ir.Node, position: int) -> ir.Value | None:
    """An output that something reads or the graph returns."""
    value = node.outputs[position] if position < len(node.outputs) else None
    return value if value is not None and (value.uses() or value.is_graph_output()) else None


def _unsupported(node: ir.Node) -> str | None:
    """What the canonical form cannot say."""
    if _integer(node, "is_causal"):
        return "is_causal has no place in the canonical form"
    if "softcap" in node.attributes and node.attributes["softcap"].as_float() != 0.0:
        return "softcap has no place in the canonical form"
    if _output(node, 3) is not None and _integer(node, "qk_matmul_output_mode") != _PROBABILITIES_MODE:
        return "the scores before softmax are read"
    if len(node.inputs) > _PAST_VALUE + 1 and any(value is not None for value in node.inputs[_PAST_VALUE + 1 :]):
        return "lengths of keys are an input"
    return None


@dataclass(frozen=True)
class _States:
    """The three states, unsplit, and the value that holds the result with its heads put together."""

    query: ir.Value
    key: ir.Value
    value: ir.Value
    heads: int
    size: int
    merged: ir.Value
    factor: float = 1.0


def _match(node: ir.Node) -> AttentionParts | str:
    """The parts of `node`, without its mask."""
    values = [value for value in node.inputs[:3] if value is not None]
    if len(values) < 3:
        return "queries, keys or values are not given"
    states = _joined_heads(node, values) if _integer(node, "q_num_heads") else _split_heads(node, values)
    if isinstance(states, str):
        return states
    if "scale" not in node.attributes and not states.size:
        return "the size of a head, and with it the scale, cannot be told"
    scale = node.attributes["scale"].as_float() if "scale" in node.attributes else 1.0 / math.sqrt(states.size)
    results = {CONTEXT: states.merged}
    for position, place in ((PRESENT_KEY, 1), (PRESENT_VALUE, 2), (PROBABILITIES, 3)):
        value = _output(node, place)
        if value is not None:
            results[position] = value
    return AttentionParts(
        core=node,
        query=states.query,
        key=states.key,
        value=states.value,
        heads=states.heads,
        scale=scale * states.factor,
        biases=(),
        past=(_input(node, _PAST_KEY), _input(node, _PAST_VALUE)),
        results=results,
    )


def _joined_heads(node: ir.Node, values: list[ir.Value]) -> _States | str:
    """Inputs of three axes, whose heads the operator splits itself."""
    heads = _integer(node, "q_num_heads")
    if _integer(node, "kv_num_heads") != heads:
        return "keys have fewer heads than queries"
    query, key, value = values
    return _States(query, key, value, heads, (last_axis(query) or 0) // heads, node.outputs[0])


def _split_heads(node: ir.Node, values: list[ir.Value]) -> _States | str:
    """Inputs of four axes, [B, H, S, K]."""
    splits = []
    for value in values:
        split = find_split(value)
        if isinstance(split, str):
            return split
        if split.axes != CACHE_AXES or split.past is not None:
            return f"{value.name} is not a state that was split into heads"
        splits.append(split)
    query, key, value_split = splits
    if len({(split.heads, split.size) for split in splits}) != 1 or value_split.factor != 1.0:
        return "queries, keys and values have different heads, or the values are scaled"
    merged = find_merge(node.outputs[0], query)
    if isinstance(merged, str):
        return merged
    factor = query.factor * key.factor
    return _States(query.source, key.source, value_split.source, query.heads, query.size, merged, factor)


def _as_bias(node: ir.Node, mask: ir.Value) -> ir.Value:
    """`mask` as something to add; of booleans, False hides."""
    if mask.dtype != ir.DataType.BOOL:
        return mask
    op = write_before(node)
    lowest = op.constant("fill", np.array(np.finfo(np.float32).min, np.float32))
    zero = op.constant("zero", np.array(0.0, np.float32))
    bias = op.Where(mask, zero, lowest)
    bias.shape = mask.shape
    return bias

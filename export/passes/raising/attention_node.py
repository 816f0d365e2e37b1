"""Puts a canonical Attention node in the place of what a raising pass has recognised as attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from export.passes.graph.canonical import ATTENTION, CONTEXT, DOMAIN
from export.passes.graph.match import depends_on, is_alive, make_node, remove_unused, sibling_name, take_over
from export.passes.graph.values import add_constant, is_operator

#: Axes of attention's scores; a bias has no more.
_RANK_OF_SCORES = 4


@dataclass(frozen=True)
class AttentionParts:
    """One attention that was recognised.

    Args:
        core: the node that it is named after.
        query, key, value: states, [B, S, H*K] and twice [B, R, H*K].
        heads: H.
        scale: what Q K^T is multiplied with.
        biases: what is added to the scores, each with the factor that it is multiplied with first.
        past: keys and values of a cache, [B, H, P, K] each, or nothing.
        results: the values that it makes, by their position among Attention's outputs.
    """

    core: ir.Node
    query: ir.Value
    key: ir.Value
    value: ir.Value
    heads: int
    scale: float
    biases: tuple[tuple[ir.Value, float], ...]
    past: tuple[ir.Value | None, ir.Value | None]
    results: Mapping[int, ir.Value]


def replace_attention(graph: ir.Graph, parts: AttentionParts) -> None:
    """Let an Attention node make all `results`; nodes that nothing reads any more are removed.

    A result that a bias is computed from stays as it was: an attention cannot read what it makes.
    """
    merged = parts.results[CONTEXT]
    last = merged.producer()
    assert last is not None
    bias = _sum_biases(graph, last, parts)
    inputs = [parts.query, parts.key, parts.value, bias, *parts.past]
    attributes = {"num_heads": parts.heads, "scale": parts.scale}
    node = make_node(DOMAIN, ATTENTION, inputs, attributes, 4, sibling_name(parts.core, ATTENTION))
    graph.insert_before(last, node)
    take_over(node.outputs[CONTEXT], merged)
    remove_unused(graph, merged)
    for position, output in enumerate(node.outputs):
        old = parts.results.get(position)
        if position == CONTEXT:
            continue
        if old is not None and is_alive(old) and not (bias is not None and depends_on(bias, old)):
            take_over(output, old)
            remove_unused(graph, old)
        else:
            output.name = ""
    node.resize_outputs(1 + max(position for position, output in enumerate(node.outputs) if output.name != ""))


def _sum_biases(graph: ir.Graph, place: ir.Node, parts: AttentionParts) -> ir.Value | None:
    """The sum of all biases, with their factors; those with the same factor are added before they are scaled."""
    total: ir.Value | None = None
    by_factor: dict[float, ir.Value] = {}
    for bias, factor in parts.biases:
        by_factor[factor] = _combine(graph, place, parts, "Add", by_factor.get(factor), _unexpanded(bias))
    for factor, bias in by_factor.items():
        if factor != 1.0:
            number = add_constant(graph, "scale", np.array(factor, _dtype(bias)))
            bias = _combine(graph, place, parts, "Mul", bias, number)
        total = _combine(graph, place, parts, "Add", total, bias)
    return total


def _unexpanded(bias: ir.Value) -> ir.Value:
    """What an Expand had made longer: adding it to the scores broadcasts it anyway."""
    node = bias.producer()
    while node is not None and is_operator(node, "Expand") and node.inputs[0] is not None:
        if bias.shape is None or len(bias.shape) > _RANK_OF_SCORES:
            break
        bias = node.inputs[0]
        node = bias.producer()
    return bias


def _dtype(bias: ir.Value) -> np.dtype:
    """dtype of the constants that are combined with `bias`; float32 where the graph does not say."""
    return np.dtype(np.float32) if bias.dtype is None else bias.dtype.numpy()


def _combine(
    graph: ir.Graph, place: ir.Node, parts: AttentionParts, operator: str, left: ir.Value | None, right: ir.Value
) -> ir.Value:
    """`left operator right` before `place`; `right` alone where there is no left."""
    if left is None:
        return right
    node = make_node("", operator, [left, right], {}, 1, sibling_name(parts.core, operator))
    graph.insert_before(place, node)
    dtype = right.dtype if operator == "Add" else left.dtype
    node.outputs[0].type = None if dtype is None else ir.TensorType(dtype)
    node.outputs[0].shape = _broadcast_shape(left.shape, right.shape)
    return node.outputs[0]


def _broadcast_shape(left: ir.Shape | None, right: ir.Shape | None) -> ir.Shape | None:
    """The shape of an elementwise result; an axis that cannot be derived from the names is left open."""
    if left is None or right is None:
        return None
    rank = max(len(left), len(right))
    ones: tuple[int | ir.SymbolicDim, ...] = (1,) * rank
    lefts, rights = ((*ones, *shape)[-rank:] for shape in (left.dims, right.dims))
    return ir.Shape([_broadcast_axis(one, other) for one, other in zip(lefts, rights, strict=True)])


def _broadcast_axis(left: int | ir.SymbolicDim, right: int | ir.SymbolicDim) -> int | ir.SymbolicDim | None:
    if left == 1 or right == 1 or left == right:
        return right if left == 1 else left
    return next((axis for axis in (left, right) if isinstance(axis, int)), None)

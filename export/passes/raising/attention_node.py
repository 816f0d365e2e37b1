"""Puts a canonical Attention node in the place of what a raising pass has recognised as attention."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from export.passes.graph.canonical import ATTENTION, CONTEXT, DOMAIN
from export.passes.graph.match import depends_on, is_alive, remove_unused
from export.passes.graph.values import is_operator
from export.passes.graph.writer import Writer, replace_value, scope_of

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
    op = Writer(graph, scope_of(parts.core), last)
    bias = _sum_biases(op, parts.biases)
    inputs = [parts.query, parts.key, parts.value, bias, *parts.past]
    attributes = {"num_heads": parts.heads, "scale": parts.scale}
    outputs = op.node(ATTENTION, inputs, attributes, (None,) * 4, DOMAIN)
    replace_value(merged, outputs[CONTEXT])
    remove_unused(graph, merged)
    for position, output in enumerate(outputs):
        old = parts.results.get(position)
        if position == CONTEXT:
            continue
        if old is not None and is_alive(old) and not (bias is not None and depends_on(bias, old)):
            replace_value(old, output)
            remove_unused(graph, old)
        else:
            output.name = ""
    node = outputs[CONTEXT].producer()
    assert node is not None
    node.resize_outputs(1 + max(position for position, output in enumerate(outputs) if output.name != ""))


def _sum_biases(op: Writer, biases: Iterable[tuple[ir.Value, float]]) -> ir.Value | None:
    """The sum of all biases, with their factors; those with the same factor are added before they are scaled."""
    total: ir.Value | None = None
    by_factor: dict[float, ir.Value] = {}
    for bias, factor in biases:
        by_factor[factor] = _combine(op, "Add", by_factor.get(factor), _unexpanded(bias))
    for factor, bias in by_factor.items():
        if factor != 1.0:
            number = op.constant("scale", np.array(factor, _dtype(bias)))
            bias = _combine(op, "Mul", bias, number)
        total = _combine(op, "Add", total, bias)
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


def _combine(op: Writer, operator: str, left: ir.Value | None, right: ir.Value) -> ir.Value:
    """`left operator right`; `right` alone where there is no left."""
    if left is None:
        return right
    (total,) = op.node(operator, [left, right], {}, (right.dtype if operator == "Add" else left.dtype,))
    total.shape = _broadcast_shape(left.shape, right.shape)
    return total


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

"""ONNX Runtime's operators that skip the padding, which it has for CUDA alone, as operators that it has everywhere.

    RemovePadding(x, n)             ->  Gather(x [B * S, D], places of real tokens), from Range(S) < n
    RestorePadding(x, o)            ->  ScatterND(zeros [B * S, D], o[:T], x)
    PackedMultiHeadAttention(...)   ->  MultiHeadAttention of the restored queries, keys and values, gathered again

What each computes is in ONNX Runtime's docs/ContribOperators.md. The twin of a graph runs on any CPU, as fast as the
padded graph: so a graph that only a GPU opens is verified against the eager model on machines without one. The tests
hold these formulas against others, in numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from bert_onnx.errors import ExportError
from export.passes.graph.match import remove_unused
from export.passes.graph.writer import MICROSOFT, Writer, optional_input, replace_value

_FLOAT, _INT32, _INT64 = ir.DataType.FLOAT, ir.DataType.INT32, ir.DataType.INT64


def expand_packed_operators(model: ir.Model) -> tuple[str, ...]:
    """Replace the operators in a float32 graph, in place.

    Returns:
        The names of those that it had, each once.

    Raises:
        ExportError: one has an input that our passes never write.
    """
    found: dict[str, None] = {}
    for node in list(model.graph):
        expand = _EXPANSIONS.get(node.op_type) if node.domain == MICROSOFT else None
        if expand is None:
            continue
        found[node.op_type] = None
        op = _Writer(model.graph, "", node)
        for old, new in zip(node.outputs, expand(op, node), strict=False):
            replace_value(old, new)
        remove_unused(model.graph, node.outputs[0])
    return tuple(found)


class _Writer(Writer):
    """Leaves the names of nodes to the graph, which gives each its own."""

    def _name(self, node: ir.Node) -> None:
        node.name = None


def _remove(op: Writer, node: ir.Node) -> Sequence[ir.Value]:
    """[B, S, D] and [B] -> [T, D], [B, S], [B + 1] and [1]."""
    x, counts = node.inputs
    shape = op.Shape(x)
    lengths = op.Cast(counts, to=_INT64)
    real = op.Reshape(_real(op, lengths, _axis(op, shape, 1)), op.integers([-1]))  # [B * S]
    kept, rest = op.NonZero(real), op.NonZero(op.Not(real))  # [1, T], [1, B * S - T]
    offsets = op.Reshape(op.Concat(kept, rest, axis=1), op.Slice(shape, op.integers([0]), op.integers([2])))
    flat = op.Reshape(x, op.Concat(op.integers([-1]), _axis(op, shape, 2), axis=0))
    packed = op.Gather(flat, op.Squeeze(kept, op.integers([0])), axis=0)
    starts = op.Concat(op.integers([0]), op.CumSum(lengths, op.number(0)), axis=0)
    return packed, *(op.Cast(value, to=_INT32) for value in (offsets, starts, op.ReduceMax(lengths, keepdims=1)))


def _restore(op: Writer, node: ir.Node) -> Sequence[ir.Value]:
    """[T, D] and [B, S] -> [B, S, D]."""
    return (_restored(op, *node.inputs),)


def _attend(op: Writer, node: ir.Node) -> Sequence[ir.Value]:
    """[T, D] three times, [B, S] and [B + 1] -> [T, D]."""
    query, key, value, bias, offsets, starts = node.inputs[:6]
    if key is None or value is None or optional_input(node, 6) is not None:
        raise ExportError(f"{node.name}: packed projections and a bias of scores are not emulated.")
    padded = [_restored(op, one, offsets) for one in (query, key, value)]
    first, last, end = op.integers([0]), op.integers([-1]), op.integers([np.iinfo(np.int64).max])
    bounds = op.Cast(starts, to=_INT64)
    lengths = op.Sub(op.Slice(bounds, op.integers([1]), end), op.Slice(bounds, first, last))
    mask = op.Cast(_real(op, lengths, _axis(op, op.Shape(offsets), 1)), to=_INT32)
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    context = op.MultiHeadAttention(*padded, bias, mask, _domain=MICROSOFT, **attributes)
    width = _axis(op, op.Shape(value), 1)
    flat = op.Reshape(context, op.Concat(op.integers([-1]), width, axis=0))
    return (op.Gather(flat, _kept(op, offsets, value), axis=0),)


def _real(op: Writer, lengths: ir.Value, length: ir.Value) -> ir.Value:
    """[B] and [1], which holds S -> [B, S]: where the tokens are."""
    places = op.Range(op.number(0), op.Squeeze(length, op.integers([0])), op.number(1))
    return op.Less(places, op.Unsqueeze(lengths, op.integers([1])))


def _restored(op: Writer, packed: ir.Value | None, offsets: ir.Value | None) -> ir.Value:
    """[T, D] -> [B, S, D], zeros at padding."""
    shape, width = op.Shape(offsets), _axis(op, op.Shape(packed), 1)
    places = op.Concat(op.ReduceProd(shape, keepdims=1), width, axis=0)
    zeros = op.Expand(op.constant("zero", np.array(0, np.float32)), places)
    rows = op.Unsqueeze(_kept(op, offsets, packed), op.integers([1]))
    return op.Reshape(op.ScatterND(zeros, rows, packed), op.Concat(shape, width, axis=0))


def _kept(op: Writer, offsets: ir.Value | None, packed: ir.Value | None) -> ir.Value:
    """[T]: where each row of `packed` stands in B * S."""
    flat = op.Reshape(op.Cast(offsets, to=_INT64), op.integers([-1]))
    return op.Slice(flat, op.integers([0]), _axis(op, op.Shape(packed), 0))


def _axis(op: Writer, shape: ir.Value, axis: int) -> ir.Value:
    """[1]: one length of a shape."""
    return op.Slice(shape, op.integers([axis]), op.integers([axis + 1]))


_EXPANSIONS: dict[str, Callable[[Writer, ir.Node], Sequence[ir.Value]]] = {
    "RemovePadding": _remove,
    "RestorePadding": _restore,
    "PackedMultiHeadAttention": _attend,
}

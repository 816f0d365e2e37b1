"""Finds the sum of embeddings before a LayerNormalization.

    LayerNormalization(Gather(W, ids) + Gather(T, type_ids) + Slice(P, 0, S))        in any order of the sum

The segments may be missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from export.passes.graph.axes import axes_of
from export.passes.graph.values import constant_input, is_operator
from export.passes.graph.writer import sole_producer


@dataclass(frozen=True)
class LookUp:
    """Rows of a table [N, D] by ids [B, S]; `output` is [B, S, D]."""

    table: ir.Value
    ids: ir.Value
    output: ir.Value


@dataclass(frozen=True)
class Embeddings:
    """The terms of the sum.

    Args:
        words, segments: look-ups; the table of words is the longer one.
        table: P, the table of positions.
        positions: its first S rows.
    """

    words: LookUp
    segments: LookUp | None
    table: ir.Value
    positions: ir.Value


def find_embeddings(node: ir.Node) -> Embeddings | str | None:
    """The embeddings that `node`, a LayerNormalization, reads; None where there are none, or why they do not fit."""
    terms = _terms(node.inputs[0])
    look_ups = [found for found in map(_look_up, terms) if found is not None]
    others = [term for term in terms if all(term is not found.output for found in look_ups)]
    if not look_ups:
        return None
    if len(look_ups) > 2 or len(others) != 1:
        return "the sum has other terms than words, segments and positions, or a part of it is read elsewhere, too"
    table = _table_of_positions(others[0])
    if isinstance(table, str):
        return table
    look_ups.sort(key=lambda found: -_rows(found.table))
    ids, length = axes_of(look_ups[0].ids), axes_of(others[0])
    if ids is None or any(axes_of(found.ids) != ids for found in look_ups):
        return "the ids of words and segments have different axes"
    if length is None or length[0] != ids[1]:
        return "the positions are not as many as the ids"
    return Embeddings(look_ups[0], look_ups[1] if len(look_ups) == 2 else None, table, others[0])


def _terms(value: ir.Value | None) -> list[ir.Value]:
    """The operands of a sum, through Adds that nothing else reads."""
    if value is None:
        return []
    add = sole_producer(value, "Add")
    return [value] if isinstance(add, str) else [*_terms(add.inputs[0]), *_terms(add.inputs[1])]


def _look_up(value: ir.Value) -> LookUp | None:
    """`value` as a look-up by ids [B, S] that nothing else reads."""
    node = value.producer()
    if node is None or not is_operator(node, "Gather") or len(value.uses()) != 1 or value.is_graph_output():
        return None
    table, ids = node.inputs
    if table is None or ids is None or not table.is_initializer() or len(axes_of(ids) or ()) != 2:
        return None
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    return LookUp(table, ids, value) if axis == 0 and len(axes_of(table) or ()) == 2 else None


def _rows(table: ir.Value) -> int:
    return int(table.const_value.shape.numpy()[0]) if table.const_value is not None else 0


def _table_of_positions(value: ir.Value) -> ir.Value | str:
    """The table whose first rows `value` is, or why it is not that."""
    node = value.producer()
    if node is None or not is_operator(node, "Slice") or node.inputs[0] is None or not node.inputs[0].is_initializer():
        return "the positions are not the first rows of a table"
    starts, axes, steps = (constant_input(node, place) for place in (1, 3, 4))
    if starts is None or starts.tolist() != [0]:
        return "the positions start after a cache"
    if (axes is not None and axes.tolist() != [0]) or (steps is not None and steps.tolist() != [1]):
        return "the positions are not sliced row by row"
    return node.inputs[0]

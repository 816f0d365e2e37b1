"""Embedding tables in int8, with a scale per row.

    Gather(table [V, D], ids)  ->  Cast(Gather(values int8 [V, D], ids)) * Gather(scales [V, 1], ids)

A table is half of a small model's bytes. Rows are looked up before they are widened, so no runtime makes the float
table again. A table that anything but lookups along its first axis reads is left alone.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from export.passes.graph.values import add_constant, is_operator
from export.passes.graph.writer import replace_node, write_before

#: Smaller tables (two segments, say) stay as they are.
SMALLEST = 4096
_LIMIT = 127
_TINY = 1e-12


def quantize_tables(model: ir.Model) -> tuple[str, ...]:
    """Change `model` in place; names of the tables that became int8."""
    tables = [value for value in model.graph.initializers.values() if _is_table(value)]
    names = tuple(table.name or "" for table in tables)
    for table in tables:
        _quantize(model.graph, table)
    return names


def round_rows(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values int8 [V, D] and scales float32 [V, 1] of a table [V, D]."""
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True) / _LIMIT, _TINY).astype(np.float32)
    return np.clip(np.rint(table / scales), -_LIMIT, _LIMIT).astype(np.int8), scales


def _is_table(value: ir.Value) -> bool:
    tensor = value.const_value
    if tensor is None or tensor.dtype != ir.DataType.FLOAT or len(tensor.shape) != 2 or tensor.size < SMALLEST:
        return False
    uses = tuple(value.uses())
    return bool(uses) and all(_is_lookup(node, place) for node, place in uses)


def _is_lookup(node: ir.Node, place: int) -> bool:
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    return place == 0 and is_operator(node, "Gather") and axis == 0


def _quantize(graph: ir.Graph, table: ir.Value) -> None:
    assert table.const_value is not None
    values, scales = round_rows(table.const_value.numpy())
    integers = add_constant(graph, f"{table.name}_int8", values)
    widths = add_constant(graph, f"{table.name}_scale", scales)
    for node, _ in tuple(table.uses()):
        ids, op = node.inputs[1], write_before(node)
        rows = op.Cast(op.Gather(integers, ids, _scope=f"{op.scope}/int8"), to=ir.DataType.FLOAT)
        replace_node(node, op.Mul(rows, op.Gather(widths, ids, _scope=f"{op.scope}/scale")))

"""Folds the only segment of a model into its positions.

    Gather(T, token_type_ids) + Slice(P, ...)  ->  Slice(P + T[0], ...)        where T has one row

Every valid id is then 0. The graph keeps the input token_type_ids, which is part of every artifact's contract; ids out
of range are caught by the runtimes before a graph sees them. Refuses tables of several rows, and tables of positions
that something else reads, too.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph.embeddings import Embeddings, LookUp, find_embeddings
from export.passes.graph.linear import replace_parameter, tensor_of
from export.passes.graph.values import is_operator
from export.passes.graph.writer import replace_value


def fold_token_type(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the tables that were folded: one, or none."""
    fired, refusals = 0, []
    for node in [node for node in model.graph if is_operator(node, "LayerNormalization")]:
        found = find_embeddings(node)
        if found is None or (not isinstance(found, str) and found.segments is None):
            continue
        reason = found if isinstance(found, str) else _refusal(found)
        if reason is not None or isinstance(found, str) or found.segments is None:
            refusals.append(Refusal(node.name or "", reason or ""))
            continue
        _fold(model.graph, found, found.segments)
        fired += 1
    return PassOutcome(fired, tuple(refusals))


def _refusal(found: Embeddings) -> str | None:
    assert found.segments is not None
    rows = int(tensor_of(found.segments.table).shape.numpy()[0])
    if rows != 1:
        return f"the model has {rows} segments"
    if len(found.table.uses()) != 1:
        return f"{found.table.name} is read elsewhere, too"
    return None


def _fold(graph: ir.Graph, found: Embeddings, segments: LookUp) -> None:
    """Add the row to every position, and take the segments out of the sum."""
    positions, row = tensor_of(found.table), tensor_of(segments.table)

    def compute() -> np.ndarray:
        return positions.numpy() + row.numpy()

    replace_parameter(graph, found.table, compute)
    ((add, _),) = segments.output.uses()
    other = next(value for value in add.inputs if value is not segments.output)
    assert other is not None
    replace_value(add.outputs[0], other)
    look_up = segments.output.producer()
    assert look_up is not None
    graph.remove([add, look_up], safe=True)
    if not segments.table.uses():
        del graph.initializers[segments.table.name or ""]

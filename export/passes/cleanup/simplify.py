"""Removes what computes nothing: identities, repeated subexpressions, casts to the same type, slices of everything.

Most passes are onnx_ir's own; the order is ours, and they run until nothing changes. Not its IdentityEliminationPass,
which in 1.1 lets an output of the graph disappear where two of them are the same value.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from export.passes.base import PassContext, PassOutcome
from export.passes.graph.values import constant_input, is_operator
from export.passes.graph.writer import replace_value

#: Enough for any graph that was seen; each round of a BERT takes milliseconds.
_MAX_ROUNDS = 10

_INT64_MAX = np.iinfo(np.int64).max


def simplify(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the nodes that disappeared."""
    before = model.graph.num_nodes()
    for _ in range(_MAX_ROUNDS):
        count = model.graph.num_nodes()
        _remove_idle_casts(model.graph)
        _remove_idle_slices(model.graph)
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        _remove_identities(model.graph)
        common.CommonSubexpressionEliminationPass()(model)
        common.RemoveUnusedNodesPass()(model)
        if model.graph.num_nodes() == count:
            break
    return PassOutcome(before - model.graph.num_nodes())


def _remove_identities(graph: ir.Graph) -> None:
    """Identity(x) -> x, unless it is an output of the graph and x an output, input or constant: each has a name."""
    for node in list(graph):
        if not is_operator(node, "Identity") or node.inputs[0] is None:
            continue
        source, copy = node.inputs[0], node.outputs[0]
        named = source.is_graph_output() or source.is_graph_input() or source.is_initializer()
        if copy.is_graph_output() and named:
            continue
        replace_value(copy, source)
        graph.remove(node, safe=True)


def _remove_idle_casts(graph: ir.Graph) -> None:
    """Cast of a value to the type that it has -> the value."""
    for node in list(graph):
        if not is_operator(node, "Cast") or node.outputs[0].is_graph_output():
            continue
        source = node.inputs[0]
        if source is not None and source.dtype is not None and source.dtype == node.attributes["to"].as_int():
            node.outputs[0].replace_all_uses_with(source)
            graph.remove(node, safe=True)


def _remove_idle_slices(graph: ir.Graph) -> None:
    """Slice from 0 to the largest integer in steps of 1, on any axes -> the value."""
    for node in list(graph):
        if not is_operator(node, "Slice") or node.outputs[0].is_graph_output():
            continue
        starts, ends, steps = (constant_input(node, position) for position in (1, 2, 4))
        if starts is None or ends is None or (len(node.inputs) > 4 and steps is None):
            continue
        if (starts == 0).all() and (ends >= _INT64_MAX).all() and (steps is None or (steps == 1).all()):
            assert node.inputs[0] is not None
            node.outputs[0].replace_all_uses_with(node.inputs[0])
            graph.remove(node, safe=True)

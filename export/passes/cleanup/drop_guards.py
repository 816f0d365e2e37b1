"""Removes what exporters put around an operator and what does nothing at inference.

    Where(IsNaN(p), 0, p)  ->  p       p a Softmax: not a number only where a whole row is masked with -inf
    Dropout(x)             ->  x       unless it is switched to training

A row without any real token is then what a finite mask makes of it, an even distribution, instead of zeros.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph.match import scalar
from export.passes.graph.values import constant_input, is_operator
from export.passes.graph.writer import replace_value


def drop_guards(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the guards and Dropout nodes that were removed."""
    fired, refusals = 0, []
    for node in list(model.graph):
        kept = _guarded(node) if is_operator(node, "Where") else None
        if is_operator(node, "Dropout"):
            kept = _kept(node)
            if kept is None:
                refusals.append(Refusal(node.name or "", "Dropout is switched to training, or its mask is read"))
        if kept is not None:
            fired += _bypass(kept, node.outputs[0])
    if fired:
        common.RemoveUnusedNodesPass()(model)
    return PassOutcome(fired, tuple(refusals))


def _guarded(node: ir.Node) -> ir.Value | None:
    """p of Where(IsNaN(p), 0, p)."""
    condition, zero, value = node.inputs
    guard = condition.producer() if condition is not None else None
    if guard is None or value is None or not is_operator(guard, "IsNaN") or guard.inputs[0] is not value:
        return None
    return value if scalar(zero) == 0.0 and is_operator(value.producer(), "Softmax") else None


def _kept(node: ir.Node) -> ir.Value | None:
    """x of Dropout(x) at inference."""
    training = constant_input(node, 2)
    if len(node.inputs) > 2 and node.inputs[2] is not None and (training is None or bool(training)):
        return None
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return None
    return node.inputs[0]


def _bypass(kept: ir.Value, result: ir.Value) -> bool:
    """Let `kept` stand for `result`, also where the graph returns it; False where an output needs its own node."""
    if not result.is_graph_output():
        result.replace_all_uses_with(kept)
    elif kept.producer() is None or kept.is_graph_output():
        return False
    else:
        replace_value(result, kept)
    return True

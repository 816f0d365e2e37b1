"""Folds the scale of the scores into the projection of the queries.

    scale * (x W_q + b_q) K^T = (x (scale W_q) + scale b_q) K^T

    Attention{scale}(x W_q + b_q, k, v)  ->  Attention{1}(x (scale W_q) + scale b_q, k, v)

The parameters keep their names. Turning queries by their positions does not change their lengths. Refuses where
anything else reads the queries, as relative positions do, and where the parameters are shared.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph import canonical
from export.passes.graph.linear import Linear, before_rotation, find_linear, replace_parameter, sharing, tensor_of
from export.passes.graph.values import is_operator


def fold_scale(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the Attention nodes whose scale became 1; weights are scaled when the file is written."""
    fired, refusals = 0, []
    for node in [node for node in model.graph if is_operator(node, canonical.ATTENTION, domain=canonical.DOMAIN)]:
        scale = node.attributes["scale"].as_float()
        if scale == 1.0:
            continue
        linear = find_linear(before_rotation(node.inputs[canonical.QUERY]))
        reason = _refusal(linear)
        if linear is None or reason is not None:
            refusals.append(Refusal(node.name or "", reason or ""))
            continue
        for parameter in (linear.weight, linear.bias):
            if parameter is not None:
                _scale(model.graph, parameter, scale)
        node.attributes["scale"] = ir.AttrFloat32("scale", 1.0)
        fired += 1
    return PassOutcome(fired, tuple(refusals))


def _refusal(linear: Linear | None) -> str | None:
    if linear is None:
        return "the queries come from something other than a linear layer"
    if len(linear.output.uses()) > 1 or linear.output.is_graph_output():
        return f"the queries, {linear.output.name}, are read elsewhere, too"
    return sharing(linear)


def _scale(graph: ir.Graph, parameter: ir.Value, scale: float) -> None:
    original = tensor_of(parameter)

    def compute() -> np.ndarray:
        return (original.numpy().astype(np.float64) * scale).astype(original.dtype.numpy())

    replace_parameter(graph, parameter, compute)

"""Residual, bias before it, and LayerNormalization -> com.microsoft.SkipLayerNormalization.

    LayerNormalization(Add(Add(x, b), skip), gamma, beta)  ->  SkipLayerNormalization(x, skip, gamma, beta, b)
    LayerNormalization(Add(x, skip), gamma, beta)          ->  SkipLayerNormalization(x, skip, gamma, beta)

x and skip have the same shape, [B, S, D] or [T, D]; the axis is the last one; gamma and beta are constants. Neither
sum may be read elsewhere or be an output of the graph. A bias that is shared stays where it is, and the sum is fused.
"""

from __future__ import annotations

import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph.axes import axes_of, same_shape
from export.passes.graph.values import constant_array, is_operator
from export.passes.graph.writer import (
    MICROSOFT,
    is_needed,
    replace_node,
    sole_producer,
    split_bias,
    use_microsoft,
    write_before,
)


def fuse_skip_layer_norm(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the LayerNormalization nodes that took their residual in."""
    fired, refusals = 0, []
    for node in [node for node in model.graph if is_operator(node, "LayerNormalization")]:
        reason = _refusal(node)
        if reason is None:
            _fuse(node)
            fired += 1
        else:
            refusals.append(Refusal(node.name or "", reason))
    use_microsoft(model)
    return PassOutcome(fired, tuple(refusals))


def _refusal(node: ir.Node) -> str | None:
    """Why `node` must stay as it is; None where it may be fused."""
    add = sole_producer(node.inputs[0], "Add")
    if isinstance(add, str):
        return add
    axes = axes_of(node.inputs[0])
    if axes is None or len(axes) not in (2, 3):
        return f"the sum has the axes {axes}; SkipLayerNormalization takes two or three"
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else -1
    if axis not in (-1, len(axes) - 1):
        return f"LayerNormalization runs over axis {axis}, not over the last one"
    for value in node.inputs[1:]:
        array = constant_array(value)
        if value is not None and (array is None or array.ndim != 1):
            return "the scale or the bias of the LayerNormalization is no constant vector"
    if is_needed(node, 1) or is_needed(node, 2):
        return "the mean or the deviation is read"
    if not same_shape(*add.inputs):
        return f"the operands of the sum have the axes {axes_of(add.inputs[0])} and {axes_of(add.inputs[1])}"
    return None


def _fuse(node: ir.Node) -> None:
    add = node.inputs[0].producer() if node.inputs[0] is not None else None
    assert add is not None
    x, skip, bias, removed = add.inputs[0], add.inputs[1], None, [add]
    for value, other in ((x, skip), (skip, x)):
        inner = sole_producer(value, "Add")
        operands = None if isinstance(inner, str) else split_bias(inner)
        if operands is not None and not isinstance(inner, str):
            (x, bias), skip = operands, other
            removed.append(inner)
            break
    op = write_before(node)
    beta = node.inputs[2] if len(node.inputs) > 2 else None
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    result = op.SkipLayerNormalization(x, skip, node.inputs[1], beta, bias, epsilon=epsilon, _domain=MICROSOFT)
    replace_node(node, result)
    op.graph.remove(removed, safe=True)

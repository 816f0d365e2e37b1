"""Canonical Gelu, with the bias before it -> one operator of com.microsoft.

    Gelu(Add(x, b))        ->  com.microsoft.BiasGelu(x, b)      none
                               com.microsoft.FastGelu(x, b)      tanh
    Gelu(x), elsewhere     ->  com.microsoft.Gelu(x) or FastGelu(x)

b is a constant vector as long as the last axis of x. The Add must have no other reader and be no output of the graph:
otherwise the Gelu is taken alone, and the refusal says why.
"""

from __future__ import annotations

import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph import canonical
from export.passes.graph.values import is_operator
from export.passes.graph.writer import MICROSOFT, replace_node, sole_producer, split_bias, use_microsoft, write_before


def fuse_bias_gelu(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the Gelu nodes that took a bias in; the others are lowered without one."""
    fired, refusals = 0, []
    nodes = [node for node in model.graph if is_operator(node, canonical.GELU, domain=canonical.DOMAIN)]
    for node in nodes:
        op = write_before(node)
        fast = node.attributes["approximate"].as_string() == "tanh"
        found = _biased(node.inputs[0])
        if isinstance(found, str):
            refusals.append(Refusal(node.name or "", found))
            gelu = op.FastGelu if fast else op.Gelu
            replace_node(node, gelu(node.inputs[0], _domain=MICROSOFT))
            continue
        add, x, bias = found
        gelu = op.FastGelu if fast else op.BiasGelu
        replace_node(node, gelu(x, bias, _domain=MICROSOFT))
        model.graph.remove(add, safe=True)
        fired += 1
    use_microsoft(model)
    return PassOutcome(fired, tuple(refusals))


def _biased(value: ir.Value | None) -> tuple[ir.Node, ir.Value, ir.Value] | str:
    """The Add before a Gelu and what it adds, or why there is none."""
    add = sole_producer(value, "Add")
    if isinstance(add, str):
        return add
    operands = split_bias(add)
    if operands is None:
        return "what is added before the Gelu is no constant vector of the width of its other operand"
    return add, *operands

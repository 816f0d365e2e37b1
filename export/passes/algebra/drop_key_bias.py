"""Drops the bias of the keys, which softmax cancels.

    q (k + b)^T = q k^T + q b^T, and q b^T is the same for every key: softmax(scores + c) = softmax(scores)

    Attention(q, Add(k, b), v)  ->  Attention(q, k, v)

It holds with any bias on the scores and for the probabilities, too. Refuses where a cache is read or returned, since
its keys carry the bias, and where anything else reads the keys, as relative positions of both sides do.
"""

from __future__ import annotations

import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph import canonical
from export.passes.graph.linear import find_linear
from export.passes.graph.values import is_operator
from export.passes.graph.writer import is_needed, optional_input


def drop_key_bias(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the biases that were dropped."""
    fired, refusals = 0, []
    for node in [node for node in model.graph if is_operator(node, canonical.ATTENTION, domain=canonical.DOMAIN)]:
        linear = find_linear(node.inputs[canonical.KEY])
        if linear is None or linear.bias is None:
            continue
        reason = _refusal(node, linear.output)
        if reason is not None:
            refusals.append(Refusal(node.name or "", reason))
            continue
        add = linear.output.producer()
        assert add is not None
        node.replace_input_with(canonical.KEY, linear.product)
        model.graph.remove(add, safe=True)
        if not linear.bias.uses():
            del model.graph.initializers[linear.bias.name or ""]
        fired += 1
    return PassOutcome(fired, tuple(refusals))


def _refusal(node: ir.Node, keys: ir.Value) -> str | None:
    if optional_input(node, canonical.PAST_KEY) is not None or is_needed(node, canonical.PRESENT_KEY):
        return "a cache holds keys with their bias"
    if len(keys.uses()) > 1 or keys.is_graph_output():
        return f"the keys, {keys.name}, are read elsewhere, too"
    return None

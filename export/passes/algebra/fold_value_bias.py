"""Folds the bias of the values into the output projection, since the probabilities of a row sum to 1.

    P (v + b_v) W_o + b_o = P v W_o + (b_v W_o + b_o)

    Add(MatMul(Attention(q, k, Add(v, b_v)), W_o), b_o)  ->  Add(MatMul(Attention(q, k, v), W_o), b_v W_o + b_o)

Refuses where a cache is read or returned, since its values carry the bias; where anything else reads the values or
the context; and where no linear layer with a bias of its own follows. A head mask scales the probabilities: attention
with one is not raised to the canonical form, so that it is never met here.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph import canonical
from export.passes.graph.linear import Linear, find_linear, replace_parameter, sharing, tensor_of
from export.passes.graph.values import is_operator
from export.passes.graph.writer import is_needed, optional_input


def fold_value_bias(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the biases that were folded; they are computed when the file is written."""
    fired, refusals = 0, []
    for node in [node for node in model.graph if is_operator(node, canonical.ATTENTION, domain=canonical.DOMAIN)]:
        values = find_linear(node.inputs[canonical.VALUE])
        if values is None or values.bias is None:
            continue
        found = _output_projection(node, values)
        if isinstance(found, str):
            refusals.append(Refusal(node.name or "", found))
            continue
        _fold(model.graph, node, values, found)
        fired += 1
    return PassOutcome(fired, tuple(refusals))


def _output_projection(node: ir.Node, values: Linear) -> Linear | str:
    """The linear layer that alone reads the context, or why the bias of `values` must stay."""
    if optional_input(node, canonical.PAST_VALUE) is not None or is_needed(node, canonical.PRESENT_VALUE):
        return "a cache holds values with their bias"
    if len(values.output.uses()) > 1 or values.output.is_graph_output():
        return f"the values, {values.output.name}, are read elsewhere, too"
    context = node.outputs[canonical.CONTEXT]
    if len(context.uses()) != 1 or context.is_graph_output():
        return "the context is read by more than the output projection"
    ((product, place),) = context.uses()
    readers = [reader for reader, _ in product.outputs[0].uses()]
    if not is_operator(product, "MatMul") or place != 0 or len(readers) != 1:
        return "no output projection follows the attention"
    linear = find_linear(readers[0].outputs[0])
    if linear is None or linear.bias is None or linear.source is not context:
        return "the output projection has no bias of its own"
    return sharing(linear) or linear


def _fold(graph: ir.Graph, node: ir.Node, values: Linear, output: Linear) -> None:
    assert values.bias is not None
    assert output.bias is not None
    bias, weight, old = tensor_of(values.bias), tensor_of(output.weight), tensor_of(output.bias)

    def compute() -> np.ndarray:
        folded = bias.numpy().astype(np.float64) @ weight.numpy().astype(np.float64) + old.numpy()
        return folded.astype(old.dtype.numpy())

    replace_parameter(graph, output.bias, compute)
    add = values.output.producer()
    assert add is not None
    node.replace_input_with(canonical.VALUE, values.product)
    graph.remove(add, safe=True)
    if not values.bias.uses():
        del graph.initializers[values.bias.name or ""]

"""Writes linear layers the way the other passes expect them: MatMul(x, W), then Add(_, b).

    Add(b, MatMul(x, W))                                       ->  Add(MatMul(x, W), b)
    Reshape(Gemm(Reshape(x, [-1, D]), W, b), [B, S, E])        ->  Add(MatMul(x, W), b)      x [B, S, D]

A bias that several layers share gets a copy for each: TorchScript stores equal parameters once, as the zeros of a model
that was never trained, and then no layer could be changed without the others.

Gemm takes matrices only, so that exporters flatten the tokens before it and unflatten them after it. A Gemm of a matrix
(a pooler, a classifier) stays. Refuses a Gemm that scales, or whose Reshapes do not belong together.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph.match import only_user
from export.passes.graph.values import add_constant, constant_array, is_operator
from export.passes.graph.writer import replace_value, write_before


def raise_linear(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the layers that were rewritten."""
    fired, refusals = 0, []
    for node in list(model.graph):
        if is_operator(node, "Add"):
            ordered = _order(node)
            fired += _own_bias(model.graph, node) or ordered
        elif is_operator(node, "Gemm"):
            flat = _reshape_before(node)
            if flat is None:
                continue
            reason = _refusal(node, flat)
            if reason is not None:
                refusals.append(Refusal(node.name or "", reason))
                continue
            _replace(model.graph, node, flat)
            fired += 1
    common.RemoveUnusedNodesPass()(model)
    return PassOutcome(fired, tuple(refusals))


def _order(node: ir.Node) -> bool:
    """Put the bias of a linear layer second."""
    bias, product = node.inputs[0], node.inputs[1]
    array = constant_array(bias) if bias is not None and bias.is_initializer() else None
    if product is None or array is None or array.ndim != 1 or not is_operator(product.producer(), "MatMul"):
        return False
    node.replace_input_with(0, product)
    node.replace_input_with(1, bias)
    return True


def _own_bias(graph: ir.Graph, node: ir.Node) -> bool:
    """Give a linear layer a bias that nothing else reads, named after the layer."""
    product, bias = node.inputs[0], node.inputs[1]
    if product is None or bias is None or not bias.is_initializer() or not is_operator(product.producer(), "MatMul"):
        return False
    array = constant_array(bias)
    if array is None or array.ndim != 1 or len(bias.uses()) < 2:
        return False
    layer = (node.name or "").removesuffix("/Add").strip("/").replace("/", ".")
    node.replace_input_with(1, add_constant(graph, f"{layer or 'linear'}.bias", array))
    return True


def _reshape_before(node: ir.Node) -> ir.Node | None:
    """The Reshape that flattens the tokens [B, S, D] for `node`."""
    producer = node.inputs[0].producer() if node.inputs[0] is not None else None
    if producer is None or not is_operator(producer, "Reshape"):
        return None
    source = producer.inputs[0]
    return producer if source is not None and source.shape is not None and len(source.shape) == 3 else None


def _refusal(node: ir.Node, flat: ir.Node) -> str | None:
    """Why the layer cannot be rewritten."""
    if constant_array(node.inputs[1]) is None:
        return "the weight is not constant"
    for name, wanted in (("alpha", 1.0), ("beta", 1.0)):
        if name in node.attributes and node.attributes[name].as_float() != wanted:
            return f"{name} is not 1"
    if "transA" in node.attributes and node.attributes["transA"].as_int() == 1:
        return "the tokens are transposed"
    after = only_user(node.outputs[0])
    if after is None or not is_operator(after, "Reshape"):
        return "the result is not reshaped back to tokens at once"
    source, result = flat.inputs[0], after.outputs[0]
    if source is None or source.shape is None or result.shape is None or len(result.shape) != 3:
        return "the shapes before and after are not known"
    same = all(one == other and one is not None for one, other in zip(source.shape[:2], result.shape[:2], strict=True))
    return None if same else f"{result.name} does not have the tokens of {source.name}"


def _replace(graph: ir.Graph, node: ir.Node, flat: ir.Node) -> None:
    after = only_user(node.outputs[0])
    assert after is not None
    weight = node.inputs[1]
    assert weight is not None
    if "transB" in node.attributes and node.attributes["transB"].as_int() == 1:
        array = constant_array(weight)
        assert array is not None
        weight = add_constant(graph, f"{weight.name}_transposed", np.ascontiguousarray(array.T))
    op = write_before(after, node.name or "Gemm")
    result = op.MatMul(flat.inputs[0], weight)
    result.type = after.outputs[0].type
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        result = op.Add(result, node.inputs[2])
    replace_value(after.outputs[0], result)

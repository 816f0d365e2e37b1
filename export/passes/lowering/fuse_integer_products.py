"""A product of dequantised integers, with the bias behind it -> one operator of com.microsoft.

    Add(MatMul(DQ(a, s_a, z_a), DQ(w, s_w, z_w)), b)
        ->  com.microsoft.MatMulIntegerToFloat(a, w, s_a, s_w, z_a, z_w, b)

a is unsigned and has one scale, w one a column. ONNX Runtime makes that operator of MatMul, too, when it opens a file,
but leaves the bias outside, which costs a pass over the output; the sums are the same, to the bit. The bias stays
outside where it is no constant vector as wide as the product, or where something else reads the product. Files for
ARM64, whose activations are signed, keep standard operators: ONNX Runtime 1.31 has no kernel of the fused one for them.
"""

from __future__ import annotations

import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph.values import is_operator
from export.passes.graph.writer import MICROSOFT, replace_node, split_bias, use_microsoft, write_before


def fuse_integer_products(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the products that became MatMulIntegerToFloat; refusals name those that did not, though integers."""
    fired, refusals = 0, []
    for node in [node for node in model.graph if is_operator(node, "MatMul")]:
        first, second = (_dequantize(value) for value in node.inputs)
        if first is None or second is None:
            continue
        reason = _refusal(first, second)
        if reason is not None:
            refusals.append(Refusal(node.name or "", reason))
            continue
        _fuse(node, first, second)
        fired += 1
    use_microsoft(model)
    return PassOutcome(fired, tuple(refusals))


def _dequantize(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear, with scale and zero point, that makes `value`."""
    node = value.producer() if value is not None else None
    if node is None or not is_operator(node, "DequantizeLinear") or len(node.inputs) != 3:
        return None
    return node


def _refusal(first: ir.Node, second: ir.Node) -> str | None:
    scale, weight = first.inputs[1], second.inputs[0]
    levels = first.inputs[0]
    if levels is not None and levels.dtype is not ir.DataType.UINT8:
        return "its first operand is not unsigned, and the operator has no other kernel"
    if scale is None or scale.const_value is None or scale.const_value.size != 1:
        return "its first operand does not have one scale"
    if weight is None or weight.const_value is None or len(weight.const_value.shape) != 2:
        return "its second operand is no matrix of constants"
    axis = second.attributes.get("axis")
    scales = second.inputs[1]
    many = scales is not None and scales.const_value is not None and scales.const_value.size > 1
    if many and (axis is None or axis.as_int() not in (1, -1)):
        return "its second operand does not have a scale a column"
    return None


def _fuse(node: ir.Node, first: ir.Node, second: ir.Node) -> None:
    (a, a_scale, a_zero), (w, w_scale, w_zero) = first.inputs, second.inputs
    add = _bias_after(node)
    last, bias = (node, None) if add is None else add
    op = write_before(last)
    inputs = (a, w, a_scale, w_scale, a_zero, w_zero, bias)
    product = op.MatMulIntegerToFloat(*inputs, _domain=MICROSOFT, _dtype=ir.DataType.FLOAT)
    replace_node(last, product)
    if last is not node:
        op.graph.remove(node, safe=True)
    for done in (first, second):
        if done.graph is not None and not done.outputs[0].uses() and not done.outputs[0].is_graph_output():
            op.graph.remove(done, safe=True)


def _bias_after(node: ir.Node) -> tuple[ir.Node, ir.Value] | None:
    """The Add, or Sum of two, of a constant vector that alone reads the product, and the vector."""
    product = node.outputs[0]
    if len(product.uses()) != 1 or product.is_graph_output():
        return None
    (reader, _), *_ = product.uses()
    if not is_operator(reader, "Add", "Sum") or len(reader.inputs) != 2:
        return None
    operands = split_bias(reader)
    return None if operands is None or operands[0] is not product else (reader, operands[1])

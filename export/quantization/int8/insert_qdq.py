"""Writes recipes into a graph, in standard operators (QuantizeLinear and DequantizeLinear of opset 13 and later).

    MatMul(x, W)  ->  MatMul(DQ(Q(x)), DQ(W'))                                   one scale for all tokens
                  ->  MatMul(DQ(Q((x - z) / m)), DQ((m W)')) + z W               smoothed, and shifted
                  ->  MatMul(DQ(Q(x / s)), DQ(W')) * s                           per-token scale, s [..., 1]

Q and DQ of the activation have one scale, DQ of a weight has per-channel scales. MatMuls that read the same x share its
Q and DQ. Nothing else is quantized: neither Q K^T nor P V, nor any output, so that a text's outputs do not depend on
the texts beside it. A group that stays in float reads Cast(W') * scale, which runtimes compute once, while they load;
where only products may have integers, it reads W.

Where x is the output of a LayerNormalization, (x - z) / m is a second one of the same input, with scale / m and
(bias - z) / m: it costs as much as the multiplication alone would. z W goes into the bias that follows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from export.passes.graph.values import is_operator
from export.passes.graph.writer import Writer, replace_node, scope_of, write_before
from export.quantization.int8.groups import constant_norm, nodes_of, weight_of
from export.quantization.int8.ranges import TokenRange
from export.quantization.int8.recipe import Recipe, Scheme
from export.quantization.int8.smoothing import Smoothing
from export.quantization.integer_weights import IntegerWeight
from export.quantization.isa import Isa


def insert_recipes(model: ir.Model, recipes: Sequence[Recipe], isa: Isa) -> None:
    """Change `model` in place. Each group of `recipes` is in it, in float."""
    for recipe in recipes:
        nodes = nodes_of(model, recipe.group.nodes)
        if recipe.scheme is not Scheme.FLOAT:
            _quantize(nodes, recipe, isa)
        elif not isa.symmetric:
            _leave_float(nodes, recipe)
    model.graph.sort()


def _leave_float(nodes: Sequence[ir.Node], recipe: Recipe) -> None:
    """Cast(W') * scale in the place of W."""
    for node, weight in zip(nodes, recipe.weights, strict=True):
        op = write_before(node, f"{scope_of(node)}/weight")
        values, scales = _parameters(op, weight)
        whole = op.Cast(values, to=ir.DataType.FLOAT)
        node.replace_input_with(1, op.Mul(whole, scales))


def _quantize(nodes: Sequence[ir.Node], recipe: Recipe, isa: Isa) -> None:
    source = nodes[0].inputs[0]
    assert source is not None
    op = write_before(nodes[0], f"{scope_of(nodes[0])}/input")
    x = source if recipe.smoothing is None else _smoothed(op, source, recipe.smoothing)
    scales = None
    if isinstance(recipe.activation, TokenRange):
        scales = _token_scales(op, x, recipe.activation)
        x = op.Div(x, scales)
    levels = _levels(op, x, recipe, isa)
    packed = source.shape is not None and len(source.shape) == 2
    for node, weight in zip(nodes, recipe.weights, strict=True):
        if packed and scales is None:
            _keep_bias_apart(node)
        op = write_before(node)
        product = op.MatMul(levels, _weight(node, weight))
        product.shape = _product_shape(source, node)
        if scales is not None:
            product = op.Mul(product, scales)
        if recipe.smoothing is not None and recipe.smoothing.shift is not None:
            product = _with_constant(op, node, product, recipe.smoothing.shift @ weight_of(node))
        replace_node(node, product)


def _product_shape(x: ir.Value, node: ir.Node) -> ir.Shape | None:
    """[..., O], whether or not the graph has it for `node`: what follows tells a bias from a sum by it."""
    return None if x.shape is None else ir.Shape([*x.shape[:-1], weight_of(node).shape[1]])


def _smoothed(op: Writer, x: ir.Value, smoothing: Smoothing) -> ir.Value:
    """(x - z) / m."""
    shift = 0.0 if smoothing.shift is None else smoothing.shift
    norm = constant_norm(x)
    if norm is not None:
        scale, bias = (one.const_value.numpy() for one in norm.inputs[1:] if one is not None and one.const_value)
        parameters = {"scale": scale / smoothing.factors, "bias": (bias - shift) / smoothing.factors}
        inputs = [norm.inputs[0], *(_constant(op, f"norm_{name}", one) for name, one in parameters.items())]
        attributes = {name: attribute.value for name, attribute in norm.attributes.items()}
        return op.LayerNormalization(*inputs, **attributes)
    if smoothing.shift is not None:
        x = op.Sub(x, _constant(op, "shift", smoothing.shift))
    return op.Mul(x, _constant(op, "smoothing", 1 / smoothing.factors))


def _token_scales(op: Writer, x: ir.Value, levels: TokenRange) -> ir.Value:
    """s [..., 1], the largest of a token; ReduceMax got its axes as an input with opset 18."""
    sizes = op.Abs(x) if levels.symmetric else x
    if op.graph.opset_imports[""] < 18:
        largest = op.ReduceMax(sizes, axes=[-1], keepdims=1)
    else:
        largest = op.ReduceMax(sizes, op.integers([-1], "last_axis"), keepdims=1)
    return op.Max(largest, _constant(op, "least", np.array([levels.least])))


def _levels(op: Writer, x: ir.Value, recipe: Recipe, isa: Isa) -> ir.Value:
    """DQ(Q(x))."""
    activation = recipe.activation
    assert activation is not None
    step = 1 / activation.top if isinstance(activation, TokenRange) else activation.scale
    scale = _constant(op, "scale", np.array(step))
    zero = np.array(activation.zero_point - isa.activation_offset, isa.activation_dtype)
    point = op.constant(f"{_stem(op)}.zero_point", zero)
    levels = op.QuantizeLinear(x, scale, point)
    return op.DequantizeLinear(levels, scale, point)


def _weight(node: ir.Node, weight: IntegerWeight) -> ir.Value:
    """DQ(W')."""
    op = write_before(node, f"{scope_of(node)}/weight")
    values, scales = _parameters(op, weight)
    zeros = op.constant(f"{_stem(op)}.weight_zero_point", np.zeros(len(weight.scales), np.int8))
    return op.DequantizeLinear(values, scales, zeros, axis=1)


def _parameters(op: Writer, weight: IntegerWeight) -> tuple[ir.Value, ir.Value]:
    return op.constant(f"{_stem(op)}.weight_int8", weight.values), _constant(op, "weight_scale", weight.scales)


def _constant(op: Writer, name: str, array: np.ndarray) -> ir.Value:
    return op.constant(f"{_stem(op)}.{name}", array.astype(np.float32))


def _stem(op: Writer) -> str:
    return scope_of(op.before).replace("/", ".")


def _with_constant(op: Writer, node: ir.Node, product: ir.Value, constant: np.ndarray) -> ir.Value:
    """y + c [O]; where a bias follows, c goes into it. For Sum, see `_keep_bias_apart`."""
    found = _bias_of(node)
    if found is None:
        return op.Sum(product, _constant(op, "bias", constant))
    add, place, bias = found
    add.replace_input_with(place, _constant(op, "shifted_bias", bias.numpy() + constant))
    return product


def _keep_bias_apart(node: ir.Node) -> None:
    """Sum in place of Add where rows are packed, [T, D]: ONNX Runtime 1.31 makes Gemm of MatMul and Add there, and its
    Gemm of dequantized values is in float (measured: 1.0 and not 2.0 times as fast as fp32)."""
    found = _bias_of(node)
    if found is not None:
        found[0].op_type = "Sum"


def _bias_of(node: ir.Node) -> tuple[ir.Node, int, ir.TensorProtocol] | None:
    """The Add, or Sum of two, of a constant that alone reads what `node` gives; the constant's place; the constant."""
    uses = tuple(node.outputs[0].uses())
    if len(uses) != 1 or node.outputs[0].is_graph_output():
        return None
    reader, place = uses[0]
    other = reader.inputs[1 - place] if is_operator(reader, "Add", "Sum") and len(reader.inputs) == 2 else None
    return None if other is None or other.const_value is None else (reader, 1 - place, other.const_value)

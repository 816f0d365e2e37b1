"""Writes recipes into a graph, in standard operators (QuantizeLinear and DequantizeLinear of opset 13 and later).

    MatMul(x, W)
        ->
    MatMul(DQ(Q(x * 1/m)), DQ(W'))  [+ MatMul(Gather(x, outliers), W[outliers])]

Q and DQ of the activation have one scale, those of the weights one a column. MatMuls that read the same x share its Q
and DQ. Nothing else is quantised: neither Q K^T nor P V, nor any output, so that a text's answer does not depend on
the texts beside it. A site that stays float reads Cast(W') * scale, which runtimes compute once, while they load.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from export.passes.emit import scope_of
from export.passes.values import add_constant, is_operator
from export.quantization.isa import Isa
from export.quantization.recipe import Recipe, Structure
from export.quantization.sites import nodes_of, weight_of
from export.quantization.weights import IntegerWeight


def insert_recipes(model: ir.Model, recipes: Sequence[Recipe], isa: Isa) -> None:
    """Change `model` in place. Each site of `recipes` is in it, in float."""
    for recipe in recipes:
        _Insertion(model.graph, recipe, isa).run(nodes_of(model, recipe.site.nodes))
    model.graph.sort()


class _Insertion:
    """Writes one recipe."""

    def __init__(self, graph: ir.Graph, recipe: Recipe, isa: Isa) -> None:
        self.graph = graph
        self.recipe = recipe
        self.isa = isa

    def run(self, nodes: list[ir.Node]) -> None:
        """Rewrite every MatMul of the site."""
        source = nodes[0].inputs[0]
        assert source is not None
        if self.recipe.structure is Structure.FLOAT:
            for node, weight in zip(nodes, self.recipe.weights, strict=True):
                node.replace_input_with(1, self._float_weight(node, weight))
            return
        activation = self._activation(nodes[0], source)
        outliers = self._outliers(nodes[0], source) if self.recipe.outliers else None
        for node, weight in zip(nodes, self.recipe.weights, strict=True):
            exact = weight_of(node)[list(self.recipe.outliers)]
            node.replace_input_with(0, activation)
            node.replace_input_with(1, self._weight(node, weight))
            if outliers is not None:
                self._add_outliers(node, outliers, exact)
            if source.shape is not None and len(source.shape) == 2:
                _keep_bias_apart(node)

    def _activation(self, first: ir.Node, x: ir.Value) -> ir.Value:
        """x through smoothing and 256 levels."""
        recipe = self.recipe
        assert recipe.activation is not None
        if recipe.smoothing is not None:
            factors = self._constant(first, "smoothing", (1 / recipe.smoothing).astype(np.float32))
            x = self._add(first, "input", "Mul", [x, factors], ir.DataType.FLOAT)
        zero = np.array(recipe.activation.zero_point - self.isa.activation_offset, self.isa.activation_dtype)
        scale = self._constant(first, "scale", np.array(recipe.activation.scale, np.float32))
        point = self._constant(first, "zero_point", zero)
        levels = self._add(first, "input", "QuantizeLinear", [x, scale, point], point.dtype)
        return self._add(first, "input", "DequantizeLinear", [levels, scale, point], ir.DataType.FLOAT)

    def _outliers(self, first: ir.Node, x: ir.Value) -> ir.Value:
        """The outlier channels of x, [..., k]."""
        channels = self._constant(first, "outliers", np.array(self.recipe.outliers, np.int64))
        return self._add(first, "outliers", "Gather", [x, channels], ir.DataType.FLOAT, {"axis": -1})

    def _weight(self, node: ir.Node, weight: IntegerWeight) -> ir.Value:
        """DQ(W')."""
        values, scales = self._parameters(node, weight)
        zeros = self._constant(node, "weight_zero_point", np.zeros(len(weight.scales), np.int8))
        return self._add(node, "weight", "DequantizeLinear", [values, scales, zeros], ir.DataType.FLOAT, {"axis": 1})

    def _float_weight(self, node: ir.Node, weight: IntegerWeight) -> ir.Value:
        """Cast(W') * scale."""
        values, scales = self._parameters(node, weight)
        whole = self._add(node, "weight", "Cast", [values], ir.DataType.FLOAT, {"to": int(ir.DataType.FLOAT)})
        return self._add(node, "weight", "Mul", [whole, scales], ir.DataType.FLOAT)

    def _parameters(self, node: ir.Node, weight: IntegerWeight) -> tuple[ir.Value, ir.Value]:
        values = self._constant(node, "weight_int8", weight.values)
        return values, self._constant(node, "weight_scale", weight.scales)

    def _add_outliers(self, node: ir.Node, outliers: ir.Value, exact: np.ndarray) -> None:
        """y + x[outliers] W[outliers], after the bias where there is one: runtimes fuse that with the MatMul."""
        scope = f"{scope_of(node)}/outliers"
        last = _bias_of(node) or node
        total, readers = last.outputs[0], tuple(last.outputs[0].uses())
        product = ir.node("MatMul", [outliers, self._constant(node, "weight_outliers", exact)], name=f"{scope}/MatMul")
        add = ir.node("Add", [total, product.outputs[0]], name=f"{scope}/Add")
        for made in (product, add):
            made.outputs[0].type, made.outputs[0].shape = total.type, total.shape
        self.graph.insert_after(last, [product, add])
        for reader, place in readers:
            reader.replace_input_with(place, add.outputs[0])
        for position, output in enumerate(self.graph.outputs):
            if output is total:
                add.outputs[0].name, total.name = total.name, f"{total.name}_without_outliers"
                self.graph.outputs[position] = add.outputs[0]

    def _add(
        self,
        anchor: ir.Node,
        part: str,
        op_type: str,
        inputs: Sequence[ir.Value],
        dtype: ir.DataType | None = ir.DataType.FLOAT,
        attributes: dict[str, int] | None = None,
    ) -> ir.Value:
        node = ir.node(op_type, inputs, attributes=attributes or {}, name=f"{scope_of(anchor)}/{part}/{op_type}")
        node.outputs[0].type = None if dtype is None else ir.TensorType(dtype)
        self.graph.insert_before(anchor, node)
        return node.outputs[0]

    def _constant(self, anchor: ir.Node, name: str, array: np.ndarray) -> ir.Value:
        return add_constant(self.graph, f"{scope_of(anchor).replace('/', '.')}.{name}", array)


def _keep_bias_apart(node: ir.Node) -> None:
    """Sum in place of Add where rows are packed, [T, D]: ONNX Runtime 1.31 makes Gemm of MatMul and Add there, and its
    Gemm of dequantised values is in float (measured: 1.0 and not 2.0 times as fast as fp32)."""
    bias = _bias_of(node)
    if bias is not None:
        bias.op_type = "Sum"


def _bias_of(node: ir.Node) -> ir.Node | None:
    """The Add of a constant that alone reads the output of `node`."""
    uses = tuple(node.outputs[0].uses())
    if len(uses) != 1 or node.outputs[0].is_graph_output():
        return None
    reader, place = uses[0]
    other = reader.inputs[1 - place] if is_operator(reader, "Add") else None
    return reader if other is not None and other.const_value is not None else None

"""Linear layers in a graph: Add(MatMul(x, W), b) or MatMul(x, W), and constants made of other constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from export.passes.graph import canonical
from export.passes.graph.axes import axes_of
from export.passes.graph.values import is_operator
from export.passes.graph.writer import split_bias


@dataclass(frozen=True)
class Linear:
    """A linear layer.

    Args:
        source: x, [..., I].
        weight: W, an initializer [I, O].
        bias: b, an initializer [O], or None.
        product: the output of the MatMul.
        output: the output of the layer; the product where there is no bias.
    """

    source: ir.Value
    weight: ir.Value
    bias: ir.Value | None
    product: ir.Value
    output: ir.Value

    @property
    def width(self) -> int:
        """O, the number of columns of W."""
        return int(tensor_of(self.weight).shape.numpy()[1])


def find_linear(value: ir.Value | None) -> Linear | None:
    """The linear layer whose output is `value`; None where there is none."""
    node = value.producer() if value is not None else None
    if value is None or node is None:
        return None
    if is_operator(node, "Add"):
        operands = split_bias(node)
        product = find_linear(operands[0]) if operands is not None else None
        if operands is None or product is None or product.bias is not None:
            return None
        return Linear(product.source, product.weight, operands[1], product.product, value)
    if not is_operator(node, "MatMul"):
        return None
    source, weight = node.inputs
    if source is None or weight is None or not weight.is_initializer() or weight.const_value is None:
        return None
    if len(weight.const_value.shape) != 2:
        return None
    return Linear(source, weight, None, value, value)


def before_rotation(value: ir.Value | None) -> ir.Value | None:
    """What a canonical Rotary that alone reads it makes `value` of; `value` itself where there is none."""
    node = value.producer() if value is not None else None
    if value is None or node is None or not is_operator(node, canonical.ROTARY, domain=canonical.DOMAIN):
        return value
    return node.inputs[0] if len(value.uses()) == 1 and not value.is_graph_output() else value


def sharing(linear: Linear) -> str | None:
    """Why `linear` cannot be taken apart: something else reads its product or its weights; None where it can."""
    if linear.bias is not None and (len(linear.product.uses()) > 1 or linear.product.is_graph_output()):
        return f"{linear.product.name}, the product without the bias, is read elsewhere, too"
    for parameter in (linear.weight, linear.bias):
        if parameter is not None and (len(parameter.uses()) > 1 or parameter.is_graph_output()):
            return f"{parameter.name} is read elsewhere, too"
    return None


def tensor_of(value: ir.Value) -> ir.TensorProtocol:
    """The tensor of an initializer."""
    assert value.const_value is not None
    return value.const_value


def lazy_parameter(
    graph: ir.Graph, name: str, shape: Sequence[int], dtype: ir.DataType, compute: Callable[[], np.ndarray]
) -> ir.Value:
    """A new initializer whose data are computed when the file is written; a name that is taken gets a number."""
    stem, number = name, 1
    while name in graph.initializers:
        number += 1
        module, _, kind = stem.rpartition(".")
        name = f"{module}{number}.{kind}"

    def make() -> ir.Tensor:
        return ir.Tensor(np.ascontiguousarray(compute()), dtype=dtype, name=name)

    lazy = ir.LazyTensor(make, dtype=dtype, shape=ir.Shape(shape), name=name, cache=False)
    value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype), const_value=lazy)
    graph.register_initializer(value)
    return value


def replace_parameter(graph: ir.Graph, parameter: ir.Value, compute: Callable[[], np.ndarray]) -> None:
    """Put other data, of the same shape and type, in the place of an initializer, under its name."""
    old, name = tensor_of(parameter), parameter.name or ""
    del graph.initializers[name]
    parameter.name = None
    new = lazy_parameter(graph, name, [int(axis) for axis in old.shape.numpy()], old.dtype, compute)
    parameter.replace_all_uses_with(new)


def joined_weight(graph: ir.Graph, name: str, linears: Sequence[Linear]) -> ir.Value:
    """The weights of several layers side by side, [I, O_1 + O_2 + ...]."""
    tensors = [tensor_of(linear.weight) for linear in linears]
    shape = [int(tensors[0].shape.numpy()[0]), sum(linear.width for linear in linears)]

    def compute() -> np.ndarray:
        return np.concatenate([tensor.numpy() for tensor in tensors], axis=1)

    return lazy_parameter(graph, name, shape, tensors[0].dtype, compute)


def joined_bias(graph: ir.Graph, name: str, linears: Sequence[Linear]) -> ir.Value:
    """The biases of several layers one after the other, zeros where a layer has none."""
    dtype = tensor_of(linears[0].weight).dtype
    parts = [
        tensor_of(linear.bias).numpy() if linear.bias is not None else np.zeros(linear.width, dtype.numpy())
        for linear in linears
    ]
    return lazy_parameter(graph, name, [sum(map(len, parts))], dtype, lambda: np.concatenate(parts))


def joined_name(linears: Sequence[Linear], node: ir.Node, letters: str) -> str:
    """Name of the module that replaces several: `a.self.query`, ... -> `a.self.qkv`, else after `node`."""
    module, _, kind = (linears[0].weight.name or "").rpartition(".")
    parent = module.rpartition(".")[0]
    if kind != "weight" or not parent:
        parent = (node.name or "attention").rpartition("/")[0].replace("/", ".") or "attention"
    return f"{parent}.{letters}"


def annotate(output: ir.Value, source: ir.Value, width: int) -> None:
    """Give the output of a linear layer the axes of its source, where their names are known."""
    axes = axes_of(source)
    names = [axis for axis in axes[:-1] if not isinstance(axis, tuple)] if axes is not None else []
    if axes is not None and len(names) == len(axes) - 1:
        output.shape = ir.Shape([*names, width])


def remove_linears(graph: ir.Graph, linears: Sequence[Linear]) -> None:
    """Remove layers that nothing reads any more, and the parameters that they alone had."""
    for linear in linears:
        for value in dict.fromkeys((linear.output, linear.product)):
            node = value.producer()
            assert node is not None
            graph.remove(node, safe=True)
        for parameter in (linear.weight, linear.bias):
            if parameter is not None and not parameter.uses():
                del graph.initializers[parameter.name or ""]

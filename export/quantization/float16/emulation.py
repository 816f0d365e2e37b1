"""A graph of 16 bits as a float32 graph that rounds wherever the other would, for machines without such kernels.

    node -> x (16 bits)   ->   node -> float32 -> Cast(16 bits) -> Cast(float32)

That is what hardware does: products and sums inside an operator in float32, one rounding at its end. ONNX Runtime's CPU
provider has no kernels for bf16 at all; for fp16 it puts casts around operators, which comes to the same.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from export.passes.graph.values import constant_array

_HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def is_half(model: ir.Model) -> bool:
    """Whether anything in `model` is computed in 16 bits."""
    return any(output.dtype in _HALVES for node in model.graph for output in node.outputs)


def emulate_half(model: ir.Model) -> ir.Model:
    """A float32 graph with the roundings of `model`, which is left as it is."""
    twin = model.clone()
    graph = twin.graph
    for value in graph.initializers.values():
        array = constant_array(value) if value.dtype in _HALVES else None
        if array is not None:
            value.const_value = ir.tensor(array.astype(np.float32), name=value.name)
            value.type = ir.TensorType(ir.DataType.FLOAT)
    for node in list(graph):
        for output in node.outputs:
            if output.dtype in _HALVES:
                _round(graph, node, output)
    return twin


def _round(graph: ir.Graph, node: ir.Node, output: ir.Value) -> None:
    dtype = output.dtype
    assert dtype is not None
    users = list(output.uses())
    name = f"{node.name}/rounded_{output.index()}"
    halved, last = output, node
    if node.op_type != "Cast":  # a cast to 16 bits is the rounding itself
        output.type = ir.TensorType(ir.DataType.FLOAT)
        last = _cast(graph, node, output, dtype, f"{name}/down")
        halved = last.outputs[0]
    rounded = _cast(graph, last, halved, ir.DataType.FLOAT, f"{name}/up").outputs[0]
    for user, position in users:
        user.replace_input_with(position, rounded)


def _cast(graph: ir.Graph, after: ir.Node, value: ir.Value, dtype: ir.DataType, name: str) -> ir.Node:
    node = ir.node("Cast", [value], {"to": int(dtype)}, name=name)
    (output,) = node.outputs
    output.name, output.type, output.shape = f"{name}_output", ir.TensorType(dtype), value.shape
    graph.insert_after(after, node)
    return node

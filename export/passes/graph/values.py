"""Small questions that passes ask of a graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir


def constant_array(value: ir.Value | None) -> np.ndarray | None:
    """The array behind a constant or an initializer; None for anything that is computed, or absent."""
    if value is None:
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def constant_input(node: ir.Node, position: int) -> np.ndarray | None:
    """Input number `position` of `node` as an array, where it is there and constant."""
    return constant_array(node.inputs[position]) if position < len(node.inputs) else None


def is_operator(node: ir.Node | None, *names: str, domain: str = "") -> bool:
    """Whether `node` is one of the operators `names` of `domain`."""
    return node is not None and node.domain == domain and node.op_type in names


def add_constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """Register `array` as an initializer of `graph`; a name that is taken gets a number."""
    stem, number = name, 0
    while name in graph.initializers:
        number += 1
        name = f"{stem}_{number}"
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value

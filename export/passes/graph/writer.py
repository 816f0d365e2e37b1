"""Writes new nodes in the place of one that a pass replaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from export.passes.graph.axes import width_of
from export.passes.graph.values import add_constant, constant_array, is_operator

#: ONNX Runtime's own operators. All that are used here exist in its version 1.
MICROSOFT = "com.microsoft"

Attributes = Mapping[str, int | float | str | Sequence[int]]


class Emitter:
    """Adds nodes before `anchor`, named after the module that it belongs to, and puts their results in its place.

    Args:
        anchor: the node to be replaced; `finish` removes it from the graph.
        scope: path of the module that new nodes are named after; that of the anchor if None.
    """

    def __init__(self, anchor: ir.Node, scope: str | None = None) -> None:
        assert anchor.graph is not None
        assert isinstance(anchor.graph, ir.Graph)
        self.graph = anchor.graph
        self.anchor = anchor
        self._scope = scope_of(anchor) if scope is None else scope

    def add(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Attributes | None = None,
        domain: str = "",
        dtype: ir.DataType | None = None,
    ) -> ir.Value:
        """The only output of a new node; its element type is `dtype`, or else that of the first input."""
        (output,) = self.add_node(op_type, inputs, 1, attributes, domain, dtype).outputs
        return output

    def add_node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        num_outputs: int,
        attributes: Attributes | None = None,
        domain: str = "",
        dtype: ir.DataType | None = None,
    ) -> ir.Node:
        """A new node. Absent inputs at the end are dropped."""
        given = list(inputs)
        while given and given[-1] is None:
            given.pop()
        name = f"{self._scope}/{op_type}" if self._scope else op_type
        node = ir.node(op_type, given, attributes=attributes or {}, domain=domain, num_outputs=num_outputs, name=name)
        dtype = dtype or next((value.dtype for value in given if value is not None), None)
        if dtype is not None:
            for output in node.outputs:
                output.type = ir.TensorType(dtype)
        self.graph.insert_before(self.anchor, node)
        return node

    def constant(self, name: str, array: np.ndarray) -> ir.Value:
        """A new initializer."""
        return add_constant(self.graph, name, array)

    def integers(self, name: str, values: Sequence[int]) -> ir.Value:
        """A new int64 vector."""
        return self.constant(name, np.array(values, np.int64))

    def finish(self, replacements: Mapping[ir.Value, ir.Value]) -> None:
        """Put new values in the place of old ones, keep the names of the graph's outputs, remove the anchor."""
        for old, new in replacements.items():
            replace_value(old, new)
        self.graph.remove(self.anchor, safe=True)


def scope_of(node: ir.Node) -> str:
    """`encoder/layer.0/output` of a node `encoder/layer.0/output/Add`."""
    return (node.name or "").rpartition("/")[0]


def replace_value(old: ir.Value, new: ir.Value) -> None:
    """Let `new` stand wherever `old` did, also among the graph's outputs, whose names and axes stay."""
    if new.shape is None:
        new.shape = old.shape
    if new.type is None:
        new.type = old.type
    if old.is_graph_output():
        name = old.name
        old.name = None
        new.name = name
        new.shape, new.type = old.shape, old.type
    old.replace_all_uses_with(new, replace_graph_outputs=True)


def is_needed(node: ir.Node, position: int) -> bool:
    """Whether output number `position` of `node` is there and anything reads it."""
    if position >= len(node.outputs):
        return False
    output = node.outputs[position]
    return bool(output.uses()) or output.is_graph_output()


def optional_input(node: ir.Node, position: int) -> ir.Value | None:
    """Input number `position` of `node`, None where it is absent."""
    return node.inputs[position] if position < len(node.inputs) else None


def sole_producer(value: ir.Value | None, operator: str) -> ir.Node | str:
    """The node of `operator` that makes `value` for one reader alone, or the reason why there is none."""
    node = value.producer() if value is not None else None
    if value is None or not is_operator(node, operator) or node is None:
        return f"no {operator} comes before it"
    if value.is_graph_output():
        return f"{value.name}, between the two, is an output of the graph"
    if len(value.uses()) > 1:
        readers = ", ".join(sorted({user.name or user.op_type for user, _ in value.uses()}))
        return f"{value.name}, between the two, has several readers: {readers}"
    return node


def split_bias(add: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """x and b of Add(x, b) or Add(b, x), where b is a constant vector as long as the last axis of x."""
    for x, bias in (add.inputs, add.inputs[::-1]):
        if x is None or bias is None or constant_array(x) is not None:
            continue
        vector = bias.const_value
        if vector is not None and len(vector.shape) == 1 and width_of(x) == int(vector.shape.numpy()[0]):
            return x, bias
    return None


def use_microsoft(model: ir.Model) -> None:
    """Declare com.microsoft where the graph has one of its operators."""
    if any(node.domain == MICROSOFT for node in model.graph):
        model.graph.opset_imports[MICROSOFT] = 1

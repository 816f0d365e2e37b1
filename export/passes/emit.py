"""Writes new nodes in the place of one that a pass replaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from export.passes.values import add_constant

Attributes = Mapping[str, int | float | str | Sequence[int]]


class Emitter:
    """Adds nodes before `anchor`, named after the module that it belongs to, and puts their results in its place.

    Args:
        anchor: the node to be replaced; `finish` removes it from the graph.
    """

    def __init__(self, anchor: ir.Node) -> None:
        assert anchor.graph is not None
        assert isinstance(anchor.graph, ir.Graph)
        self.graph = anchor.graph
        self.anchor = anchor
        self._scope = (anchor.name or "").rpartition("/")[0]

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

"""Writes nodes at the end of a graph; whoever uses it sorts the graph afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from export.passes.graph.values import add_constant


class Appender:
    """Appends nodes that compute indices, or gather by them.

    Args:
        graph: the graph.
        scope: module path that names the nodes, where a call gives no other.
    """

    def __init__(self, graph: ir.Graph, scope: str) -> None:
        self.graph = graph
        self.scope = scope

    def add(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, int | str] | None = None,
        dtype: ir.DataType | None = ir.DataType.INT64,
        scope: str | None = None,
    ) -> ir.Value:
        """The only output of a new node of ai.onnx, of element type `dtype`."""
        return self.add_node(op_type, inputs, (dtype,), attributes, scope)[0]

    def add_node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        dtypes: Sequence[ir.DataType | None],
        attributes: Mapping[str, int | str] | None = None,
        scope: str | None = None,
    ) -> Sequence[ir.Value]:
        """The outputs of a new node of ai.onnx, one of each of `dtypes`."""
        scope = self.scope if scope is None else scope
        name = f"{scope}/{op_type}" if scope else op_type
        node = ir.node(op_type, inputs, attributes or {}, num_outputs=len(dtypes), name=name)
        for output, dtype in zip(node.outputs, dtypes, strict=True):
            output.type = None if dtype is None else ir.TensorType(dtype)
        self.graph.append(node)
        return node.outputs

    def number(self, number: int) -> ir.Value:
        """A constant int64 scalar."""
        return add_constant(self.graph, "number", np.array(number, np.int64))

    def integers(self, numbers: Sequence[int]) -> ir.Value:
        """A constant int64 vector."""
        return add_constant(self.graph, "integers", np.array(numbers, np.int64))

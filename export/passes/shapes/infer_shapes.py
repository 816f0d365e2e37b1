"""Writes the shape of every value that can be derived, with names for the axes that are free.

    Shape(x)[0], Shape(x)[1], -1, H, K   are followed as numbers and names, so that `simplify_shapes` can replace

Shape inference of onnx gives up where two names meet in a broadcast, which in a BERT is at the first Add, and does not
follow a -1. Here integers that are computed from shapes are followed through Gather, Concat, arithmetic and Where. An
integer that turns out to be a constant is replaced by one; the length of an input's axis is read from that input, so
that every layer computes the same, and common subexpressions are found.

Needs a graph in topological order. An operator without a rule keeps the annotation that it has.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from export.passes.base import PassContext, PassOutcome
from export.passes.graph.values import add_constant
from export.passes.shapes.contents import follow_contents
from export.passes.shapes.rules import find_dims
from export.passes.shapes.state import Contents, ShapeState
from export.passes.shapes.symbolic_dims import Dim, is_private


def infer_shapes(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the nodes that were replaced: by constants, and by reads of an input's axis."""
    common.ShapeInferencePass(check_type=False, strict_mode=False)(model)  # for the element types
    state = ShapeState()
    lengths = InputLengths(model.graph, state)
    replaced = 0
    for node in list(model.graph):
        contents = follow_contents(node, state)
        if contents is not None:
            state.contents[node.outputs[0]] = contents
        _annotate(node, state)
        if contents is not None:
            replaced += _fold(model.graph, node, contents) or lengths.replace(node, contents)
    return PassOutcome(replaced)


class InputLengths:
    """The axes of inputs that have names, each read once: as a vector of one element, and as a scalar."""

    def __init__(self, graph: ir.Graph, state: ShapeState) -> None:
        self._graph, self._state = graph, state
        self._axes: dict[Dim, tuple[ir.Value, int]] = {}
        self._read: dict[tuple[Dim, bool], ir.Value] = {}
        for value in graph.inputs:
            for axis, dim in enumerate(state.shape_of(value) or ()):
                if isinstance(dim, str):
                    self._axes.setdefault(dim, (value, axis))

    def replace(self, node: ir.Node, contents: Contents) -> bool:
        """Replace `node`, if what it computes is the length of an axis of an input."""
        if len(contents.dims) != 1 or contents.dims[0] not in self._axes or node.outputs[0].is_graph_output():
            return False
        node.outputs[0].replace_all_uses_with(self._length(contents.dims[0], contents.scalar))
        self._graph.remove(node, safe=True)
        return True

    def _length(self, dim: Dim, scalar: bool) -> ir.Value:
        if (dim, scalar) not in self._read:
            value, axis = self._axes[dim]
            if scalar:
                vector = self._length(dim, scalar=False)
                node = ir.node("Squeeze", [vector], name=f"length_of_{dim}/Squeeze")
                self._graph.insert_after(_producer(vector), node)
            else:
                node = ir.node("Shape", [value], {"start": axis, "end": axis + 1}, name=f"length_of_{dim}/Shape")
                self._graph.insert_before(self._graph[0], node)
            node.outputs[0].type = ir.TensorType(ir.DataType.INT64)
            node.outputs[0].shape = ir.Shape([] if scalar else [1])
            self._state.contents[node.outputs[0]] = Contents((dim,), scalar)
            self._read[dim, scalar] = node.outputs[0]
        return self._read[dim, scalar]


def _producer(value: ir.Value) -> ir.Node:
    node = value.producer()
    assert node is not None
    return node


def _annotate(node: ir.Node, state: ShapeState) -> None:
    """Enter the shapes of the outputs of `node`, and write them down."""
    found = find_dims(node, state)
    for position, value in enumerate(node.outputs):
        dims = found[position] if found is not None and position < len(found) else None
        if dims is not None:
            dims = tuple(_better_known(value, axis, dim) for axis, dim in enumerate(dims))
            state.dims[value] = dims
        if dims is not None and not value.is_graph_output():
            value.shape = ir.Shape(dims)


def _better_known(value: ir.Value, axis: int, dim: Dim) -> Dim:
    """`dim`, or the plain name that the file has for the axis where nothing better than a private one was found."""
    named = value.shape[axis] if value.shape is not None and len(value.shape) > axis else None
    name = named.value if isinstance(named, ir.SymbolicDim) else None
    return name if name is not None and is_private(dim) and name.isidentifier() and not is_private(name) else dim


def _fold(graph: ir.Graph, node: ir.Node, contents: Contents) -> bool:
    """Replace `node` by a constant, if all of its numbers are known."""
    result = node.outputs[0]
    if result.is_graph_output() or not all(isinstance(dim, int) for dim in contents.dims):
        return False
    array = np.array(contents.dims, np.int64).reshape(() if contents.scalar else (-1,))
    constant = add_constant(graph, "shape", array)
    result.replace_all_uses_with(constant)
    graph.remove(node, safe=True)
    return True

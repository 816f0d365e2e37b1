"""Writes the shape of every value that can be told, with names for the axes that are free.

    Shape(x)[0], Shape(x)[1], -1, H, K   are followed as numbers and names, so that `simplify_shapes` can replace

Shape inference of onnx gives up where two names meet in a broadcast, which in a BERT is at the first Add, and does not
follow a -1. Here integers that are computed from shapes are followed through Gather, Concat, arithmetic and Where. An
integer that turns out to be a constant is replaced by one.

Needs a graph in topological order. An operator without a rule keeps the annotation that it has.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from export.passes.base import PassContext, PassOutcome
from export.passes.shape_contents import follow_contents
from export.passes.shape_rules import find_dims
from export.passes.shape_state import Contents, ShapeState
from export.passes.values import add_constant


def infer_shapes(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the nodes that were replaced by constants."""
    common.ShapeInferencePass(check_type=False, strict_mode=False)(model)  # for the element types
    state = ShapeState()
    folded = 0
    for node in list(model.graph):
        contents = follow_contents(node, state)
        if contents is not None:
            state.contents[node.outputs[0]] = contents
        _annotate(node, state)
        folded += contents is not None and _fold(model.graph, node, contents)
    return PassOutcome(folded)


def _annotate(node: ir.Node, state: ShapeState) -> None:
    """Enter the shapes of the outputs of `node`, and write them down."""
    found = find_dims(node, state)
    for position, value in enumerate(node.outputs):
        dims = found[position] if found is not None and position < len(found) else None
        if dims is not None:
            state.dims[value] = dims
        if dims is not None and not value.is_graph_output():
            value.shape = ir.Shape(dims)


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

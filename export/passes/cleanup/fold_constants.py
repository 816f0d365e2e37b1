"""Computes at export time what does not depend on an input: onnxscript's constant folding, on small tensors.

Weights are left alone (`transpose_weights` takes care of them): folding them here would hold each one twice. But a row
that is added to every row of a table goes into the table, whose data are computed when the file is written:

    Add(P [N, D], row [D] or [1, D])  ->  P'        where nothing else reads P
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir
from onnxscript.optimizer import fold_constants_ir

from export.passes.base import PassContext, PassOutcome
from export.passes.graph.linear import replace_parameter, tensor_of
from export.passes.graph.values import constant_array, is_operator

#: Elements of the largest tensor that is folded: shapes, scalars, ranges of positions.
_LARGEST = 8192


def fold_constants(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the nodes that disappeared; none where more came, as where a Split takes the place of a sequence."""
    before = model.graph.num_nodes()
    fold_constants_ir(
        model,
        onnx_shape_inference=False,
        input_size_limit=_LARGEST,
        output_size_limit=_LARGEST,
        should_fold=_small_enough,
    )
    for value in model.graph.initializers.values():
        value.metadata_props.clear()  # it notes the tracer's names of what was folded, which are no part of the model
    _add_rows_to_tables(model.graph)
    return PassOutcome(max(before - model.graph.num_nodes(), 0))


def _add_rows_to_tables(graph: ir.Graph) -> None:
    for node in [node for node in graph if is_operator(node, "Add")]:
        for table, row in (node.inputs, node.inputs[::-1]):
            rows = constant_array(row) if table is not None and table.is_initializer() else None
            if rows is None or table is None or len(table.uses()) != 1 or node.outputs[0].is_graph_output():
                continue
            tensor = tensor_of(table)
            shape = tensor.shape.numpy()
            if len(shape) != 2 or rows.shape not in ((shape[1],), (1, shape[1])):
                continue
            replace_parameter(graph, table, partial(_sum, tensor, rows))
            new = node.inputs[0] if row is node.inputs[1] else node.inputs[1]
            assert new is not None
            node.outputs[0].replace_all_uses_with(new)
            graph.remove(node, safe=True)
            break


def _sum(tensor: ir.TensorProtocol, rows: np.ndarray) -> np.ndarray:
    return tensor.numpy() + rows


def _small_enough(node: ir.Node) -> bool | None:
    """False for a node that reads a weight; None leaves the decision to onnxscript."""
    for value in node.inputs:
        constant = value.const_value if value is not None else None
        if constant is not None and constant.size > _LARGEST:
            return False
    return None

"""Computes at export time what does not depend on an input: onnxscript's constant folding, on small tensors.

Weights are left alone (`transpose_weights` takes care of them): folding them here would hold each one twice.
"""

from __future__ import annotations

import onnx_ir as ir
from onnxscript.optimizer import fold_constants_ir

from export.passes.base import PassContext, PassOutcome

#: Elements of the largest tensor that is folded: shapes, scalars, ranges of positions.
_LARGEST = 8192


def fold_constants(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the nodes that disappeared."""
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
    return PassOutcome(before - model.graph.num_nodes())


def _small_enough(node: ir.Node) -> bool | None:
    """False for a node that reads a weight; None leaves the decision to onnxscript."""
    for value in node.inputs:
        constant = value.const_value if value is not None else None
        if constant is not None and constant.size > _LARGEST:
            return False
    return None

"""Gives the graph the opset that was asked for, and the IR version that belongs to it.

A graph traced at opset 18 is brought to 17 by moving the `axes` of ReduceMax and ReduceL2 from an input to an
attribute; every other operator that we emit is the same in both. Anything else that differs is an error, never a
silent stay at the higher opset.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from bert_onnx.errors import ExportError
from export.passes.base import PassContext, PassOutcome
from export.targets import IR_VERSION_OF_OPSET

#: Reductions whose axes became an input with opset 18 (ReduceSum's did with 13).
_AXES_BECAME_INPUT_AT_18 = ("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin")


def set_opset(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the nodes that had to change.

    Raises:
        ExportError: an operator differs between the two opsets and there is no rule for it.
    """
    traced = model.graph.opset_imports[""]
    changed = _move_axes_to_attributes(model.graph) if context.opset < 18 <= traced else 0
    for node in model.graph:
        if node.domain == "" and not _same_operator(node, traced, context.opset):
            raise ExportError(
                f"{node.op_type} ({node.name}) differs between opset {traced} and {context.opset}; "
                "choose another --opset."
            )
    model.graph.opset_imports[""] = context.opset
    model.ir_version = IR_VERSION_OF_OPSET[context.opset]
    return PassOutcome(changed)


def _same_operator(node: ir.Node, traced: int, wanted: int) -> bool:
    """Whether `node` means the same under both opsets, or a rule of this pass has seen to it."""
    if traced == wanted or (wanted < 18 and node.op_type in _AXES_BECAME_INPUT_AT_18):
        return True
    if node.op_type == "Split" and len(node.inputs) == 2:  # what opset 18 added is for one without its lengths
        return True
    versions = {
        onnx.defs.get_schema(node.op_type, opset, "").since_version if onnx.defs.has(node.op_type, opset, "") else None
        for opset in (traced, wanted)
    }
    return len(versions) == 1


def _move_axes_to_attributes(graph: ir.Graph) -> int:
    """Reduce(x, axes) -> Reduce(x){axes}."""
    changed = 0
    for node in graph:
        if node.op_type not in _AXES_BECAME_INPUT_AT_18 or len(node.inputs) < 2 or node.inputs[1] is None:
            continue
        axes = node.inputs[1].const_value
        if axes is None:
            raise ExportError(f"{node.op_type} ({node.name}) computes its axes, which opset 17 cannot.")
        node.attributes["axes"] = ir.AttrInt64s("axes", [int(axis) for axis in axes.numpy()])
        node.attributes.pop("noop_with_empty_axes", None)
        node.resize_inputs(1)
        changed += 1
    return changed

"""Brings a graph down to opset 14 and IR 8: what has no older form is spelled out, onnx converts the rest.

LayerNormalization(x, scale, bias)  ->  d = x - ReduceMean(x); d / Sqrt(ReduceMean(d * d) + epsilon) * scale + bias
Shape(x) {start, end}               ->  Shape(x)[start:end]
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx import version_converter

from export.hosts.host import refuse
from export.passes.base import PassContext
from export.passes.cleanup.finish import finish
from export.passes.graph.values import is_operator
from export.passes.graph.writer import Writer, replace_node, write_before

OPSET, IR_VERSION = 14, 8
#: As far as onnx converts. Of the operators that there are in 14, opset 15 changed BatchNormalization, which no BERT
#: has, gave Pow another element type, and Shape its attributes, which are gone by then: 14 says the same.
_CONVERTED = 15
#: As large as any shape: the end of a slice that has none.
_END = 2**31 - 1


def lower_opset(title: str, model: ir.Model) -> ir.Model:
    """`model` in OPSET and IR_VERSION; it is changed.

    Raises:
        UsageError: it has operators that are younger; the host called `title` cannot run it.
    """
    for node in list(model.graph):
        if is_operator(node, "LayerNormalization"):
            replace_node(node, _layer_norm(write_before(node), node))
        elif is_operator(node, "Shape") and node.attributes:
            replace_node(node, _shape(write_before(node), node))
        elif node.op_type.startswith("Reduce") and len(node.inputs) > 1:
            node.attributes.pop("noop_with_empty_axes", None)  # says nothing where there are axes; onnx leaves it
    finish(model, PassContext(model.graph.opset_imports[""]))
    proto = ir.to_proto(model)
    try:
        lowered = version_converter.convert_version(proto, _CONVERTED)
        lowered.opset_import[0].version, lowered.ir_version = OPSET, IR_VERSION
        onnx.checker.check_model(lowered)
    except (RuntimeError, onnx.checker.ValidationError) as error:
        reason = str(error).strip().splitlines()[0].rpartition("failed: ")[2]
        rule = f"wants opset {OPSET}, which this graph cannot be brought to ({reason})"
        raise refuse(title, rule, "package another --variant, such as model") from error
    return ir.from_proto(lowered)


def _layer_norm(op: Writer, node: ir.Node) -> ir.Value:
    """Over the last axis, as all of a BERT are."""
    x, scale, bias = (*node.inputs, None)[:3]
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    axes = op.integers([-1])
    centred = op.Sub(x, op.ReduceMean(x, axes))
    variance = op.ReduceMean(op.Mul(centred, centred), axes)
    deviation = op.Sqrt(op.Add(variance, op.constant("epsilon", np.array(epsilon, np.float32))))
    scaled = op.Mul(op.Div(centred, deviation), scale)
    return scaled if bias is None else op.Add(scaled, bias)


def _shape(op: Writer, node: ir.Node) -> ir.Value:
    start = node.attributes["start"].as_int() if "start" in node.attributes else 0
    end = node.attributes["end"].as_int() if "end" in node.attributes else _END
    return op.Slice(op.Shape(node.inputs[0]), op.integers([start]), op.integers([end]))

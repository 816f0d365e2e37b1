"""Writes a scale a token into a graph, in standard operators; see `export.quantization.dynamic` for the formula."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from export.passes.emit import Emitter
from export.quantization.isa import Isa
from export.quantization.sites import Site, nodes_of
from export.quantization.weights import IntegerWeight

#: Levels on each side of zero.
_LEVELS = 127
_ZERO_POINT = 128

#: A token of zeros is divided by this.
_SMALLEST = 1e-12


def insert_dynamic(model: ir.Model, site: Site, weights: Sequence[IntegerWeight], isa: Isa) -> None:
    """Change the MatMuls of `site` in place; they share the scales and the levels of what they read."""
    nodes = nodes_of(model, site.nodes)
    source = nodes[0].inputs[0]
    assert source is not None
    levels, scales = _quantize_tokens(Emitter(nodes[0]), source, isa)
    for node, weight in zip(nodes, weights, strict=True):
        emit = Emitter(node)
        product = emit.add("MatMul", [levels, _weight(emit, node, weight)])
        emit.finish({node.outputs[0]: emit.add("Mul", [product, scales])})


def _quantize_tokens(emit: Emitter, x: ir.Value, isa: Isa) -> tuple[ir.Value, ir.Value]:
    """DQ(Q(x / s)) and s [..., 1]."""
    largest = _largest(emit, emit.add("Abs", [x]))
    scales = emit.add("Max", [largest, emit.constant("smallest", np.array([_SMALLEST], np.float32))])
    step = emit.constant("step", np.array(1 / _LEVELS, np.float32))
    point = emit.constant("zero_point", np.array(_ZERO_POINT - isa.activation_offset, isa.activation_dtype))
    levels = emit.add("QuantizeLinear", [emit.add("Div", [x, scales]), step, point], dtype=point.dtype)
    return emit.add("DequantizeLinear", [levels, step, point], dtype=ir.DataType.FLOAT), scales


def _largest(emit: Emitter, x: ir.Value) -> ir.Value:
    """ReduceMax over the last axis; its axes became an input with opset 18."""
    if emit.graph.opset_imports[""] < 18:
        return emit.add("ReduceMax", [x], {"axes": [-1], "keepdims": 1})
    return emit.add("ReduceMax", [x, emit.integers("last_axis", [-1])], {"keepdims": 1})


def _weight(emit: Emitter, node: ir.Node, weight: IntegerWeight) -> ir.Value:
    """DQ(W')."""
    stem = (node.name or "").rpartition("/")[0].replace("/", ".")
    values = emit.constant(f"{stem}.weight_int8", weight.values)
    scales = emit.constant(f"{stem}.weight_scale", weight.scales)
    zeros = emit.constant(f"{stem}.weight_zero_point", np.zeros(len(weight.scales), np.int8))
    return emit.add("DequantizeLinear", [values, scales, zeros], {"axis": 1}, dtype=ir.DataType.FLOAT)

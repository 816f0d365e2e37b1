"""Writes small weights into a graph, for activations that stay float; see `weight_only.quantize`."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np
import onnx_ir as ir

from export.passes.graph.writer import MICROSOFT, Writer, replace_node, scope_of, write_before
from export.quantization.int8.groups import QuantGroup, nodes_of
from export.quantization.integer_weights import IntegerWeight

#: Rows of an output channel that share a scale, in MatMulNBits and in int4.
BLOCK = 32

#: accuracy_level of MatMulNBits: activations are rounded to int8, block by block; 1 would compute in float.
ACCURACY_LEVEL = 4

_BITS = {"int8": 8, "int4": 4}


def insert_weights(
    model: ir.Model, group: QuantGroup, weights: Sequence[IntegerWeight], precision: str, nbits: bool
) -> None:
    """Change the MatMuls of `group` in place; see `quantize_weights`."""
    for node, weight in zip(nodes_of(model, group.nodes), weights, strict=True):
        op, stem = write_before(node), scope_of(node).replace("/", ".")
        if nbits:
            replace_node(node, _n_bits(op, node, weight, precision, stem))
        elif precision == "int4":
            node.replace_input_with(1, _blocked(op, weight, stem))
        else:
            node.replace_input_with(1, _whole(op, weight, stem))


def pack(weight: IntegerWeight, bits: int) -> np.ndarray:
    """uint8 [O, blocks, bytes of a block] as MatMulNBits reads it: offset by half the levels, two of 4 bits a byte.

    The layout is that of com.microsoft.MatMulNBits in ONNX Runtime's docs/ContribOperators.md: the first of two weights
    is in the lower half.
    """
    rows, columns = weight.values.shape
    blocks = -(-rows // BLOCK)
    levels = np.full((blocks * BLOCK, columns), 2 ** (bits - 1), np.uint8)
    levels[:rows] = (weight.values.astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8)
    laid_out = np.ascontiguousarray(levels.T).reshape(columns, blocks, BLOCK)
    if bits == 4:
        laid_out = laid_out[..., 0::2] | (laid_out[..., 1::2] << 4)
    return laid_out


def _n_bits(op: Writer, node: ir.Node, weight: IntegerWeight, precision: str, stem: str) -> ir.Value:
    """MatMulNBits(x, W', scales)."""
    bits, (rows, columns) = _BITS[precision], weight.values.shape
    packed = op.constant(f"{stem}.weight_{precision}", pack(weight, bits))
    scales = op.constant(f"{stem}.weight_scale", np.ascontiguousarray(weight.scales.T))
    attributes = {"K": rows, "N": columns, "bits": bits, "block_size": BLOCK, "accuracy_level": ACCURACY_LEVEL}
    return op.MatMulNBits(node.inputs[0], packed, scales, **attributes, _domain=MICROSOFT, _dtype=ir.DataType.FLOAT)


def _blocked(op: Writer, weight: IntegerWeight, stem: str) -> ir.Value:
    """DequantizeLinear(W' int4 [I, O], scales [I / 32, O])."""
    values = op.constant(f"{stem}.weight_int4", weight.values.astype(ml_dtypes.int4))
    scales = op.constant(f"{stem}.weight_scale", weight.scales)
    attributes = {"axis": 0, "block_size": BLOCK}
    return op.DequantizeLinear(values, scales, **attributes)


def _whole(op: Writer, weight: IntegerWeight, stem: str) -> ir.Value:
    """Cast(W') * scales [O]."""
    values = op.constant(f"{stem}.weight_int8", weight.values)
    scales = op.constant(f"{stem}.weight_scale", weight.scales)
    whole = op.Cast(values, to=ir.DataType.FLOAT)
    return op.Mul(whole, scales)

"""Canonical self-attention with its projections -> com.microsoft.Attention with one length a row, for CUDA.

    Attention(x W_q + b_q, x W_k + b_k, x W_v + b_v, KeyMask(mask))
        ->  com.microsoft.Attention(x, [W_q W_k W_v], [b_q b_k b_v], Cast(ReduceSum(mask, 1), int32))

In 16 bits ONNX Runtime takes cuDNN's attention for that on CUDA, which writes no scores to memory; for a mask [B, S]
it has no such kernel. In float32 it writes the scores with either (docs/cuda-check.md), and lengths gain nothing but
one form of the graph for all precisions. Lengths say where the padding on the right begins: a graph with them gives
wrong results for padding anywhere else. It carries the metadata `bert_onnx.requires` = `right_padding`, which a
runtime must hold its inputs to. Refuses what `lower_attention_microsoft` refuses.
"""

from __future__ import annotations

import onnx_ir as ir

from bert_onnx.tasks import REQUIRES, RIGHT_PADDING
from export.passes.base import PassContext, PassOutcome
from export.passes.graph.writer import Writer
from export.passes.lowering.attention_ort import lower_with


def lower_attention_lengths(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the Attention nodes that took their projections in."""
    made: dict[ir.Value | None, ir.Value] = {}

    def lengths(op: Writer, mask: ir.Node) -> ir.Value:
        """Once for all layers: they are met in the order of the graph."""
        source = mask.inputs[0]
        if source not in made:
            total = op.ReduceSum(source, op.integers([1], "axes"), keepdims=0)
            int32 = ir.DataType.INT32
            made[source] = op.Cast(total, to=int32)
        return made[source]

    outcome = lower_with(model, lengths)
    if made:
        model.metadata_props[REQUIRES] = RIGHT_PADDING
    return outcome

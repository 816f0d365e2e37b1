"""Skips the padding on CUDA: as `unpad`, with ONNX Runtime's operators, for padding on the right alone.

    LayerNormalization(embeddings) [B, S, D] -> layers on [B, S, D] -> heads on [B, S, N]
        ->
    RemovePadding(LayerNormalization(embeddings), lengths) [T, D] -> layers on [T, D] -> heads on [T, N]
        -> RestorePadding(_, offsets) [B, S, N], with zeros at padding

`right_packing` says what lengths and offsets are. The embeddings stay on [B, S]: they are a look-up, which
EmbedLayerNormalization does in one kernel, and RemovePadding takes floats. Attention stands between RestorePadding and
a gather at first; `lower_packed_attention` takes both away where it can.

A graph that was changed carries the metadata `bert_onnx.requires` = `right_padding`. Refuses what `unpad` refuses, and
graphs whose embeddings no LayerNormalization reads.
"""

from __future__ import annotations

import onnx_ir as ir

from bert_onnx.tasks import REQUIRES, RIGHT_PADDING
from export.passes.base import PassContext, PassOutcome
from export.passes.graph.values import is_operator
from export.passes.graph.writer import use_microsoft
from export.passes.unpadding.right_packing import RightPacking
from export.passes.unpadding.token_flow import TokenFlow, find_token_flow
from export.passes.unpadding.unpad import unpad_with


def remove_padding(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the attentions that run between packed tokens: all or none."""
    outcome = unpad_with(model, _find_flow, RightPacking)
    if outcome.count:
        use_microsoft(model)
        model.metadata_props[REQUIRES] = RIGHT_PADDING
    return outcome


def _find_flow(graph: ir.Graph, mask: ir.Value) -> TokenFlow:
    """What follows the embeddings that are normalised, or nothing."""
    entries = _entries(find_token_flow(graph, mask))
    return find_token_flow(graph, mask, entries) if entries else TokenFlow()


def _entries(flow: TokenFlow) -> list[ir.Node]:
    """The first LayerNormalization behind each look-up, with nothing but sums of look-ups between the two.

    Where a residual reads the sum, too, as in layers that norm first, it is the sum.
    """
    sums = {node.outputs[0] for node in flow.lookups}
    found: dict[ir.Node, None] = {}
    for node in flow.nodes:
        computed = {value for value in node.inputs if value in flow.values}
        if is_operator(node, "Add") and computed <= sums:
            sums.add(node.outputs[0])
        elif is_operator(node, "LayerNormalization") and node.inputs[0] in sums:
            total = node.inputs[0]
            entry = node if total is None or len(total.uses()) == 1 else total.producer()
            found[entry or node] = None
    return list(found)

"""Embedding look-ups, their sum and its LayerNormalization -> com.microsoft.EmbedLayerNormalization.

    LayerNormalization(Gather(W, ids) + Gather(T, types) + Slice(P, 0, S), gamma, beta)
        ->  EmbedLayerNormalization(Cast(ids, int32), Cast(types, int32), W, P, T, gamma, beta)

in any order of the sum, with segments or without. Refuses positions that start after a cache, a sum that is read
elsewhere, too, and scales that are no constants.
"""

from __future__ import annotations

import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph.embeddings import Embeddings, LookUp, find_embeddings
from export.passes.graph.match import remove_unused
from export.passes.graph.values import constant_array, is_operator
from export.passes.graph.writer import MICROSOFT, Writer, replace_node, use_microsoft, write_before


def fuse_embeddings(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the embeddings that were fused: one, or none."""
    fired, refusals = 0, []
    for node in [node for node in model.graph if is_operator(node, "LayerNormalization")]:
        found = find_embeddings(node)
        reason = found if isinstance(found, str) else _refusal(node)
        if found is None:
            continue
        if reason is not None or isinstance(found, str):
            refusals.append(Refusal(node.name or "", reason or ""))
            continue
        _fuse(node, found)
        fired += 1
    use_microsoft(model)
    return PassOutcome(fired, tuple(refusals))


def _refusal(node: ir.Node) -> str | None:
    if len(node.inputs) < 3 or any(constant_array(value) is None for value in node.inputs[1:]):
        return "the scale or the bias of the LayerNormalization is no constant"
    if "axis" in node.attributes and node.attributes["axis"].as_int() not in (-1, 2):
        return "LayerNormalization does not run over the last axis"
    return None


def _fuse(node: ir.Node, found: Embeddings) -> None:
    op, total = write_before(node), node.inputs[0]
    ids, segments = _int32(op, found.words), None if found.segments is None else _int32(op, found.segments)
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    table = None if found.segments is None else found.segments.table
    inputs = [ids, segments, found.words.table, found.table, table, node.inputs[1], node.inputs[2]]
    # The second output is the operator's mask_index, which nothing reads.
    dtypes = (ir.DataType.FLOAT, ir.DataType.INT32)
    result, _ = op.node("EmbedLayerNormalization", inputs, {"epsilon": epsilon}, dtypes, MICROSOFT)
    replace_node(node, result)
    if total is not None:
        remove_unused(op.graph, total)


def _int32(op: Writer, look_up: LookUp) -> ir.Value:
    """The ids as the operator wants them."""
    int32 = ir.DataType.INT32
    return op.Cast(look_up.ids, to=int32)

"""Embedding look-ups, their sum and its LayerNormalization -> com.microsoft.EmbedLayerNormalization.

    LayerNormalization(Gather(W, ids) + Gather(T, types) + Slice(P, 0, S), gamma, beta)
        ->  EmbedLayerNormalization(Cast(ids, int32), Cast(types, int32), W, P, T, gamma, beta)

in any order of the sum, with segments or without. Where padding is on the right alone, the operator counts the tokens
of each text, too, and its second output takes the place of the sums over the mask:

    Cast(ReduceSum(mask, 1), int32)  ->  mask_index of EmbedLayerNormalization(..., mask = Cast(mask, int32))

On CUDA that is the first place without a token (contrib_ops/cuda/bert/embed_layer_norm_impl.cu), on CPUs the number of
tokens. Refuses positions that start after a cache, a sum that is read elsewhere, too, and scales that are no constants.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bert_onnx.tasks import REQUIRES, RIGHT_PADDING
from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph.axes import Axis, axes_of
from export.passes.graph.embeddings import Embeddings, LookUp, find_embeddings
from export.passes.graph.match import remove_unused, sums_places
from export.passes.graph.values import constant_array, is_operator
from export.passes.graph.writer import MICROSOFT, Writer, replace_node, replace_value, use_microsoft, write_before


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
        _fuse(node, found, _sums_of_masks(model, axes_of(found.words.ids)))
        fired += 1
    use_microsoft(model)
    return PassOutcome(fired, tuple(refusals))


def _refusal(node: ir.Node) -> str | None:
    if len(node.inputs) < 3 or any(constant_array(value) is None for value in node.inputs[1:]):
        return "the scale or the bias of the LayerNormalization is no constant"
    if "axis" in node.attributes and node.attributes["axis"].as_int() not in (-1, 2):
        return "LayerNormalization does not run over the last axis"
    return None


def _sums_of_masks(model: ir.Model, axes: tuple[Axis, ...] | None) -> list[ir.Node]:
    """The casts of sums over one mask with the `axes` of the ids; none where padding may be anywhere."""
    if model.metadata_props.get(REQUIRES) != RIGHT_PADDING:
        return []
    casts = [(mask, node) for node in model.graph if (mask := _mask_of(node)) is not None and axes_of(mask) == axes]
    return [node for mask, node in casts if mask is casts[0][0]]


def _mask_of(cast: ir.Node) -> ir.Value | None:
    """The mask whose rows `cast` counts as int32."""
    if not is_operator(cast, "Cast") or cast.attributes["to"].as_int() != ir.DataType.INT32:
        return None
    if cast.outputs[0].is_graph_output():
        return None
    total = cast.inputs[0].producer() if cast.inputs[0] is not None else None
    return total.inputs[0] if total is not None and sums_places(total) else None


def _fuse(node: ir.Node, found: Embeddings, sums: Sequence[ir.Node]) -> None:
    op, total = write_before(node), node.inputs[0]
    ids, segments = _int32(op, found.words), None if found.segments is None else _int32(op, found.segments)
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    table = None if found.segments is None else found.segments.table
    inputs = [ids, segments, found.words.table, found.table, table, node.inputs[1], node.inputs[2]]
    if sums:
        mask = _mask_of(sums[0])
        inputs.append(op.Cast(mask, to=ir.DataType.INT32))
    dtypes = (ir.DataType.FLOAT, ir.DataType.INT32)
    result, lengths = op.node("EmbedLayerNormalization", inputs, {"epsilon": epsilon}, dtypes, MICROSOFT)
    replace_node(node, result)
    for cast in sums:
        replace_value(cast.outputs[0], lengths)
        remove_unused(op.graph, cast.outputs[0])
    if total is not None:
        remove_unused(op.graph, total)
    if sums:
        op.graph.sort()  # the mask may be computed after the embeddings


def _int32(op: Writer, look_up: LookUp) -> ir.Value:
    """The ids as the operator wants them."""
    int32 = ir.DataType.INT32
    return op.Cast(look_up.ids, to=int32)

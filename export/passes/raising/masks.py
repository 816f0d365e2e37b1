"""Recognises the additive bias that is made of a key mask, however it is spelled out.

    (1 - Cast(Unsqueeze(mask))) * fill                    ->  bert_onnx.KeyMask(mask) {fill}
    Where(Cast(1 - mask, bool), fill, 1 - mask)           ->  bert_onnx.KeyMask(mask) {fill}
    Where(Cast(mask, bool), 0, fill)                      ->  bert_onnx.KeyMask(mask) {fill}
    ... of Expand(mask, [B, 1, S, R])                     ->  Expand(bert_onnx.KeyMask(mask) {fill}, [B, 1, S, R])

A mask holds ones and zeros. So a chain of elementwise operators is known by what it makes of a one and of a zero: it is
a key mask if that is 0 and a large negative number. That covers every order of operators at once; only the axes have to
be followed beside it. A fill of -inf becomes the lowest float32: the same for every row with a real token, and no NaN
for a row without one.

Fires on masks that are an input of the graph of rank 2 (or its reshape to rank 2), never on ids that index a table.
Refuses a mask that is not laid out as [B, 1, 1, R].
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph.canonical import ATTENTION, BIAS, DOMAIN
from export.passes.graph.values import is_operator
from export.passes.graph.writer import replace_value, write_before
from export.passes.raising.mask_values import Axes, Masked, follow_masks

#: Masks that fill with less are not meant to hide anything.
_LARGEST_FILL = -1000.0
_LOWEST_FLOAT32 = float(np.finfo(np.float32).min)

_KEY_MASK_AXES: Axes = ("B", "1", "1", "R")


def raise_masks(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the KeyMask nodes that were made."""
    known = follow_masks(model.graph)
    fired, refusals = 0, []
    made: dict[tuple[ir.Value, float], ir.Value] = {}
    for value, masked in list(known.items()):
        if not _is_bias(masked) or _goes_on(value, known):
            continue
        if tuple("1" if axis == "*" else axis for axis in masked.axes) != _KEY_MASK_AXES:
            producer = value.producer()
            name = producer.name if producer is not None else None
            refusals.append(Refusal(name or "", f"a mask with the axes {list(masked.axes)} is not [B, 1, 1, R]"))
            continue
        _replace(value, masked, made)
        fired += 1
    common.RemoveUnusedNodesPass()(model)
    return PassOutcome(len(made), tuple(refusals)) if fired else PassOutcome(0, tuple(refusals))


def _is_bias(masked: Masked) -> bool:
    return masked.seen == 0.0 and masked.hidden <= _LARGEST_FILL


def _goes_on(value: ir.Value, known: dict[ir.Value, Masked]) -> bool:
    """Whether all that reads `value` is a bias itself, which will be replaced instead."""
    results = [known.get(user.outputs[0]) for user, _ in value.uses()]
    return bool(results) and not value.is_graph_output() and all(one is not None and _is_bias(one) for one in results)


def _replace(value: ir.Value, masked: Masked, made: dict[tuple[ir.Value, float], ir.Value]) -> None:
    """Put a KeyMask in the place of `value`; biases that are the same share one."""
    producer = value.producer()
    assert producer is not None
    fill = max(masked.hidden, _LOWEST_FLOAT32)
    bias = made.get((masked.source, fill))
    if bias is None:
        bias = _key_mask(producer, masked.source, fill)
        bias.type = value.type
        made[(masked.source, fill)] = bias
    for user, place in list(value.uses()):
        if place == BIAS and is_operator(user, ATTENTION, domain=DOMAIN):  # which broadcasts it itself
            user.replace_input_with(place, bias)
    if masked.expanded is not None and (value.uses() or value.is_graph_output()):
        bias = write_before(producer).Expand(bias, masked.expanded)
    replace_value(value, bias)


def _key_mask(place: ir.Node, mask: ir.Value, fill: float) -> ir.Value:
    """A KeyMask of `mask`, as int64, before `place`."""
    op, shape = write_before(place), mask.shape
    if _dtype(mask) != ir.DataType.INT64:
        mask = op.Cast(mask, to=ir.DataType.INT64)
        mask.shape = shape
    bias = op.KeyMask(mask, fill=fill, _domain=DOMAIN)
    batch, length = (None, None) if shape is None else (shape[0], shape[1])
    bias.shape = ir.Shape([batch, 1, 1, length])
    return bias


def _dtype(mask: ir.Value) -> ir.DataType | None:
    """The element type of a mask, or of the input that it is a reshape of."""
    node = mask.producer()
    source = node.inputs[0] if mask.dtype is None and node is not None else None
    return source.dtype if source is not None else mask.dtype

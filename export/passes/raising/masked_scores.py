"""Writes scores that are overwritten where a mask says so as scores with a bias.

    Softmax(Where(hidden, fill, scores))    ->  Softmax(scores + Where(hidden, fill, 0))
    Softmax(Where(visible, scores, fill))   ->  Softmax(scores + Where(visible, 0, fill))

Equal to the last bit where a fill swallows every score: float32 loses anything below 1e22 beside 1e30. A mask that an
Expand made as large as the scores (DistilBERT's) is read before it: the sum broadcasts it.

Refuses a fill that is smaller, a fill that is not one constant number, and scores that something else reads.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph.match import only_user, scalar
from export.passes.graph.values import is_operator
from export.passes.graph.writer import write_before

#: A fill at or below this swallows any score.
_SWALLOWS = -1e30

#: What scores are made by, beside a bias.
_SCORES = ("MatMul", "Mul", "Div", "Add")


def raise_masked_scores(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the Where nodes that became an Add."""
    fired, refusals = 0, []
    for node in list(model.graph):
        if not is_operator(node, "Where") or not is_operator(only_user(node.outputs[0]), "Softmax"):
            continue
        place = next((place for place in (1, 2) if _is_scores(node.inputs[place])), None)
        if place is None:
            continue
        fill = scalar(node.inputs[3 - place])
        if fill is None or not fill <= _SWALLOWS:
            refusals.append(Refusal(node.name or "", "the fill is not a constant that swallows every score"))
            continue
        _replace(model.graph, node, place, fill)
        fired += 1
    if fired:
        common.RemoveUnusedNodesPass()(model)  # what made the shape of an Expand reads the scores
    return PassOutcome(fired, tuple(refusals))


def _is_scores(value: ir.Value | None) -> bool:
    return value is not None and is_operator(value.producer(), *_SCORES)


def _replace(graph: ir.Graph, node: ir.Node, place: int, fill: float) -> None:
    op, condition = write_before(node), node.inputs[0]
    scores, result = node.inputs[place], node.outputs[0]
    if scores is not None and scores.shape is not None and scores.shape == result.shape:
        condition = _unexpanded(condition)
    dtype = np.dtype(np.float32) if result.dtype is None else result.dtype.numpy()
    lowest = max(fill, float(np.finfo(np.float32).min))
    values: list[ir.Value | None] = [condition, None, None]
    values[place] = op.constant("zero", np.array(0.0, dtype))
    values[3 - place] = op.constant("fill", np.array(lowest, dtype))
    where = op.Where(*values)
    where.shape = condition.shape if condition is not None else None
    total = op.Add(scores, where)
    total.type, total.shape = result.type, result.shape
    result.replace_all_uses_with(total)
    graph.remove(node, safe=True)


def _unexpanded(condition: ir.Value | None) -> ir.Value | None:
    """What an Expand made as large as the scores, which broadcast it anyway."""
    node = None if condition is None else condition.producer()
    return node.inputs[0] if node is not None and is_operator(node, "Expand") else condition

"""Recognises attention, however it is spelled out.

    softmax(scale * Q K^T + bias) V        (Vaswani et al. 2017, section 3.2)

    Q = heads of query, K^T = heads of key, V = heads of value, each Transpose(Reshape(state, [0, 0, H, K]))
    scores = MatMul(Q, K^T), scaled before, after or on both sides; Add of any number of biases, scaled or not
    context = Reshape(Transpose(MatMul(Softmax(scores), V)), [0, 0, H*K])
        ->
    context, present_key, present_value, probabilities =
        bert_onnx.Attention(query, key, value, bias, past_key, past_value)

A cache is what is put before K and V by a Concat. Relative scores (Shaw et al. 2018) are biases that are scaled, too:
they are gathered into the one bias. What reads the keys to compute a bias keeps them.

Refuses where the scores, or the context of the heads, are read elsewhere, too; where Softmax runs over another axis;
where the probabilities are changed before they meet the values; where heads cannot be derived from the shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import common

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph.canonical import CONTEXT, PRESENT_KEY, PRESENT_VALUE, PROBABILITIES
from export.passes.graph.match import only_user, scalar
from export.passes.graph.values import is_operator
from export.passes.raising.attention_node import AttentionParts, replace_attention
from export.passes.raising.head_layout import CACHE_AXES, Split, find_merge, find_split

_KEY_AXES = "BHKS"


@dataclass(frozen=True)
class _Scores:
    """scale * product + the sum of factor * bias."""

    product: ir.Node
    scale: float
    biases: tuple[tuple[ir.Value, float], ...] = ()

    def scaled(self, factor: float) -> _Scores:
        """The scores times `factor`."""
        return _Scores(self.product, self.scale * factor, tuple((bias, one * factor) for bias, one in self.biases))


def raise_attention(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the Attention nodes that were made."""
    fired, refusals = 0, []
    for node in list(model.graph):
        if not is_operator(node, "Softmax"):
            continue
        found = _match(node)
        if isinstance(found, str):
            refusals.append(Refusal(node.name or "", found))
        elif found is not None:
            replace_attention(model.graph, found)
            fired += 1
    common.RemoveUnusedNodesPass()(model)
    common.TopologicalSortPass()(model)
    return PassOutcome(fired, tuple(refusals))


def _match(softmax: ir.Node) -> AttentionParts | str | None:
    """The attention around `softmax`; a reason where there is none; None where nothing looks like one."""
    products = [
        user
        for user, place in softmax.outputs[0].uses()
        if place == 0 and is_operator(user, "MatMul") and user.inputs[1]
    ]
    scores = _scores(softmax.inputs[0])
    if scores is None:
        return "the scores are no product of queries and keys" if products else None
    if isinstance(scores, str):
        return scores
    if len(products) != 1:
        return "the probabilities are changed before they meet the values, or meet several"
    axis = softmax.attributes["axis"].as_int() if "axis" in softmax.attributes else -1
    if axis not in (-1, 3):
        return f"Softmax runs over axis {axis}, not over the keys"
    splits = [find_split(value) for value in (*scores.product.inputs, products[0].inputs[1]) if value is not None]
    for split, axes in zip(splits, (CACHE_AXES, _KEY_AXES, CACHE_AXES), strict=True):
        if isinstance(split, str):
            return split
        if split.axes != axes:
            return f"{split.source.name} is split to the axes {split.axes}, not {axes}"
    query, key, value = (split for split in splits if isinstance(split, Split))
    reason = _disagreement(query, key, value)
    if reason is not None:
        return reason
    merged = find_merge(products[0].outputs[0], value)
    if isinstance(merged, str):
        return merged
    results = {CONTEXT: merged, PROBABILITIES: softmax.outputs[0]}
    if key.joined is not None and value.joined is not None:
        results |= {PRESENT_KEY: key.joined, PRESENT_VALUE: value.joined}
    return AttentionParts(
        core=softmax,
        query=query.source,
        key=key.source,
        value=value.source,
        heads=query.heads,
        scale=scores.scale * query.factor * key.factor,
        biases=scores.biases,
        past=(key.past, value.past),
        results=results,
    )


def _disagreement(query: Split, key: Split, value: Split) -> str | None:
    """Why the three cannot be one attention."""
    if len({(split.heads, split.size) for split in (query, key, value)}) != 1:
        return "queries, keys and values have different heads"
    if query.past is not None or (key.past is None) != (value.past is None):
        return "a cache is put before the keys or the values alone, or before the queries"
    if value.factor != 1.0:
        return "the values are scaled"
    return None


def _scores(value: ir.Value | None) -> _Scores | str | None:
    """`value` as scaled product plus biases; None where there is no product in it, a reason where it is shared."""
    node = value.producer() if value is not None else None
    if node is None or value is None or node.domain != "":
        return None
    found: _Scores | str | None = None
    if node.op_type == "MatMul":
        found = (
            _Scores(node, 1.0)
            if not any(operand is None or operand.is_initializer() for operand in node.inputs)
            else None
        )
    elif node.op_type in ("Mul", "Div"):
        found = _scaled_scores(node)
    elif node.op_type == "Add":
        found = _biased_scores(node)
    if isinstance(found, _Scores) and only_user(value) is None:
        return f"{value.name} inside the scores is read elsewhere, too, or is an output of the graph"
    return found


def _scaled_scores(node: ir.Node) -> _Scores | str | None:
    left, right = node.inputs[0], node.inputs[1]
    for scores, other in ((left, right), (right, left)):
        number = scalar(other)
        if number and (node.op_type == "Mul" or scores is left):
            found = _scores(scores)
            return (
                found.scaled(number if node.op_type == "Mul" else 1.0 / number) if isinstance(found, _Scores) else found
            )
    return None


def _biased_scores(node: ir.Node) -> _Scores | str | None:
    left, right = node.inputs[0], node.inputs[1]
    for scores, bias in ((left, right), (right, left)):
        found = _scores(scores)
        if isinstance(found, _Scores) and bias is not None:
            return _Scores(found.product, found.scale, (*found.biases, (bias, 1.0)))
        if isinstance(found, str):
            return found
    return None

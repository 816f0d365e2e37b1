"""Finds weighted sums over the tokens of each text: what poolings are made of.

    ReduceSum(x [B, S, D] * w [B, S, 1], 1)          [B, D]      where w does not depend on x
    ReduceSum(x * w, 1) / d [B, 1]                   the same with weights w / d, a mean

Where w is 1 at the first real token alone, the sum is that token: the pooling `cls` of `modeling/sentence_chain.py`.
Finds products with the mask as well, which states without padding have no need of.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import onnx_ir as ir

from export.passes.graph.axes import axes_of
from export.passes.graph.match import sums_places
from export.passes.graph.values import constant_array, is_operator


@dataclass(frozen=True)
class TokenSum:
    """A sum that one node begins.

    Args:
        result: [B, D].
        weights: w.
        divisor: d; None for none.
    """

    result: ir.Value
    weights: ir.Value
    divisor: ir.Value | None = None


def find_token_sums(
    node: ir.Node, value: ir.Value, mask: ir.Value, tokens: Container[ir.Value]
) -> tuple[TokenSum, ...]:
    """The sums over `value` [B, S, D] that begin at `node`, one of its readers, where nothing else begins there.

    Args:
        mask: [B, S].
        tokens: all that is computed from states of tokens.
    """
    if not is_operator(node, "Mul"):
        return ()
    weights = next((operand for operand in node.inputs if operand is not value), None)
    places = axes_of(mask)
    if weights is None or weights in tokens or places is None or axes_of(weights) != (*places, 1):
        return ()
    totals = [user for user, _ in node.outputs[0].uses()]
    if node.outputs[0].is_graph_output() or not all(map(sums_places, totals)):
        return ()
    return tuple(found for total in totals for found in _means(total, weights, tokens))


def _means(total: ir.Node, weights: ir.Value, tokens: Container[ir.Value]) -> tuple[TokenSum, ...]:
    """The quotients that alone read a sum, or the sum itself."""
    value = total.outputs[0]
    readers = [user for user, _ in value.uses()]
    divisors = [_divisor(reader, value) for reader in readers]
    if value.is_graph_output() or any(divisor is None or divisor in tokens for divisor in divisors):
        return (TokenSum(value, weights),)
    return tuple(TokenSum(reader.outputs[0], weights, one) for reader, one in zip(readers, divisors, strict=True))


def _divisor(node: ir.Node, value: ir.Value) -> ir.Value | None:
    """d [B, 1], where `node` is `value` / d."""
    axes = axes_of(node.inputs[1]) if is_operator(node, "Div") and node.inputs[0] is value else None
    return node.inputs[1] if axes is not None and len(axes) == 2 and axes[1] == 1 else None


def is_masked(node: ir.Node, value: ir.Value, mask: ir.Value) -> bool:
    """Whether `node` multiplies `value` [B, S, D] by `mask` [B, S, 1]."""
    if not is_operator(node, "Mul"):
        return False
    other = next((operand for operand in node.inputs if operand is not value), None)
    maker = other.producer() if other is not None and axes_of(other) == (*(axes_of(mask) or ()), 1) else None
    while maker is not None and is_operator(maker, "Cast", "Unsqueeze") and maker.inputs[0] is not mask:
        maker = maker.inputs[0].producer() if maker.inputs[0] is not None else None
    return maker is not None and is_operator(maker, "Cast", "Unsqueeze")


def is_first_token(weights: ir.Value, mask: ir.Value) -> bool:
    """Whether `weights` [B, S, 1] are 1 at the first real token of each text and 0 elsewhere:

    Equal(left, ReduceMax(Where(Greater(mask, 0), left, 0), 1)), where `left` falls from S to 1
    """
    equal = _through(weights, "Cast", "Unsqueeze")
    if equal is None or not is_operator(equal, "Equal"):
        return False
    left, chosen = equal.inputs
    largest = chosen.producer() if chosen is not None else None
    if left is None or largest is None or not is_operator(largest, "ReduceMax") or largest.inputs[0] is None:
        return False
    where = largest.inputs[0].producer()
    if where is None or not is_operator(where, "Where") or where.inputs[1] is not left or not _is_zero(where.inputs[2]):
        return False
    real = where.inputs[0].producer() if where.inputs[0] is not None else None
    masked = real is not None and is_operator(real, "Greater") and real.inputs[0] is mask and _is_zero(real.inputs[1])
    return masked and constant_array(largest.inputs[1]) == [1] and _falls(left)


def _falls(left: ir.Value) -> bool:
    """Whether `left` is S - Range(0, S, 1)."""
    node = left.producer()
    if node is None or not is_operator(node, "Sub") or node.inputs[1] is None:
        return False
    places = _through(node.inputs[1], "Unsqueeze")
    if places is None or not is_operator(places, "Range") or places.inputs[1] is not node.inputs[0]:
        return False
    return _is_zero(places.inputs[0]) and constant_array(places.inputs[2]) == 1


def _through(value: ir.Value, *operators: str) -> ir.Node | None:
    """The node before those of `operators` that `value` comes through."""
    node = value.producer()
    while node is not None and is_operator(node, *operators) and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node


def _is_zero(value: ir.Value | None) -> bool:
    array = constant_array(value)
    return array is not None and array.size == 1 and not array.any()

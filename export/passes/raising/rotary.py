"""Recognises queries or keys that are turned by their positions (Su et al. 2021, section 3.4.2).

    x = Reshape(state, [0, 0, H, K]);  a, b = Split(x, axis=-1);  c, s = Unsqueeze(cosines, 1), Unsqueeze(sines, 1)
    Concat(a c - b s, b c + a s)    ->    Reshape(bert_onnx.Rotary(state, cosines, sines) {num_heads: H}, [0, 0, H, K])

So a state is a state [B, S, H*K] again before it is split into heads, and attention is recognised behind it. Cosines
and sines are [S, K / 2], the same for every text.

Refuses where something inside is read elsewhere, too, and where the axes are others.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph import canonical
from export.passes.graph.match import constant_vector
from export.passes.graph.values import is_operator
from export.passes.graph.writer import replace_value, sole_producer, write_before

#: Axes of states that are split into heads.
_RANK = 4


def raise_rotary(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the Rotary nodes that were made."""
    fired, refusals = 0, []
    for node in [node for node in model.graph if is_operator(node, "Concat") and len(node.inputs) == 2]:
        found = _match(node)
        if isinstance(found, str):
            refusals.append(Refusal(node.name or "", found))
        elif found is not None:
            _replace(node, *found)
            fired += 1
    common.RemoveUnusedNodesPass()(model)
    return PassOutcome(fired, tuple(refusals))


def _match(concat: ir.Node) -> tuple[ir.Node, ir.Value, ir.Value] | str | None:
    """The Reshape, cosines and sines; a reason where they do not fit; None where nothing looks like a rotation."""
    first, second = (value.producer() if value is not None else None for value in concat.inputs)
    if first is None or second is None or not (is_operator(first, "Sub") and is_operator(second, "Add")):
        return None
    factors = [_factors(value) for value in (*first.inputs, *second.inputs)]
    if any(isinstance(one, str) for one in factors):
        return next(one for one in factors if isinstance(one, str))
    split = _split_of(factors[0])
    if split is None or not _axis_is_last(split) or not _axis_is_last(concat):
        return "what is turned is not the two halves of the last axis"
    left, right = split.outputs
    (a, c), (b, s) = ((one[0], one[1]) for one in factors[:2] if isinstance(one, tuple))
    if (a, b) != (left, right) or factors[2:] != [(right, c), (left, s)]:
        return "the two halves are not turned by one angle"
    reshape = sole_producer(split.inputs[0], "Reshape")
    if isinstance(reshape, str):
        return reshape
    tables = [_table(value) for value in (c, s)]
    if reshape.inputs[0] is None or reshape.inputs[0].shape is None or len(reshape.inputs[0].shape) != _RANK - 1:
        return "what is split into heads is no state [B, S, D]"
    if tables[0] is None or tables[1] is None or constant_vector(reshape.inputs[1]) is None:
        return "the angles are not those of places, the same for every text and head"
    return reshape, tables[0], tables[1]


def _factors(value: ir.Value | None) -> tuple[ir.Value, ir.Value] | str:
    """The operands of a product that is read once."""
    product = sole_producer(value, "Mul")
    if isinstance(product, str):
        return product
    left, right = product.inputs
    assert left is not None
    assert right is not None
    return left, right


def _split_of(factors: tuple[ir.Value, ir.Value] | str) -> ir.Node | None:
    """The Split in two that the first of `factors` comes from."""
    node = factors[0].producer() if isinstance(factors, tuple) else None
    return node if node is not None and is_operator(node, "Split") and len(node.outputs) == 2 else None


def _axis_is_last(node: ir.Node) -> bool:
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    return axis in (-1, _RANK - 1)


def _table(value: ir.Value) -> ir.Value | None:
    """[S, K / 2], where `value` is its Unsqueeze to [S, 1, K / 2]."""
    node = value.producer()
    if node is None or not is_operator(node, "Unsqueeze") or constant_vector(node.inputs[1]) not in ([1], [-2]):
        return None
    table = node.inputs[0]
    return table if table is not None and table.shape is not None and len(table.shape) == 2 else None


def _replace(concat: ir.Node, reshape: ir.Node, cosines: ir.Value, sines: ir.Value) -> None:
    op, state = write_before(concat), reshape.inputs[0]
    shape = constant_vector(reshape.inputs[1])
    assert state is not None
    assert shape is not None
    turned = op.Rotary(state, cosines, sines, num_heads=shape[2], _domain=canonical.DOMAIN)
    turned.shape = state.shape
    replace_value(concat.outputs[0], op.Reshape(turned, reshape.inputs[1]))

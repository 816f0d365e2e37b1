"""Computes the queries, keys and values of one input by one product.

    x W_q + b_q, x W_k + b_k, x W_v + b_v  ->  Split(x [W_q W_k W_v] + [b_q b_k b_v])

Self-attention merges all three, cross-attention keys and values, whose input is the encoder's. Heads may be pruned:
the three are cut where their widths say. A layer without a bias counts as one of zeros; where none has one, there is
no Add. Refuses where the inputs differ, or where a product or a weight is read elsewhere, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph import canonical
from export.passes.graph.linear import (
    Linear,
    annotate,
    before_rotation,
    find_linear,
    joined_bias,
    joined_name,
    joined_weight,
    remove_linears,
    sharing,
)
from export.passes.graph.values import is_operator
from export.passes.graph.writer import replace_value, scope_of, write_before

#: Where a merged product keeps the names of those that it replaces, in their order; it is not written to files.
MERGED = "merged_products"


def merge_qkv(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the Attention nodes whose projections were merged."""
    fired, refusals = 0, []
    for node in [node for node in model.graph if is_operator(node, canonical.ATTENTION, domain=canonical.DOMAIN)]:
        found = _find(node)
        if isinstance(found, str):
            refusals.append(Refusal(node.name or "", found))
            continue
        letters, linears = found
        _merge(node, letters, linears)
        fired += 1
    return PassOutcome(fired, tuple(refusals))


def _find(node: ir.Node) -> tuple[str, list[Linear]] | str:
    """What can be merged, `qkv` or `kv`, or why nothing can."""
    found = [find_linear(before_rotation(value)) for value in node.inputs[: canonical.VALUE + 1]]
    linears = [linear for linear in found if linear is not None]
    if len(linears) != 3:
        return "queries, keys or values come from something other than a linear layer"
    query, key, value = linears
    if key.source is not value.source:
        return "keys and values are computed from different inputs"
    letters, chosen = ("qkv", linears) if query.source is key.source else ("kv", [key, value])
    if len({id(linear.output) for linear in chosen}) != len(chosen):
        return "two of queries, keys and values are the same"
    return next((reason for reason in map(sharing, chosen) if reason is not None), (letters, chosen))


def _merge(node: ir.Node, letters: str, linears: Sequence[Linear]) -> None:
    scope = scope_of(node)
    op = write_before(_earliest(node, linears), f"{scope}/{letters}" if scope else letters)
    name = joined_name(linears, node, letters)
    merged = op.MatMul(linears[0].source, joined_weight(op.graph, f"{name}.weight", linears))
    product = merged.producer()
    assert product is not None
    product.meta[MERGED] = tuple((linear.product.producer() or product).name for linear in linears)
    if any(linear.bias is not None for linear in linears):
        merged = op.Add(merged, joined_bias(op.graph, f"{name}.bias", linears))
    widths = [linear.width for linear in linears]
    parts = op.node("Split", [merged, op.integers(widths, "widths")], {"axis": -1}, (None,) * len(linears))
    for linear, part in zip(linears, parts, strict=True):
        annotate(part, linear.source, linear.width)
        replace_value(linear.output, part)
    annotate(merged, linears[0].source, sum(widths))
    remove_linears(op.graph, linears)


def _earliest(node: ir.Node, linears: Sequence[Linear]) -> ir.Node:
    """The first of the products, in the order of the graph."""
    products = {linear.product.producer() for linear in linears}
    assert node.graph is not None
    return next(candidate for candidate in node.graph if candidate in products)

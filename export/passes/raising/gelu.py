"""Recognises GELU, however it is spelled out.

    x/2 (1 + erf(x / sqrt 2))                             ->  bert_onnx.Gelu(x) {approximate: none}
    x/2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))       ->  bert_onnx.Gelu(x) {approximate: tanh}
    ai.onnx.Gelu(x)                                       ->  bert_onnx.Gelu(x)

Hendrycks and Gimpel 2016, section 2. Starts at the Erf or Tanh node, collects the factors of the product that it ends
up in, in any order, and compares what was under the function with the formula as a polynomial in x.

Refuses where something inside is read elsewhere, too, or returned, or where the constants are not those of GELU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import onnx_ir as ir
from onnx_ir.passes import common

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph.canonical import DOMAIN
from export.passes.graph.match import (
    Polynomial,
    close,
    only_user,
    other_input,
    peel_scale,
    polynomial,
    rounding_of,
    scalar,
)
from export.passes.graph.values import is_operator
from export.passes.graph.writer import Writer, replace_value, scope_of

_ROOT = math.sqrt(2.0 / math.pi)

#: What is under the function, as a polynomial in x, by operator; and the value of `approximate` that it stands for.
_FORMS: dict[str, tuple[str, Polynomial]] = {
    "Erf": ("none", {1: 1.0 / math.sqrt(2.0)}),
    "Tanh": ("tanh", {1: _ROOT, 3: 0.044715 * _ROOT}),
}


@dataclass(frozen=True)
class _Product:
    """A product that 1 + f(...) is a factor of: the node that makes it, its constant, and its other factor."""

    node: ir.Node
    constant: float = 1.0
    factor: ir.Value | None = None


def raise_gelu(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the Gelu nodes that were made."""
    fired, refusals = 0, []
    for node in list(model.graph):
        if is_operator(node, "Gelu"):
            _replace(model.graph, node, node.inputs[0], node.outputs[0], _approximate(node))
            fired += 1
        elif is_operator(node, *_FORMS):
            found = _match(node)
            if isinstance(found, Refusal):
                refusals.append(found)
            elif found is not None:
                source, result = found
                _replace(model.graph, node, source, result, _FORMS[node.op_type][0])
                fired += 1
    common.RemoveUnusedNodesPass()(model)
    return PassOutcome(fired, tuple(refusals))


def _approximate(node: ir.Node) -> str:
    return node.attributes["approximate"].as_string() if "approximate" in node.attributes else "none"


def _match(node: ir.Node) -> tuple[ir.Value, ir.Value] | Refusal | None:
    """x and the value that is its GELU; None for a function that stands alone, as the pooler's Tanh does."""
    plus_one = only_user(node.outputs[0])
    if plus_one is None or not is_operator(plus_one, "Add"):
        users = [user for user, _ in node.outputs[0].uses()]
        if any(_adds_one(user, node.outputs[0]) for user in users):
            return Refusal(node.name or "", f"the output of {node.op_type} is read elsewhere, too")
        return None
    if not _adds_one(plus_one, node.outputs[0]):
        return None
    product = _Product(plus_one)
    for product in _products(plus_one):
        source = _variable(node, product)
        if source is not None:
            return source, product.node.outputs[0]
    return Refusal(node.name or "", _reason(node, product))


def _adds_one(node: ir.Node, value: ir.Value) -> bool:
    return is_operator(node, "Add") and scalar(other_input(node, value)) == 1.0


def _products(plus_one: ir.Node) -> Iterator[_Product]:
    """The products that the output of `plus_one` goes into, each with a constant or a factor more than the last."""
    product = _Product(plus_one)
    while (user := only_user(product.node.outputs[0])) is not None and len(user.inputs) == 2:
        value = product.node.outputs[0]
        other = other_input(user, value)
        number = scalar(other)
        if is_operator(user, "Mul") and number is not None:
            product = replace(product, node=user, constant=product.constant * number)
        elif is_operator(user, "Div") and user.inputs[0] is value and number:
            product = replace(product, node=user, constant=product.constant / number)
        elif is_operator(user, "Mul") and product.factor is None and other is not value:
            product = replace(product, node=user, factor=other)
        else:
            return
        yield product


def _variable(node: ir.Node, product: _Product) -> ir.Value | None:
    """x, if the product is x/2 (1 + f(p(x))) with the polynomial p that belongs to the function f of `node`."""
    argument, factor = node.inputs[0], product.factor
    if factor is None or argument is None:
        return None
    peeled, scale = peel_scale(factor)
    for variable, constant in ((factor, product.constant), (peeled, product.constant * scale)):
        tolerance = rounding_of(variable)
        found = polynomial(argument, variable)
        wanted = _FORMS[node.op_type][1]
        if found is None or not close(constant, 0.5, tolerance):
            continue
        powers = {power for power, coefficient in found.items() if coefficient != 0.0}
        inside = _shared_inside(node, variable)
        if powers == set(wanted) and all(close(found[power], wanted[power], tolerance) for power in wanted):
            return variable if inside is None else None
    return None


def _shared_inside(node: ir.Node, variable: ir.Value) -> ir.Value | None:
    """A value between `variable` and `node` that something else reads; only the formula itself may."""
    formula, todo = {node}, [value for value in node.inputs if value is not None]
    inside: set[ir.Value] = set()
    while todo:
        value = todo.pop()
        producer = value.producer()
        if value is variable or value in inside or producer is None or scalar(value) is not None:
            continue
        formula.add(producer)
        inside.add(value)
        todo.extend(operand for operand in producer.inputs if operand is not None)
    for value in inside:
        if value.is_graph_output() or any(user not in formula for user, _ in value.uses()):
            return value
    return None


def _reason(node: ir.Node, product: _Product) -> str:
    if product.factor is None:
        return f"1 + {node.op_type.lower()}(...) is not multiplied with x, or is read elsewhere, too"
    variable, argument = peel_scale(product.factor)[0], node.inputs[0]
    if argument is None or polynomial(argument, variable) is None:
        return f"what is under {node.op_type} is no polynomial in the other factor"
    shared = _shared_inside(node, variable)
    if shared is not None:
        return f"{shared.name} inside the formula is read elsewhere, too"
    return f"the constants around {node.op_type} are not those of GELU"


def _replace(graph: ir.Graph, node: ir.Node, source: ir.Value | None, result: ir.Value, approximate: str) -> None:
    op = Writer(graph, scope_of(node), result.producer())
    replace_value(result, op.Gelu(source, approximate=approximate, _domain=DOMAIN))

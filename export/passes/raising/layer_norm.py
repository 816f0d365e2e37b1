"""Recognises layer normalisation where it is spelled out, as exporters did below opset 17.

    d = x - mean(x);  d / sqrt(mean(d^2) + epsilon) * weight + bias      ->  ai.onnx.LayerNormalization(x, weight, bias)

Ba et al. 2016, equations 3 and 4, over the last axis. d^2 is Pow(d, 2) or Mul(d, d); the quotient is a Div, or a Mul
with Reciprocal or Pow(_, -1/2); the operands of Mul and Add stand in any order.

Refuses where the mean runs over another axis, epsilon, weight or bias are not constant, something inside is read
elsewhere, too, or the opset has no LayerNormalization.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import common

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph.match import describe_use, nodes_between, only_user, other_input, outside_use, scalar
from export.passes.graph.values import constant_array, constant_input, is_operator
from export.passes.graph.writer import Writer, replace_value, scope_of
from export.passes.raising.head_layout import last_axis

#: Opset that brought LayerNormalization.
_FIRST_OPSET = 17


@dataclass(frozen=True)
class _Norm:
    source: ir.Value
    weight: ir.Value
    bias: ir.Value
    epsilon: float
    result: ir.Value


def raise_layer_norm(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the LayerNormalization nodes that were made."""
    fired, refusals = 0, []
    for node in list(model.graph):
        centred = _squared(node)
        if centred is None or not is_operator(centred.producer(), "Sub"):
            continue
        found = _match(node, centred)
        if isinstance(found, _Norm) and model.graph.opset_imports.get("", 0) < _FIRST_OPSET:
            found = f"opset {model.graph.opset_imports.get('')} has no LayerNormalization"
        if isinstance(found, str):
            refusals.append(Refusal(node.name or "", found))
        elif found is not None:
            _replace(model.graph, node, found)
            fired += 1
    common.RemoveUnusedNodesPass()(model)
    return PassOutcome(fired, tuple(refusals))


def _squared(node: ir.Node) -> ir.Value | None:
    """d, if `node` is d^2."""
    if is_operator(node, "Pow") and scalar(node.inputs[1]) == 2.0:
        return node.inputs[0]
    if is_operator(node, "Mul") and node.inputs[0] is node.inputs[1]:
        return node.inputs[0]
    return None


def _match(square: ir.Node, centred: ir.Value) -> _Norm | str | None:
    """The normalisation that `square` is a part of; None for a square of something else."""
    subtraction = centred.producer()
    assert subtraction is not None
    source, mean = subtraction.inputs[0], subtraction.inputs[1]
    if source is None or mean is None or not is_operator(mean.producer(), "ReduceMean"):
        return None
    if mean.producer() is None or _input_of(mean) is not source:
        return None
    variance = only_user(square.outputs[0])
    if variance is None or not is_operator(variance, "ReduceMean"):
        return f"{square.outputs[0].name} is read by something else than the mean over it"
    for reduction in (mean.producer(), variance):
        if reduction is None or not _over_last_axis(reduction, source):
            return "a mean does not run over the last axis alone"
    return _scaled(source, centred, variance)


def _input_of(value: ir.Value) -> ir.Value | None:
    node = value.producer()
    return node.inputs[0] if node is not None else None


def _over_last_axis(node: ir.Node, source: ir.Value) -> bool:
    """Whether a ReduceMean runs over the last axis and keeps it."""
    axes = node.attributes["axes"].as_ints() if "axes" in node.attributes else constant_input(node, 1)
    if axes is None or len(axes) != 1 or ("keepdims" in node.attributes and node.attributes["keepdims"].as_int() != 1):
        return False
    return int(axes[0]) == -1 or (source.shape is not None and int(axes[0]) == len(source.shape) - 1)


def _scaled(source: ir.Value, centred: ir.Value, variance: ir.Node) -> _Norm | str:
    """The rest of the formula, from the variance to the bias."""
    shifted = only_user(variance.outputs[0])
    if not is_operator(shifted, "Add") or shifted is None:
        return "epsilon is not added to the variance alone"
    epsilon = scalar(other_input(shifted, variance.outputs[0]))
    if epsilon is None or epsilon <= 0.0:
        return "epsilon is not a positive constant"
    quotient = _quotient(shifted.outputs[0], centred)
    if isinstance(quotient, str):
        return quotient
    product = only_user(quotient)
    weight = _parameter(product, "Mul", quotient, source)
    if product is None or weight is None:
        return "the quotient is not multiplied with a constant weight over the last axis"
    total = only_user(product.outputs[0])
    bias = _parameter(total, "Add", product.outputs[0], source)
    if total is None or bias is None:
        return "no constant bias over the last axis is added to the product"
    result = total.outputs[0]
    shared = outside_use(nodes_between([source], result), [result])
    if shared is not None:
        return describe_use(shared)
    return _Norm(source, weight, bias, epsilon, result)


def _quotient(shifted: ir.Value, centred: ir.Value) -> ir.Value | str:
    """centred / sqrt(shifted)."""
    reason = "what is centred is not divided by the square root of variance and epsilon"
    root = only_user(shifted)
    if root is None or not is_operator(root, "Sqrt", "Pow"):
        return reason
    power = 0.5 if root.op_type == "Sqrt" else scalar(root.inputs[1])
    last = root
    inverse = only_user(root.outputs[0])
    if is_operator(inverse, "Reciprocal") and inverse is not None:
        last, power = inverse, -power if power is not None else None
    division = only_user(last.outputs[0])
    if division is None or len(division.inputs) != 2 or other_input(division, last.outputs[0]) is not centred:
        return reason
    divides = is_operator(division, "Div") and division.inputs[1] is last.outputs[0] and power == 0.5
    multiplies = is_operator(division, "Mul") and power == -0.5
    return division.outputs[0] if divides or multiplies else reason


def _parameter(node: ir.Node | None, operator: str, value: ir.Value, source: ir.Value) -> ir.Value | None:
    """The constant vector over the last axis that `node` combines `value` with."""
    if node is None or not is_operator(node, operator):
        return None
    other = other_input(node, value)
    array = constant_array(other)
    if array is None or array.ndim != 1 or array.size == 1 or last_axis(source) not in (None, array.size):
        return None
    return other


def _replace(graph: ir.Graph, square: ir.Node, found: _Norm) -> None:
    op = Writer(graph, scope_of(square), found.result.producer())
    inputs = (found.source, found.weight, found.bias)
    replace_value(found.result, op.LayerNormalization(*inputs, axis=-1, epsilon=found.epsilon, stash_type=1))

"""Canonical Gelu -> ai.onnx Gelu at opset 20 and later, else the formula.

    none:  x (erf(x / sqrt 2) + 1) 0.5        in this order ONNX Runtime and OpenVINO recognise it
    tanh:  0.5 x (tanh(sqrt(2 / pi) (x + 0.044715 x^3)) + 1)

Hendrycks and Gimpel 2016, section 2. It always fires.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome
from export.passes.graph import canonical
from export.passes.graph.values import is_operator
from export.passes.graph.writer import Writer, replace_node, write_before

#: The opset that brought ai.onnx's Gelu.
_GELU_SINCE = 20


def lower_gelu(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the Gelu nodes that were replaced."""
    nodes = [node for node in model.graph if is_operator(node, canonical.GELU, domain=canonical.DOMAIN)]
    native = min(context.opset, model.graph.opset_imports[""]) >= _GELU_SINCE
    for node in nodes:
        op, x = write_before(node), node.inputs[0]
        assert x is not None
        approximate = node.attributes["approximate"].as_string()
        if native:
            result = op.Gelu(x, approximate=approximate)
        else:
            result = _tanh_form(op, x) if approximate == "tanh" else _erf_form(op, x)
        replace_node(node, result)
    return PassOutcome(len(nodes))


def _erf_form(op: Writer, x: ir.Value) -> ir.Value:
    erf = op.Erf(op.Div(x, _number(op, x, math.sqrt(2))))
    twice = op.Mul(x, op.Add(erf, _number(op, x, 1.0)))
    return op.Mul(twice, _number(op, x, 0.5))


def _tanh_form(op: Writer, x: ir.Value) -> ir.Value:
    cubic = op.Mul(op.Pow(x, _number(op, x, 3.0)), _number(op, x, 0.044715))
    inner = op.Mul(op.Add(x, cubic), _number(op, x, math.sqrt(2 / math.pi)))
    outer = op.Add(op.Tanh(inner), _number(op, x, 1.0))
    return op.Mul(op.Mul(x, _number(op, x, 0.5)), outer)


def _number(op: Writer, x: ir.Value, value: float) -> ir.Value:
    """A scalar of the type of `x`."""
    return op.constant("number", np.array(value, (x.dtype or ir.DataType.FLOAT).numpy()))

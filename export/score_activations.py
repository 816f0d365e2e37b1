"""Activations that make scores of logits, in ONNX: with the arguments that torch.nn has by default.

All operators are those of the portable target and mean the same from opset 13 to 23.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from export.passes.graph.writer import Writer


class FloatWriter(Writer):
    """A writer that knows numbers."""

    def float(self, number: float) -> ir.Value:
        """A constant float32 scalar."""
        return self.constant("real_number", np.array(number, np.float32))


def _softplus(op: FloatWriter, x: ir.Value) -> ir.Value:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), finite for every x."""
    rest = op.Log(op.Add(op.float(1.0), op.Exp(op.Neg(op.Abs(x)))))
    return op.Add(op.Relu(x), rest)


def _gelu(op: FloatWriter, x: ir.Value) -> ir.Value:
    """x / 2 (1 + erf(x / sqrt 2)) (Hendrycks and Gimpel 2016)."""
    cumulative = op.Add(op.Erf(op.Mul(x, op.float(1 / math.sqrt(2)))), op.float(1.0))
    return op.Mul(op.Mul(x, op.float(0.5)), cumulative)


def _hardsigmoid(op: FloatWriter, x: ir.Value) -> ir.Value:
    return op.HardSigmoid(x, alpha=1 / 6, beta=0.5)


def _clip(op: FloatWriter, x: ir.Value, lowest: float, highest: float) -> ir.Value:
    return op.Clip(x, op.float(lowest), op.float(highest))


def _softshrink(op: FloatWriter, x: ir.Value) -> ir.Value:
    return op.Mul(op.Sign(x), op.Relu(op.Sub(op.Abs(x), op.float(0.5))))


SCORES: dict[str, Callable[[FloatWriter, ir.Value], ir.Value]] = {
    "Identity": lambda op, x: op.Identity(x),
    "CELU": lambda op, x: op.Elu(x, alpha=1.0),
    "ELU": lambda op, x: op.Elu(x, alpha=1.0),
    "GELU": _gelu,
    "Hardshrink": lambda op, x: op.Where(op.Greater(op.Abs(x), op.float(0.5)), x, op.float(0.0)),
    "Hardsigmoid": _hardsigmoid,
    "Hardswish": lambda op, x: op.Mul(x, _hardsigmoid(op, x)),
    "Hardtanh": lambda op, x: _clip(op, x, -1.0, 1.0),
    "LeakyReLU": lambda op, x: op.LeakyRelu(x, alpha=0.01),
    "LogSigmoid": lambda op, x: op.Neg(_softplus(op, op.Neg(x))),
    "LogSoftmax": lambda op, x: op.LogSoftmax(x, axis=-1),
    "Mish": lambda op, x: op.Mul(x, op.Tanh(_softplus(op, x))),
    "PReLU": lambda op, x: op.LeakyRelu(x, alpha=0.25),
    "ReLU": lambda op, x: op.Relu(x),
    "ReLU6": lambda op, x: _clip(op, x, 0.0, 6.0),
    "SELU": lambda op, x: op.Selu(x),
    "SiLU": lambda op, x: op.Mul(x, op.Sigmoid(x)),
    "Sigmoid": lambda op, x: op.Sigmoid(x),
    "Softmax": lambda op, x: op.Softmax(x, axis=-1),
    "Softmin": lambda op, x: op.Softmax(op.Neg(x), axis=-1),
    "Softplus": _softplus,
    "Softshrink": _softshrink,
    "Softsign": lambda op, x: op.Div(x, op.Add(op.float(1.0), op.Abs(x))),
    "Tanh": lambda op, x: op.Tanh(x),
    "Tanhshrink": lambda op, x: op.Sub(x, op.Tanh(x)),
}

"""Activations of torch.nn on logits: what makes scores of them, by the names that a checkpoint has for it.

Computed in float64 and rounded to float32, so within one rounding of what torch computes in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bert_onnx.errors import UsageError

#: Slope and scale of SELU (Klambauer et al. 2017).
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def find_activation(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """What makes scores of logits [..., N], float32 both: the activation called `name`, with torch's own arguments.

    Raises:
        UsageError: there is no such activation; the message lists those that there are.
    """
    function = _FUNCTIONS.get(name) if isinstance(name, str) else None
    if function is None:
        raise UsageError(f"the activation {name!r} is unknown; choose from {', '.join(_FUNCTIONS)}.")
    return lambda logits: np.asarray(function(logits.astype(np.float64)), np.float32)


def _erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def _elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _hardsigmoid(x: np.ndarray) -> np.ndarray:
    return np.clip(x / 6 + 0.5, 0, 1)


def _log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Identity": lambda x: x,
    "CELU": _elu,
    "ELU": _elu,
    "GELU": lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "Hardshrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
    "Hardsigmoid": _hardsigmoid,
    "Hardswish": lambda x: x * _hardsigmoid(x),
    "Hardtanh": lambda x: np.clip(x, -1, 1),
    "LeakyReLU": lambda x: np.where(x > 0, x, 0.01 * x),
    "LogSigmoid": lambda x: -_softplus(-x),
    "LogSoftmax": _log_softmax,
    "Mish": lambda x: x * np.tanh(_softplus(x)),
    "PReLU": lambda x: np.where(x > 0, x, 0.25 * x),
    "ReLU": lambda x: np.maximum(x, 0),
    "ReLU6": lambda x: np.clip(x, 0, 6),
    "SELU": lambda x: _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    "SiLU": lambda x: x * _sigmoid(x),
    "Sigmoid": _sigmoid,
    "Softmax": lambda x: np.exp(_log_softmax(x)),
    "Softmin": lambda x: np.exp(_log_softmax(-x)),
    "Softplus": _softplus,
    "Softshrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Tanh": np.tanh,
    "Tanhshrink": lambda x: x - np.tanh(x),
}

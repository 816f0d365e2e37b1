"""The activation functions that a BERT config can name, as one table: the names of transformers' ACT2FN.

Modules keep an activation under transformers' name for it, since prelu has a trained parameter in every layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Callable[[Tensor], Tensor]


def _clipped_gelu(states: Tensor) -> Tensor:
    return torch.clip(F.gelu(states), -10, 10)


def _laplace(states: Tensor) -> Tensor:
    """0.5 (1 + erf((x - mu) / (sigma sqrt 2))), as in MEGA (Ma et al. 2022)."""
    return 0.5 * (1.0 + torch.erf((states - 0.707107) / (0.282095 * math.sqrt(2.0))))


def _leaky_relu(states: Tensor) -> Tensor:
    return F.relu(states) - 0.01 * F.relu(states * -1.0)  # operators of every target


def _linear(states: Tensor) -> Tensor:
    return states


def _mish(states: Tensor) -> Tensor:
    """x tanh(softplus(x)), in operators of every target: tanh(log(1 + e^x)) = s (1 + q) / (1 + q^2).

    s and q are sigmoid(x) and sigmoid(-x) = 1 / (1 + e^x); nothing is subtracted, so no digits are lost.
    """
    rest = torch.sigmoid(states * -1.0)
    return states * (torch.sigmoid(states) * (1.0 + rest) / (1.0 + rest * rest))


def _quick_gelu(states: Tensor) -> Tensor:
    return states * torch.sigmoid(1.702 * states)


def _relu_squared(states: Tensor) -> Tensor:
    positive = F.relu(states)
    return positive * positive


_gelu_tanh: Activation = partial(F.gelu, approximate="tanh")

#: By `hidden_act`. `gelu` and `gelu_python` are the exact form with erf; `gelu_new`, `gelu_fast`, `gelu_accurate` and
#: those with tanh in their names are one approximation (Hendrycks and Gimpel 2016), written in several ways.
ACTIVATION_FUNCTIONS: dict[str, Activation] = {
    "gelu": F.gelu,
    "gelu_10": _clipped_gelu,
    "gelu_accurate": _gelu_tanh,
    "gelu_fast": _gelu_tanh,
    "gelu_new": _gelu_tanh,
    "gelu_python": F.gelu,
    "gelu_python_tanh": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "laplace": _laplace,
    "leaky_relu": _leaky_relu,
    "linear": _linear,
    "mish": _mish,
    "quick_gelu": _quick_gelu,
    "relu": F.relu,
    "relu2": _relu_squared,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
}


class ParametricRelu(nn.Module):
    """x where it is positive, else w x with a trained w (He et al. 2015), in operators of every target."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), 0.25))

    def forward(self, states: Tensor) -> Tensor:
        """Of any shape."""
        return F.relu(states) - self.weight * F.relu(states * -1.0)


def make_activation(name: str) -> Activation:
    """The activation that a config calls `name`; one with a parameter is a module of its own each time."""
    return ParametricRelu() if name == "prelu" else ACTIVATION_FUNCTIONS[name]

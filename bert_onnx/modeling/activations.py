"""The activation functions that a BERT config can name, as one table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor
from torch.nn import functional as F

Activation = Callable[[Tensor], Tensor]

#: By `hidden_act`. `gelu` is the exact form with erf; `gelu_new` and `gelu_pytorch_tanh` are two names of
#: the tanh approximation (Hendrycks and Gimpel 2016).
ACTIVATION_FUNCTIONS: dict[str, Activation] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": F.tanh,
}

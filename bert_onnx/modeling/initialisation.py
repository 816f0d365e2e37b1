"""Random weights: normal for linear layers and embeddings, ones and zeros for LayerNorm."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


def initialise(module: nn.Module, std: float) -> None:
    """Fill every linear layer, embedding and LayerNorm under `module`, in the order of their registration.

    Weights are drawn from N(0, std) and biases are zero (Devlin et al. 2018 truncate the distribution; the PyTorch
    ports do not); the padding row of an embedding is zero. After the same `torch.manual_seed` the numbers are those
    of transformers.
    """
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Embedding, nn.LayerNorm)):
            for leaf, _ in part.named_parameters(recurse=False):
                _fill(part, leaf, std)


def initialise_named(model: nn.Module, names: Iterable[str], std: float) -> None:
    """Fill the parameters `names` of `model` by the same rule; one that belongs to no such layer becomes zero."""
    for name in names:
        owner, _, leaf = name.rpartition(".")
        _fill(model.get_submodule(owner), leaf, std)


@torch.no_grad()
def _fill(owner: nn.Module, leaf: str, std: float) -> None:
    """Fill the parameter called `leaf` of the layer `owner`."""
    parameter = owner.get_parameter(leaf)
    if leaf == "weight" and isinstance(owner, nn.LayerNorm):
        parameter.fill_(1.0)
    elif leaf == "weight" and isinstance(owner, (nn.Linear, nn.Embedding)):
        parameter.normal_(mean=0.0, std=std)
        if isinstance(owner, nn.Embedding) and owner.padding_idx is not None:
            parameter[owner.padding_idx].zero_()
    else:
        parameter.zero_()


class NoRandomNumbers(TorchFunctionMode):
    """While this is entered, layers are built with their memory as it comes: for weights that are read from a file.

    Drawing the 110 million numbers of a BERT-base takes about a second. Building on the meta device instead takes
    as long the first time, since torch then imports its symbolic mathematics.
    """

    _SKIPPED = (
        nn.init.kaiming_uniform_,
        nn.init.normal_,
        nn.init.uniform_,
        torch.Tensor.normal_,
        torch.Tensor.uniform_,
    )

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call `func`, unless it draws numbers into its first argument, which is then returned as it is."""
        given = kwargs or {}
        if func in self._SKIPPED:
            return args[0] if args else given["tensor"]
        return func(*args, **given)

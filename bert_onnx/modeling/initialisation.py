"""Random weights: normal for linear layers and embeddings, ones and zeros for LayerNorm."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


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

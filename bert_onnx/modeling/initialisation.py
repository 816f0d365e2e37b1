"""Random weights: normal for linear layers and embeddings, ones and zeros for LayerNorm."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def initialise(module: nn.Module, std: float) -> None:
    """Fill every linear layer, embedding and LayerNorm under `module`, in the order of their registration.

    Weights are drawn from N(0, std) and biases are zero (Devlin et al. 2018 truncate the distribution; the PyTorch
    ports do not); the padding row of an embedding is zero. After the same `torch.manual_seed` the numbers are those
    of transformers.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            part.weight.normal_(mean=0.0, std=std)
            if part.bias is not None:
                part.bias.zero_()
        elif isinstance(part, nn.Embedding):
            part.weight.normal_(mean=0.0, std=std)
            if part.padding_idx is not None:
                part.weight[part.padding_idx].zero_()
        elif isinstance(part, nn.LayerNorm):
            part.weight.fill_(1.0)
            part.bias.zero_()


def initialise_named(model: nn.Module, names: tuple[str, ...], std: float) -> None:
    """Fill the modules that own the parameters `names`; a parameter that stands alone becomes zero."""
    for owner_name in dict.fromkeys(name.rpartition(".")[0] for name in names):
        owner = model.get_submodule(owner_name)
        if isinstance(owner, (nn.Linear, nn.Embedding, nn.LayerNorm)):
            initialise(owner, std)
            continue
        with torch.no_grad():
            for name in names:
                if name.rpartition(".")[0] == owner_name:
                    owner.get_parameter(name.rpartition(".")[2]).zero_()

"""Removing attention heads: which places stay, and linear layers without the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


def merge_pruned(old: Mapping[int, Iterable[int]], new: Mapping[int, Iterable[int]]) -> dict[int, tuple[int, ...]]:
    """Heads removed by layer, `old` and `new` together, sorted. Heads keep the numbers that they had at first."""
    layers = sorted({*old, *new})
    merged = {layer: tuple(sorted({*old.get(layer, ()), *new.get(layer, ())})) for layer in layers}
    return {layer: heads for layer, heads in merged.items() if heads}


def places_to_keep(num_heads: int, before: Iterable[int], after: Iterable[int]) -> list[int]:
    """Places, among the heads left when `before` were removed, of those that stay when `after` are."""
    gone = set(after)
    present = [head for head in range(num_heads) if head not in set(before)]
    return [place for place, head in enumerate(present) if head not in gone]


def prune_linear(layer: nn.Linear, index: Tensor, dim: int) -> nn.Linear:
    """`layer` with the rows (dim 0, outputs) or columns (dim 1, inputs) of its weight in `index` only."""
    index = index.to(layer.weight.device)
    weight = layer.weight.detach().index_select(dim, index)
    pruned = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    pruned.weight = nn.Parameter(weight, requires_grad=layer.weight.requires_grad)
    bias = layer.bias.detach()
    kept_bias = bias.index_select(0, index) if dim == 0 else bias.clone()
    pruned.bias = nn.Parameter(kept_bias, requires_grad=layer.bias.requires_grad)
    return pruned.train(layer.training)


def rows_resized(old: Tensor, count: int, std: float) -> nn.Parameter:
    """`old` with `count` rows: the old ones first, new ones drawn from a normal distribution (zeros if std is 0)."""
    fresh = torch.zeros((count, *old.shape[1:]), dtype=old.dtype, device=old.device)
    if std > 0:
        fresh.normal_(mean=0.0, std=std)
    shared = min(count, old.shape[0])
    fresh[:shared] = old.detach()[:shared]
    return nn.Parameter(fresh, requires_grad=old.requires_grad)

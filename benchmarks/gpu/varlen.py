"""transformers' BertModel on real tokens alone, by torch's FlashAttention over lengths: what a careful user writes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

#: (query, key, value [T, H, K], starts [B + 1], longest) -> [T, H, K].
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]


class VarlenBert(torch.nn.Module):
    """Takes and gives what BertModel does; the weights are those of `bert`.

    Args:
        bert: transformers' module.
        attend: attention over texts that lie one after the other; None for torch's, which is for GPUs.

    Raises:
        ImportError: this torch has none.
    """

    def __init__(self, bert: Any, attend: Attend | None = None) -> None:
        super().__init__()
        self._bert = bert
        self._heads = bert.config.num_attention_heads
        self._attend = attend or _torchs()

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> SimpleNamespace:
        """Three times [B, S] -> `last_hidden_state` [B, S, D], zero where there is no token."""
        batch, length = input_ids.shape
        kept = attention_mask.flatten().nonzero().flatten()  # [T]
        starts = torch.nn.functional.pad(attention_mask.sum(1).cumsum(0), (1, 0)).to(torch.int32)  # [B + 1]
        table = self._bert.embeddings
        x = table.word_embeddings(input_ids.flatten()[kept]) + table.position_embeddings(kept % length)
        x = table.LayerNorm(x + table.token_type_embeddings(token_type_ids.flatten()[kept]))  # [T, D]
        for layer in self._bert.encoder.layer:
            own = layer.attention.self
            parts = (project(x).view(len(kept), self._heads, -1) for project in (own.query, own.key, own.value))
            context = self._attend(*parts, starts, length).reshape(x.shape)
            x = layer.attention.output(context, x)
            x = layer.output(layer.intermediate(x), x)
        states = x.new_zeros(batch * length, x.shape[-1]).index_copy(0, kept, x)
        return SimpleNamespace(last_hidden_state=states.view(batch, length, -1))


def _torchs() -> Attend:
    from torch.nn.attention.varlen import varlen_attn

    return lambda query, key, value, starts, longest: varlen_attn(query, key, value, starts, starts, longest, longest)

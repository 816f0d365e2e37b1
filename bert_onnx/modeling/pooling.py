"""One vector for a text from the vectors of its tokens, as sentence-transformers defines it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

#: Below every real hidden state: what max pooling puts at padding.
_PADDING_VALUE = -1e9


def pool_sentences(hidden: Tensor, attention_mask: Tensor, pooling: str, normalize: bool) -> Tensor:
    """Pool token vectors to one vector a text.

    Formulas: Reimers and Gurevych 2019 (mean, cls, max over real tokens); the mean of no tokens is a zero vector.

    Args:
        hidden: [B, S, D] last hidden state.
        attention_mask: [B, S], 1 for real tokens.
        pooling: `mean`, `cls` or `max`.
        normalize: scale each vector to length 1; a zero vector stays zero.

    Returns:
        [B, D] vectors.
    """
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)  # [B, S, 1]
    if pooling == "mean":
        pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1e-9)  # [B, D]
    elif pooling == "max":
        pooled = torch.where(mask > 0, hidden, _PADDING_VALUE).amax(dim=1)  # [B, D]
    elif pooling == "cls":
        pooled = hidden[:, 0]  # [B, D]
    else:
        raise ValueError(f"pooling {pooling!r}")
    return functional.normalize(pooled, p=2.0, dim=-1) if normalize else pooled

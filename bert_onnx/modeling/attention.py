"""Multi-head attention: projections, scores with relative positions, plain and fused computation.

softmax((q k^T + relative) / sqrt(K) + bias) v          (Vaswani et al. 2017, section 3.2)

ALBERT adds what is relative after the division.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_onnx.config import BertConfig
from bert_onnx.config_rules import RELATIVE_POSITIONS
from bert_onnx.modeling.cache import KeysValues
from bert_onnx.modeling.layers import ResidualNorm
from bert_onnx.modeling.pruning import prune_linear
from bert_onnx.modeling.rotary import Rotation, rotate


class BertSelfAttention(nn.Module):
    """Query, key and value projections and what happens between them.

    Args:
        config: the model's config.
        num_heads: heads that this layer has, H; fewer than the config says where some were pruned.
        position_embedding_type: `relative_key`, `relative_key_query`, or another: nothing happens here.
    """

    def __init__(self, config: BertConfig, num_heads: int, position_embedding_type: str | None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_size = config.head_size
        width = num_heads * config.head_size
        bias = config.attention_bias is not False
        self.query = nn.Linear(config.hidden_size, width, bias=bias)
        self.key = nn.Linear(config.hidden_size, width, bias=bias)
        self.value = nn.Linear(config.hidden_size, width, bias=bias)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.fused = config.attn_implementation == "sdpa"
        self.position_embedding_type = position_embedding_type
        self.max_position_embeddings = config.max_position_embeddings
        self.relative = position_embedding_type in RELATIVE_POSITIONS
        self.relative_scaled = config.family.relative_scaled
        if self.relative:
            self.distance_embedding = nn.Embedding(2 * config.max_position_embeddings - 1, config.head_size)

    def project(self, states: Tensor, rotation: Rotation | None = None) -> KeysValues:
        """Keys and values [B, H, R, K] of the tokens in `states` [B, R, D]; keys are turned by `rotation`."""
        return KeysValues(self._split_heads(self.key(states), rotation), self._split_heads(self.value(states)))

    def forward(
        self,
        hidden: Tensor,
        memory: KeysValues,
        bias: Tensor | None,
        head_mask: Tensor | None,
        need_probabilities: bool,
        rotation: Rotation | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Context [B, S, H * K] and, where needed or had anyway, probabilities [B, H, S, R].

        Args:
            hidden: the queries' states, [B, S, D].
            memory: keys and values of R tokens.
            bias: added to the scores, broadcastable to [B, H, S, R].
            head_mask: multiplied into the probabilities, broadcastable to them.
            need_probabilities: the fused computation does not yield them, so that the plain one is used.
            rotation: turns the queries.
        """
        queries = self._split_heads(self.query(hidden), rotation)
        if self.fused and not (self.relative or need_probabilities or head_mask is not None):
            dropout = self.dropout.p if self.training else 0.0
            context = F.scaled_dot_product_attention(
                queries, memory.keys, memory.values, attn_mask=bias, dropout_p=dropout
            )
            return self._merge_heads(context), None
        scores = torch.matmul(queries, memory.keys.transpose(-1, -2))
        if self.relative and self.relative_scaled:
            scores = self._add_relative(scores, queries, memory.keys)
        scores = scores / math.sqrt(self.head_size)
        if self.relative and not self.relative_scaled:
            scores = self._add_relative(scores, queries, memory.keys)
        if bias is not None:
            scores = scores + bias
        probabilities = self.dropout(torch.softmax(scores, dim=-1))
        if head_mask is not None:
            probabilities = probabilities * head_mask
        return self._merge_heads(torch.matmul(probabilities, memory.values)), probabilities

    def _add_relative(self, scores: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        """`scores` [B, H, S, R] plus what the distances between queries and keys give.

        `relative_key`: q_i . d(i - j) (Shaw et al. 2018). `relative_key_query`: q_i . d(i - j) + k_j . d(i - j)
        (Huang et al. 2020, method 4). Query i of S, with P tokens before it, stands at position P + i.

        transformers 4.57 differs here: with a cache it places every query at the last position, which is right for
        one token at a time only. Here a prompt with a cache, of any length, gives what it gives without a cache.
        """
        query_length, key_length = queries.shape[2], keys.shape[2]
        key_positions = torch.arange(key_length, device=queries.device)
        query_positions = torch.arange(key_length - query_length, key_length, device=queries.device)
        distances = query_positions[:, None] - key_positions[None, :] + (self.max_position_embeddings - 1)
        vectors = self.distance_embedding(distances).to(queries.dtype)  # [S, R, K]
        scores = scores + torch.einsum("bhsk,srk->bhsr", queries, vectors)
        if self.position_embedding_type == "relative_key_query":
            scores = scores + torch.einsum("bhrk,srk->bhsr", keys, vectors)
        return scores

    def _split_heads(self, states: Tensor, rotation: Rotation | None = None) -> Tensor:
        """[B, S, H * K] -> [B, H, S, K]."""
        batch, length, _ = states.shape
        heads = states.view(batch, length, self.num_heads, self.head_size)
        return (heads if rotation is None else rotate(heads, rotation)).transpose(1, 2)

    def _merge_heads(self, context: Tensor) -> Tensor:
        """[B, H, S, K] -> [B, S, H * K]."""
        batch, _, length, _ = context.shape
        return context.transpose(1, 2).reshape(batch, length, self.num_heads * self.head_size)


class BertAttention(nn.Module):
    """Attention, output projection, residual and LayerNorm. Arguments as for `BertSelfAttention`.

    Args:
        normed: the block has a LayerNorm.
    """

    def __init__(
        self, config: BertConfig, num_heads: int, position_embedding_type: str | None, normed: bool = True
    ) -> None:
        super().__init__()
        self.self = BertSelfAttention(config, num_heads, position_embedding_type)
        dropout = config.attention_probs_dropout_prob if config.rotary else None
        bias = config.attention_bias is not False
        self.output = ResidualNorm(num_heads * config.head_size, config, bias=bias, dropout=dropout, normed=normed)

    def project(self, states: Tensor, rotation: Rotation | None = None) -> KeysValues:
        """Keys and values of the tokens in `states` [B, R, D]."""
        return self.self.project(states, rotation)

    def forward(
        self,
        hidden: Tensor,
        residual: Tensor,
        memory: KeysValues,
        bias: Tensor | None,
        head_mask: Tensor | None,
        need_probabilities: bool,
        rotation: Rotation | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """States [B, S, D], which `residual` is a part of, and probabilities [B, H, S, R] or None."""
        context, probabilities = self.self(hidden, memory, bias, head_mask, need_probabilities, rotation)
        return self.output(context, residual), probabilities

    def keep_heads(self, kept: list[int]) -> None:
        """Remove all heads but those at the places `kept`, counted among the heads that are there now."""
        size = self.self.head_size
        columns = torch.tensor([head * size + offset for head in kept for offset in range(size)])
        for name in ("query", "key", "value"):
            setattr(self.self, name, prune_linear(getattr(self.self, name), columns, dim=0))
        self.output.dense = prune_linear(self.output.dense, columns, dim=1)
        self.self.num_heads = len(kept)

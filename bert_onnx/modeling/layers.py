"""The dense blocks of an encoder layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bert_onnx.config import BertConfig
from bert_onnx.family import Summary
from bert_onnx.modeling.activations import make_activation


class ResidualNorm(nn.Module):
    """LayerNorm(residual + dropout(dense(x))): the end of the attention and of the feed-forward block.

    Some families have the LayerNorm at the block's beginning instead: `before` is what the block reads.
    """

    def __init__(self, width: int, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.norm_first = config.family.norm_first

    def before(self, hidden: Tensor) -> Tensor:
        """[B, S, D] -> [B, S, D]."""
        read: Tensor = self.LayerNorm(hidden) if self.norm_first else hidden
        return read

    def forward(self, states: Tensor, residual: Tensor) -> Tensor:
        """[B, S, width] and [B, S, D] -> [B, S, D]."""
        added: Tensor = self.dropout(self.dense(states)) + residual
        return added if self.norm_first else self.LayerNorm(added)


class BertIntermediate(nn.Module):
    """activation(dense(x)): the first half of the feed-forward block."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = make_activation(config.hidden_act)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, D] -> [B, S, F]."""
        activated: Tensor = self.intermediate_act_fn(self.dense(hidden))
        return activated


class FirstTokenSummary(nn.Module):
    """dropout(activation(dense(first token))), [B, S, D] -> [B, D]: the first part of a head with a layer of its own.

    Args:
        summary: activation, and whether the first token is dropped out, too.
        dropout: probability, while training.
    """

    def __init__(self, config: BertConfig, summary: Summary, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = make_activation(summary.activation)
        self.dropout = nn.Dropout(dropout)
        self.dropout_first = summary.dropout_first

    def forward(self, hidden: Tensor) -> Tensor:
        first = self.dropout(hidden[:, 0]) if self.dropout_first else hidden[:, 0]
        summed: Tensor = self.dropout(self.activation(self.dense(first)))
        return summed


class BertPooler(nn.Module):
    """tanh(dense(first token))."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, D] -> [B, D]."""
        return torch.tanh(self.dense(hidden[:, 0]))

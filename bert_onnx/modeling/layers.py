"""The dense blocks of an encoder layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bert_onnx.config import BertConfig
from bert_onnx.errors import InputError
from bert_onnx.family import Summary
from bert_onnx.modeling.activations import make_activation
from bert_onnx.modeling.sentence_chain import pool


def layer_norm(config: BertConfig, width: int) -> nn.LayerNorm:
    """A LayerNorm of `width`, as `config` has them."""
    return nn.LayerNorm(width, eps=config.layer_norm_eps, bias=config.norm_bias is not False)


class ResidualNorm(nn.Module):
    """LayerNorm(residual + dropout(dense(x))): the end of the attention and of the feed-forward block.

    Some families have the LayerNorm at the block's beginning instead: `before` is what the block reads.

    Args:
        width: of x.
        bias: whether the linear layer has one.
        dropout: while training.
        normed: the block has a LayerNorm.
    """

    def __init__(
        self, width: int, config: BertConfig, *, bias: bool = True, dropout: float | None = None, normed: bool = True
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size, bias=bias)
        self.LayerNorm = layer_norm(config, config.hidden_size) if normed else nn.Identity()
        self.dropout = nn.Dropout(config.hidden_dropout_prob if dropout is None else dropout)
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
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias is not False)
        self.intermediate_act_fn = make_activation(config.hidden_act)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, D] -> [B, S, F]."""
        activated: Tensor = self.intermediate_act_fn(self.dense(hidden))
        return activated


class GatedIntermediate(BertIntermediate):
    """activation(dense(x)) * gate(x): the first half of a feed-forward block with a gate (Shazeer 2020, GEGLU)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.gate = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias is not False)
        self.dropout = nn.Dropout(config.mlp_dropout or 0.0)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, D] -> [B, S, F]."""
        gated: Tensor = self.dropout(super().forward(hidden) * self.gate(hidden))
        return gated


class TextSummary(nn.Module):
    """dropout(activation(dense(token))), [B, S, D] -> [B, D]: the first part of a head with a layer of its own.

    The token is the first one, or the mean of all, as `Summary` and the config say; some have a LayerNorm before the
    dropout.

    Args:
        summary: what the head is made of.
        dropout: probability, while training.
    """

    def __init__(self, config: BertConfig, summary: Summary, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=config.classifier_bias is not False)
        self.activation = make_activation(summary.activation or config.classifier_activation or config.hidden_act)
        self.LayerNorm = layer_norm(config, config.hidden_size) if summary.norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.dropout_first = summary.dropout_first
        mean = config.classifier_pooling == "mean"
        self.pooling = "mean" if mean else "cls" if summary.real else None

    def forward(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        token = hidden[:, 0] if self.pooling is None else _pooled(hidden, attention_mask, self.pooling)
        token = self.dropout(token) if self.dropout_first else token
        summed: Tensor = self.dropout(self.LayerNorm(self.activation(self.dense(token))))
        return summed


def _pooled(hidden: Tensor, attention_mask: Tensor | None, pooling: str) -> Tensor:
    """[B, S, D] -> [B, D]: a pooling of sentence-transformers, of the tokens that the mask [B, S] shows."""
    if attention_mask is None:
        attention_mask = torch.ones(hidden.shape[:2], dtype=torch.long, device=hidden.device)
    if attention_mask.dim() != 2:
        raise InputError(
            f"attention_mask has the shape {tuple(attention_mask.shape)}; a head that reads tokens by their mask takes "
            "one of [batch, sequence]."
        )
    return pool(hidden, attention_mask, (pooling,))


class PredictionTransform(nn.Module):
    """LayerNorm(activation(dense(x))), [B, S, D] -> [B, S, E]."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.embedding_width, bias=config.classifier_bias is not False)
        activation = config.classifier_activation or config.family.lm_activation or config.hidden_act
        self.transform_act_fn = make_activation(activation)
        self.LayerNorm = layer_norm(config, config.embedding_width)

    def forward(self, hidden: Tensor) -> Tensor:
        states: Tensor = self.LayerNorm(self.transform_act_fn(self.dense(hidden)))
        return states


class BertPooler(nn.Module):
    """tanh(dense(first token))."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, D] -> [B, D]."""
        return torch.tanh(self.dense(hidden[:, 0]))

"""The stack of encoder layers, with cross-attention and a cache for decoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bert_onnx.config import BertConfig
from bert_onnx.errors import InputError
from bert_onnx.modeling.attention import BertAttention
from bert_onnx.modeling.cache import LayerCache
from bert_onnx.modeling.layers import BertIntermediate, GatedIntermediate, ResidualNorm, layer_norm
from bert_onnx.modeling.masks import near_bias
from bert_onnx.modeling.relative_bias import RelativeBias
from bert_onnx.modeling.rotary import RotaryTables, Rotation


@dataclass(frozen=True)
class Context:
    """What every layer of one forward pass shares.

    bias: added to the self-attention scores, broadcastable to [B, H, S, P + S].
    rotation: turns queries and keys, where positions are rotary.
    encoder_states: [B, encoder length, D].
    encoder_bias: added to the cross-attention scores, broadcastable to [B, H, S, encoder length].
    need_attentions, need_hidden_states, need_cache: what to collect.
    """

    bias: Tensor | None
    encoder_states: Tensor | None
    encoder_bias: Tensor | None
    need_attentions: bool
    need_hidden_states: bool
    need_cache: bool
    rotation: Rotation | None = None


@dataclass(frozen=True)
class LayerResult:
    """States [B, S, D], the grown cache, and the probabilities where they were computed."""

    hidden: Tensor
    cache: LayerCache
    attention: Tensor | None
    cross_attention: Tensor | None


@dataclass(frozen=True)
class EncoderResult:
    """States [B, S, D] and what was collected on the way; None is what was not asked for."""

    hidden: Tensor
    cache: tuple[tuple[Tensor, ...], ...] | None
    hidden_states: tuple[Tensor, ...] | None
    attentions: tuple[Tensor, ...] | None
    cross_attentions: tuple[Tensor, ...] | None


class BertLayer(nn.Module):
    """Self-attention, cross-attention where the config has it, feed-forward."""

    def __init__(self, config: BertConfig, index: int) -> None:
        super().__init__()
        self.chunk_size = config.chunk_size_feed_forward
        family = config.family
        # Embeddings that are normalised need no second norm before the first layer.
        normed = index > 0 or not (family.norm_first and family.norm_embeddings)
        self.attention = BertAttention(config, config.heads_in_layer(index), config.position_embedding_type, normed)
        heads = config.num_attention_heads  # pruning leaves the cross-attention as it is
        self.crossattention = BertAttention(config, heads, "absolute") if config.add_cross_attention else None
        self.intermediate = GatedIntermediate(config) if family.gated else BertIntermediate(config)
        self.output = ResidualNorm(config.intermediate_size, config, bias=config.mlp_bias is not False)

    def forward(
        self, hidden: Tensor, context: Context, head_mask: Tensor | None, past: LayerCache | None
    ) -> LayerResult:
        """One layer's states and cache from the states [B, S, D] before it."""
        read = self.attention.output.before(hidden)
        own = self.attention.project(read, context.rotation)
        if past is not None:
            own = past.own.extended_by(own)
        hidden, attention = self.attention(
            read, hidden, own, context.bias, head_mask, context.need_attentions, context.rotation
        )
        # The encoder's keys and values never change while decoding, so that those in the cache win.
        cross, cross_attention = (None if past is None else past.cross), None
        if cross is None and context.encoder_states is not None:
            cross = self._cross_attention().project(context.encoder_states)
        if cross is not None:
            block = self._cross_attention()
            hidden, cross_attention = block(
                block.output.before(hidden), hidden, cross, context.encoder_bias, head_mask, context.need_attentions
            )
        return LayerResult(self._feed_forward(hidden), LayerCache(own, cross), attention, cross_attention)

    def _cross_attention(self) -> BertAttention:
        if self.crossattention is None:
            raise InputError(
                "encoder_hidden_states (or a cache of them) was given to a decoder without cross-attention; "
                "set add_cross_attention in its config."
            )
        return self.crossattention

    def _feed_forward(self, hidden: Tensor) -> Tensor:
        """[B, S, D] -> [B, S, D], `chunk_size` tokens at once to save memory; the numbers are the same.

        A traced graph takes all at once: the number of chunks would fix its sequence length.
        """
        if self.chunk_size == 0 or torch.compiler.is_compiling():
            return self._feed_forward_chunk(hidden)
        return torch.cat([self._feed_forward_chunk(chunk) for chunk in hidden.split(self.chunk_size, dim=1)], dim=1)

    def _feed_forward_chunk(self, hidden: Tensor) -> Tensor:
        states: Tensor = self.output(self.intermediate(self.output.before(hidden)), hidden)
        return states


class BertEncoder(nn.Module):
    """L layers, one after the other; some families have fewer with weights of their own, and run them again."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.order = config.layer_order
        self.group = config.group
        self.head_masks = config.head_mask_rows
        self.layer = nn.ModuleList(BertLayer(config, index) for index in range(config.own_layers))
        self.relative_attention_bias = RelativeBias(config) if config.family.relative_bias else None
        self.LayerNorm = layer_norm(config, config.hidden_size) if config.family.norm_first else None
        self.norm_last_state = config.family.norm_last_state
        self.local_layers = config.local_layers
        self.reach = None if config.local_attention is None else config.local_attention // 2
        self.rotary = _rotary_tables(config, config.global_rope_theta)
        self.local_rotary = _rotary_tables(config, config.local_rope_theta)

    def forward(
        self,
        hidden: Tensor,
        context: Context,
        head_masks: Sequence[Tensor] | None,
        cache: Sequence[LayerCache] | None,
        position_ids: Tensor | None = None,
    ) -> EncoderResult:
        """Run all layers on the embeddings `hidden` [B, S, D].

        Args:
            head_masks: one per layer, each [1, H, 1, 1].
            cache: one per layer.
            position_ids: [B, S] or [1, S], for rotary positions; None means 0, 1, ...
        """
        before = [hidden]  # hidden states before each layer or group of layers, and after the last
        results: list[LayerResult] = []
        if self.relative_attention_bias is not None:
            relative = self.relative_attention_bias(hidden)
            context = replace(context, bias=relative if context.bias is None else context.bias + relative)
        if self.rotary is not None:
            context = replace(context, rotation=self.rotary(hidden, position_ids))
        near = self._near(hidden, context, position_ids)
        for index, own in enumerate(self.order):
            head_mask = None if head_masks is None else head_masks[self.head_masks[own]]
            seen = near if self.local_layers[own] else context
            result = self.layer[own](hidden, seen, head_mask, None if cache is None else cache[index])
            hidden = result.hidden
            results.append(result)
            if (index + 1) % self.group == 0:
                before.append(hidden)
        if self.LayerNorm is not None:
            hidden = self.LayerNorm(hidden)
            before[-1] = hidden if self.norm_last_state else before[-1]
        return EncoderResult(
            hidden=hidden,
            cache=tuple(result.cache.to_tensors() for result in results) if context.need_cache else None,
            hidden_states=tuple(before) if context.need_hidden_states else None,
            attentions=_collected([r.attention for r in results]) if context.need_attentions else None,
            cross_attentions=_collected([r.cross_attention for r in results]) if context.need_attentions else None,
        )

    def _near(self, hidden: Tensor, context: Context, position_ids: Tensor | None) -> Context:
        """The context of layers whose tokens attend to near ones only."""
        if self.reach is None or not any(self.local_layers):
            return context
        rotation = context.rotation if self.local_rotary is None else self.local_rotary(hidden, position_ids)
        return replace(context, bias=near_bias(context.bias, hidden, self.reach), rotation=rotation)


def _rotary_tables(config: BertConfig, theta: float | None) -> RotaryTables | None:
    return None if theta is None else RotaryTables(config.max_position_embeddings, config.head_size, theta)


def _collected(tensors: Sequence[Tensor | None]) -> tuple[Tensor, ...] | None:
    """All of `tensors`, or None where there are none."""
    present = tuple(tensor for tensor in tensors if tensor is not None)
    return present or None

"""BertModel: embeddings, encoder, pooler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from bert_onnx.config import BertConfig
from bert_onnx.errors import InputError
from bert_onnx.modeling.cache import past_length, read_cache
from bert_onnx.modeling.embeddings import BertEmbeddings
from bert_onnx.modeling.encoder import BertEncoder, Context, EncoderResult
from bert_onnx.modeling.layers import BertPooler
from bert_onnx.modeling.masks import cross_attention_bias, self_attention_bias
from bert_onnx.modeling.outputs import BaseModelOutputWithPoolingAndCrossAttentions
from bert_onnx.modeling.pretrained import BertPreTrainedModel


class BertModel(BertPreTrainedModel):
    """The encoder (or, with `is_decoder` in its config, decoder) without a head.

    Args:
        config: sizes and switches. The weights are drawn at random.
        add_pooling_layer: also compute `pooler_output`, as it was trained for next sentence prediction.
    """

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer and config.family.pooler else None
        self._initialise(self)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Sequence[Sequence[Tensor]] | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        cache_position: Tensor | None = None,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions | tuple[Any, ...]:
        """Hidden states of a batch. Shapes and ranks are checked here; the values of ids are not.

        Args:
            input_ids: token ids [B, S]. Either these or `inputs_embeds`.
            attention_mask: 1 for tokens that may be seen, 0 for padding: [B, P + S], or [B, S, P + S] for each
                query its own (then also for a decoder without a causal mask on top). None: all may be seen.
            token_type_ids: segment ids [B, S]; None means 0.
            position_ids: [B, S] or [1, S]; None means P, P + 1, ... Relative positions do not use them.
            head_mask: 1 for heads that count, 0 for those that do not: [H] or [L, H].
            inputs_embeds: word vectors [B, S, E] in place of `input_ids`.
            encoder_hidden_states: [B, encoder length, D], attended to by a decoder with cross-attention; an
                encoder does not use them.
            encoder_attention_mask: [B, encoder length] or [B, S, encoder length]; None: all may be seen.
            past_key_values: keys and values of P earlier tokens, see `outputs.PastKeyValues`. Cross-attention
                keys and values in it are used as they are; `encoder_hidden_states` may then be left out.
            use_cache: return `past_key_values`; decoders only. None means the config's choice, as below.
            output_attentions: return every layer's probabilities.
            output_hidden_states: return every layer's states.
            return_dict: return an output object; if false, the tuple (last_hidden_state, pooler_output or None,
                then what else there is of past_key_values, hidden_states, attentions, cross_attentions).
            cache_position: [S], accepted as other programs pass it. New tokens always follow those in the cache.

        Raises:
            InputError: both or neither of `input_ids` and `inputs_embeds`, or a shape that does not fit.
        """
        config = self.config
        need_attentions = config.output_attentions if output_attentions is None else output_attentions
        need_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        need_cache = config.is_decoder and (config.use_cache if use_cache is None else use_cache)
        cache = read_cache(past_key_values, config)
        past = past_length(cache)
        self._check_inputs(input_ids, inputs_embeds, token_type_ids, position_ids, past)
        hidden = self.embeddings(input_ids, inputs_embeds, token_type_ids, position_ids, past)
        if encoder_hidden_states is not None and encoder_hidden_states.dim() != 3:
            shape = tuple(encoder_hidden_states.shape)
            raise InputError(f"encoder_hidden_states has the shape {shape}; it must be [batch, length, hidden size].")
        context = Context(
            bias=self_attention_bias(attention_mask, hidden, past, causal=config.is_decoder),
            encoder_states=encoder_hidden_states if config.is_decoder else None,
            encoder_bias=cross_attention_bias(encoder_attention_mask, hidden.dtype) if config.is_decoder else None,
            need_attentions=need_attentions,
            need_hidden_states=need_hidden_states,
            need_cache=need_cache,
        )
        result: EncoderResult = self.encoder(hidden, context, self._head_masks(head_mask, hidden), cache, position_ids)
        pooled = None if self.pooler is None else self.pooler(result.hidden)
        if not self._wants_dict(return_dict):
            extras = (result.cache, result.hidden_states, result.attentions, result.cross_attentions)
            return (result.hidden, pooled, *(extra for extra in extras if extra is not None))
        return BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=result.hidden,
            pooler_output=pooled,
            hidden_states=result.hidden_states,
            past_key_values=result.cache,
            attentions=result.attentions,
            cross_attentions=result.cross_attentions,
        )

    def _check_inputs(
        self,
        input_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        past: int,
    ) -> None:
        """Raises InputError for inputs whose number or shape does not fit."""
        if (input_ids is None) == (inputs_embeds is None):
            raise InputError("Give either input_ids or inputs_embeds, not both and not neither.")
        if input_ids is not None and input_ids.dim() != 2:
            raise InputError(f"input_ids has the shape {tuple(input_ids.shape)}; it must be [batch, sequence].")
        width = self.config.embedding_width
        if inputs_embeds is not None and (inputs_embeds.dim() != 3 or inputs_embeds.shape[2] != width):
            raise InputError(
                f"inputs_embeds has the shape {tuple(inputs_embeds.shape)}; it must be [batch, sequence, {width}]."
            )
        given = input_ids if input_ids is not None else inputs_embeds
        assert given is not None
        length = given.shape[1]
        for name, ids in (("token_type_ids", token_type_ids), ("position_ids", position_ids)):
            if ids is not None and (ids.dim() != 2 or ids.shape[1] != length):
                raise InputError(f"{name} has the shape {tuple(ids.shape)}; it must be [batch, {length}].")
        longest = self.config.longest_sequence
        if position_ids is None and past + length > longest:
            raise InputError(
                f"The sequence of {past + length} tokens is longer than the {longest} positions that the model has; "
                "shorten it, or split it into overlapping parts."
            )

    def _head_masks(self, head_mask: Tensor | None, hidden: Tensor) -> list[Tensor] | None:
        """One mask [1, H, 1, 1] a layer, from [H] or [L, H]."""
        if head_mask is None:
            return None
        layers = self.config.num_hidden_layers
        if head_mask.dim() not in (1, 2) or (head_mask.dim() == 2 and head_mask.shape[0] != layers):
            raise InputError(
                f"head_mask has the shape {tuple(head_mask.shape)}; it must be [heads] or [{layers}, heads]."
            )
        rows = [head_mask] * layers if head_mask.dim() == 1 else list(head_mask.unbind(0))
        return [row.to(hidden.dtype)[None, :, None, None] for row in rows]

"""Heads that predict tokens: pretraining, masked and causal language modelling."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bert_onnx.config import BertConfig
from bert_onnx.modeling.layers import PredictionTransform
from bert_onnx.modeling.losses import causal_loss, classification_loss
from bert_onnx.modeling.model import BertModel
from bert_onnx.modeling.outputs import (
    BaseModelOutputWithPoolingAndCrossAttentions,
    BertForPreTrainingOutput,
    CausalLMOutputWithCrossAttentions,
    MaskedLMOutput,
)
from bert_onnx.modeling.pretrained import BertPreTrainedModel
from bert_onnx.modeling.pruning import rows_resized

logger = logging.getLogger(__name__)


class LMPredictionHead(nn.Module):
    """Scores of every token of the vocabulary, [B, S, D] -> [B, S, V].

    The bias, where there is one, is a parameter of this module and at the same time the decoder's: checkpoints name it
    twice.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.transform = PredictionTransform(config)
        self.decoder = nn.Linear(config.embedding_width, config.vocab_size, bias=False)
        bias = None if config.decoder_bias is False else nn.Parameter(torch.zeros(config.vocab_size))
        self.bias: nn.Parameter | None = bias
        self.decoder.register_parameter("bias", self.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        scores: Tensor = self.decoder(self.transform(hidden))
        return scores


class LMHead(nn.Module):
    """Token scores only; the level in between gives the names that checkpoints have."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.predictions = LMPredictionHead(config)

    def forward(self, hidden: Tensor) -> Tensor:
        scores: Tensor = self.predictions(hidden)
        return scores


class PreTrainingHeads(nn.Module):
    """Token scores [B, S, V], and next-sentence scores [B, 2] from the pooled state."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.predictions = LMPredictionHead(config)
        self.seq_relationship = nn.Linear(config.hidden_size, 2)

    def forward(self, hidden: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        return self.predictions(hidden), self.seq_relationship(pooled)


class VocabularyHeadModel(BertPreTrainedModel):
    """What the three models with a vocabulary head share: tying and resizing of its decoder."""

    tied_weights_keys = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")

    cls: LMHead | PreTrainingHeads

    def get_output_embeddings(self) -> nn.Linear:
        """The decoder, D to V."""
        return self.cls.predictions.decoder

    def set_output_embeddings(self, decoder: nn.Linear) -> None:
        """Replace the decoder and, with it, the bias."""
        self.cls.predictions.decoder = decoder
        self.cls.predictions.bias = decoder.bias

    def tie_weights(self) -> None:
        """The decoder takes the word embeddings (where the config says so) and the head's bias."""
        head = self.cls.predictions
        if self.config.tie_word_embeddings:
            head.decoder.weight = self.get_input_embeddings().weight
        head.decoder.register_parameter("bias", head.bias)

    def _resize_output(self, count: int) -> None:
        head = self.cls.predictions
        if not self.config.tie_word_embeddings:
            head.decoder.weight = rows_resized(head.decoder.weight, count, self.config.initializer_range)
        head.decoder.out_features = count
        head.bias = None if head.bias is None else rows_resized(head.bias, count, std=0.0)


class BertForPreTraining(VocabularyHeadModel):
    """Masked language modelling and next sentence prediction at once, as BERT was trained."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.cls = PreTrainingHeads(config)
        self._initialise(self.cls)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BertForPreTrainingOutput | tuple[Any, ...]:
        """Token and next-sentence scores. Inputs as for `BertModel.forward`.

        Args:
            labels: token ids [B, S], -100 for tokens that do not count.
            next_sentence_label: [B], 0 where the second text follows the first, 1 where it is a random one.
                The loss is the sum of both losses, and there when both labels are.
        """
        outputs = self._encoded(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            head_mask,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        token_scores, sentence_scores = self.cls(outputs.last_hidden_state, outputs.pooler_output)
        loss = None
        if labels is not None and next_sentence_label is not None:
            loss = classification_loss(token_scores, labels) + classification_loss(sentence_scores, next_sentence_label)
        output = BertForPreTrainingOutput(
            loss, token_scores, sentence_scores, outputs.hidden_states, outputs.attentions
        )
        return output if self._wants_dict(return_dict) else output.to_tuple()


class BertForMaskedLM(VocabularyHeadModel):
    """Predicts masked tokens from both sides."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        if config.is_decoder:
            logger.warning("BertForMaskedLM was given a config with is_decoder; it will see the left side only.")
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = LMHead(config)
        self._initialise(self.cls)

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
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MaskedLMOutput | tuple[Any, ...]:
        """Token scores [B, S, V]. Inputs as for `BertModel.forward`.

        Args:
            labels: token ids [B, S], -100 for tokens that do not count.
        """
        outputs = self._encoded(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            head_mask,
            inputs_embeds,
            encoder_hidden_states,
            encoder_attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        scores = self.cls(outputs.last_hidden_state)
        loss = None if labels is None else classification_loss(scores, labels)
        output = MaskedLMOutput(loss, scores, outputs.hidden_states, outputs.attentions)
        return output if self._wants_dict(return_dict) else output.to_tuple()


class BertLMHeadModel(VocabularyHeadModel):
    """Predicts the next token; a decoder, with cross-attention and a cache where asked for."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        if not config.is_decoder:
            logger.warning("BertLMHeadModel was given a config without is_decoder; it will see the right side, too.")
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = LMHead(config)
        self._initialise(self.cls)

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
        labels: Tensor | None = None,
        past_key_values: Sequence[Sequence[Tensor]] | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        cache_position: Tensor | None = None,
    ) -> CausalLMOutputWithCrossAttentions | tuple[Any, ...]:
        """Token scores [B, S, V], those of position i for the token at i + 1. Inputs as for `BertModel.forward`.

        Args:
            labels: token ids [B, S], -100 for tokens that do not count; shifted here. With labels, no cache is
                returned.
        """
        outputs: BaseModelOutputWithPoolingAndCrossAttentions = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            head_mask,
            inputs_embeds,
            encoder_hidden_states,
            encoder_attention_mask,
            past_key_values,
            use_cache=use_cache if labels is None else False,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            cache_position=cache_position,
        )
        scores = self.cls(outputs.last_hidden_state)
        output = CausalLMOutputWithCrossAttentions(
            loss=None if labels is None else causal_loss(scores, labels),
            logits=scores,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            cross_attentions=outputs.cross_attentions,
        )
        return output if self._wants_dict(return_dict) else output.to_tuple()

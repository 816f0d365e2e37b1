"""Heads that classify: sentences, sentence pairs, choices, tokens, answer spans."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from bert_onnx.config import BertConfig
from bert_onnx.errors import ConfigError, InputError
from bert_onnx.family import Summary
from bert_onnx.modeling.activations import make_activation
from bert_onnx.modeling.layers import PredictionTransform, TextSummary
from bert_onnx.modeling.losses import classification_loss, detection_loss, sequence_loss, span_loss
from bert_onnx.modeling.model import BertModel
from bert_onnx.modeling.outputs import (
    MultipleChoiceModelOutput,
    NextSentencePredictorOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from bert_onnx.modeling.pretrained import BertPreTrainedModel


class NextSentenceHead(nn.Module):
    """Scores [B, 2] from the pooled state; the level in between gives the names that checkpoints have."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.seq_relationship = nn.Linear(config.hidden_size, 2)

    def forward(self, pooled: Tensor) -> Tensor:
        scores: Tensor = self.seq_relationship(pooled)
        return scores


def _classifier_dropout(config: BertConfig) -> float:
    probability = config.classifier_dropout
    return config.hidden_dropout_prob if probability is None else probability


class ClassificationHead(TextSummary):
    """Scores [B, N] of a text, through a layer of the head's own."""

    def __init__(self, config: BertConfig, summary: Summary) -> None:
        super().__init__(config, summary, _classifier_dropout(config))
        self.out_proj = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        scores: Tensor = self.out_proj(super().forward(hidden, attention_mask))
        return scores


class BertForNextSentencePrediction(BertPreTrainedModel):
    """Predicts whether the second text of a pair follows the first."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.cls = NextSentenceHead(config)
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
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> NextSentencePredictorOutput | tuple[Any, ...]:
        """Scores [B, 2]. Inputs as for `BertModel.forward`.

        Args:
            labels: [B], 0 where the second text follows the first, 1 where it is a random one.
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
        scores = self.cls(outputs.pooler_output)
        loss = None if labels is None else classification_loss(scores, labels)
        output = NextSentencePredictorOutput(loss, scores, outputs.hidden_states, outputs.attentions)
        return output if self._wants_dict(return_dict) else output.to_tuple()


class BertForSequenceClassification(BertPreTrainedModel):
    """Classes, or numbers, for a text or a pair of texts."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        summary = config.family.summary
        self.bert = BertModel(config, add_pooling_layer=summary is None)
        self.dropout = nn.Dropout(_classifier_dropout(config))
        self.classifier: nn.Linear | ClassificationHead
        if summary is None:
            self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        else:
            self.classifier = ClassificationHead(config, summary)
        self._initialise(self.classifier)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """Scores [B, number of labels]. Inputs as for `BertModel.forward`.

        Args:
            labels: [B] or [B, number of labels], by `config.problem_type`; see `losses.sequence_loss`.
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
        if isinstance(self.classifier, ClassificationHead):
            scores = self.classifier(outputs.last_hidden_state, attention_mask)
        else:
            scores = self.classifier(self.dropout(outputs.pooler_output))
        loss = None if labels is None else sequence_loss(self.config, scores, labels)
        output = SequenceClassifierOutput(loss, scores, outputs.hidden_states, outputs.attentions)
        return output if self._wants_dict(return_dict) else output.to_tuple()


class BertForMultipleChoice(BertPreTrainedModel):
    """Chooses between C texts; every input has an axis of choices after the batch.

    Raises:
        ConfigError: a summary of the text other than a layer for its first token.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        asked = (config.summary_type, config.summary_use_proj, config.summary_activation)
        if "summary_type" in config.family.own and asked != ("first", True, "gelu"):
            raise ConfigError(
                f"summary_type, summary_use_proj and summary_activation are {asked}; multiple choice is computed with "
                "('first', True, 'gelu')."
            )
        summary = config.family.choice_summary
        self.bert = BertModel(config, add_pooling_layer=summary is None)
        self.summary = None if summary is None else TextSummary(config, summary, _classifier_dropout(config))
        self.dropout = nn.Dropout(_classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, 1)
        self._initialise(*(part for part in (self.summary, self.classifier) if part is not None))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MultipleChoiceModelOutput | tuple[Any, ...]:
        """Scores [B, C]. Inputs as for `BertModel.forward`, with the axis C after B: ids are [B, C, S].

        Args:
            labels: [B], the number of the right choice.
        """
        given = inputs_embeds if input_ids is None else input_ids
        if given is None or given.dim() != (4 if input_ids is None else 3):
            raise InputError(
                "Give input_ids as [batch, choices, sequence], or inputs_embeds with the hidden size last."
            )
        batch, choices = given.shape[:2]
        input_ids = _merge_choices("input_ids", input_ids)
        attention_mask = _merge_choices("attention_mask", attention_mask)
        outputs = self._encoded(
            input_ids,
            attention_mask,
            _merge_choices("token_type_ids", token_type_ids),
            _merge_choices("position_ids", position_ids),
            head_mask,
            _merge_choices("inputs_embeds", inputs_embeds),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        if self.summary is None:
            pooled = self.dropout(outputs.pooler_output)
        else:
            pooled = self.summary(outputs.last_hidden_state, attention_mask)
        scores = self.classifier(pooled).view(batch, choices)
        loss = None if labels is None else classification_loss(scores, labels)
        output = MultipleChoiceModelOutput(loss, scores, outputs.hidden_states, outputs.attentions)
        return output if self._wants_dict(return_dict) else output.to_tuple()


def _merge_choices(name: str, tensor: Tensor | None) -> Tensor | None:
    """[B, C, ...] -> [B * C, ...]."""
    if tensor is not None and tensor.dim() < 3:
        raise InputError(f"{name} has the shape {tuple(tensor.shape)}; it must be [batch, choices, ...].")
    return None if tensor is None else tensor.flatten(0, 1)


class BertForTokenClassification(BertPreTrainedModel):
    """A class for every token."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.head = PredictionTransform(config) if config.family.token_head else nn.Identity()
        self.dropout = nn.Dropout(_classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self._initialise(self.head, self.classifier)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> TokenClassifierOutput | tuple[Any, ...]:
        """Scores [B, S, number of labels]. Inputs as for `BertModel.forward`.

        Args:
            labels: class ids [B, S], -100 for tokens that do not count.
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
        scores = self.classifier(self.dropout(self.head(outputs.last_hidden_state)))
        if self.config.family.real_tokens_count and labels is not None and attention_mask is not None:
            labels = labels.masked_fill(attention_mask == 0, -100)
        loss = None if labels is None else classification_loss(scores, labels)
        output = TokenClassifierOutput(loss, scores, outputs.hidden_states, outputs.attentions)
        return output if self._wants_dict(return_dict) else output.to_tuple()


class BertForQuestionAnswering(BertPreTrainedModel):
    """Scores for every token to be the first and to be the last of the answer.

    Raises:
        ConfigError: a config with another number of labels than 2.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        if config.num_labels != 2:
            raise ConfigError(f"num_labels is {config.num_labels}; question answering needs 2, start and end.")
        self.bert = BertModel(config, add_pooling_layer=False)
        self.head = PredictionTransform(config) if config.family.token_head else nn.Identity()
        dropout = config.classifier_dropout if config.family.token_head else config.qa_dropout
        self.dropout = nn.Dropout(dropout or 0.0)
        self.qa_outputs = nn.Linear(config.hidden_size, config.num_labels)
        self._initialise(self.head, self.qa_outputs)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> QuestionAnsweringModelOutput | tuple[Any, ...]:
        """Scores [B, S], twice. Inputs as for `BertModel.forward`.

        Args:
            start_positions, end_positions: [B], first and last token of the answer; one beyond the sequence does not
                count. The loss is there when both are.
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
        start_scores, end_scores = self.qa_outputs(self.dropout(self.head(outputs.last_hidden_state))).unbind(-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = span_loss(start_scores, end_scores, start_positions, end_positions)
        output = QuestionAnsweringModelOutput(loss, start_scores, end_scores, outputs.hidden_states, outputs.attentions)
        return output if self._wants_dict(return_dict) else output.to_tuple()


class DiscriminatorHead(nn.Module):
    """dense(activation(dense(x))), [B, S, D] -> [B, S]."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = make_activation(config.hidden_act)
        self.dense_prediction = nn.Linear(config.hidden_size, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        scores: Tensor = self.dense_prediction(self.activation(self.dense(hidden))).squeeze(-1)
        return scores


class BertForReplacedTokenDetection(BertPreTrainedModel):
    """Whether each token is another than the text had (Clark et al. 2020, ELECTRA's discriminator)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.discriminator_predictions = DiscriminatorHead(config)
        self._initialise(self.discriminator_predictions)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> TokenClassifierOutput | tuple[Any, ...]:
        """Scores [B, S], above 0 for a token that was replaced. Inputs as for `BertModel.forward`.

        Args:
            labels: [B, S], 1 for replaced tokens and 0 for the others; padding does not count.
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
        scores = self.discriminator_predictions(outputs.last_hidden_state)
        loss = None if labels is None else detection_loss(scores, labels, attention_mask)
        output = TokenClassifierOutput(loss, scores, outputs.hidden_states, outputs.attentions)
        return output if self._wants_dict(return_dict) else output.to_tuple()

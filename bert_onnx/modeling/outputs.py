"""What the models return: frozen dataclasses with attribute, key, index and tuple access."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor
from torch.export import register_dataclass

#: One entry a layer: (key, value), or with cross-attention (key, value, cross_key, cross_value).
#: key and value are [B, H, P, K]; the cross pair is [B, H, encoder length, K].
PastKeyValues: TypeAlias = tuple[tuple[Tensor, ...], ...]


@dataclass(frozen=True)
class ModelOutput:
    """Base of all outputs.

    A field that was not asked for is None. As a mapping (`output["logits"]`, `keys()`, `items()`, iteration
    over names) and as a sequence (`output[0]`, `output[:2]`, `to_tuple()`) an output has only the fields
    that are not None, in the order of their declaration.
    """

    def keys(self) -> tuple[str, ...]:
        """Names of the fields that are not None."""
        names = (field.name for field in dataclasses.fields(self))
        return tuple(name for name in names if getattr(self, name) is not None)

    def to_tuple(self) -> tuple[Any, ...]:
        """Values of the fields that are not None."""
        return tuple(getattr(self, name) for name in self.keys())

    def values(self) -> tuple[Any, ...]:
        """The same as `to_tuple`."""
        return self.to_tuple()

    def items(self) -> tuple[tuple[str, Any], ...]:
        """Pairs of name and value of the fields that are not None."""
        return tuple(zip(self.keys(), self.to_tuple(), strict=True))

    def get(self, name: str, default: Any = None) -> Any:
        """The field called `name`, or `default` where there is none or it is None."""
        return dict(self.items()).get(name, default)

    def __getitem__(self, index: int | slice | str) -> Any:
        if not isinstance(index, str):
            return self.to_tuple()[index]
        if index not in self:
            raise KeyError(index)
        return getattr(self, index)

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())


@dataclass(frozen=True)
class BaseModelOutputWithPoolingAndCrossAttentions(ModelOutput):
    """Output of BertModel.

    last_hidden_state: [B, S, D].
    pooler_output: [B, D], the first token's state through a dense layer and tanh.
    past_key_values: see `PastKeyValues`; its length is P + S.
    hidden_states: L + 1 tensors [B, S, D], the embeddings first.
    attentions: L tensors [B, H, S, P + S], probabilities.
    cross_attentions: L tensors [B, H, S, encoder length], probabilities.
    """

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    past_key_values: PastKeyValues | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class BertForPreTrainingOutput(ModelOutput):
    """Output of BertForPreTraining: prediction_logits [B, S, V], seq_relationship_logits [B, 2]; loss is scalar."""

    loss: Tensor | None = None
    prediction_logits: Tensor | None = None
    seq_relationship_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class CausalLMOutputWithCrossAttentions(ModelOutput):
    """Output of BertLMHeadModel: logits [B, S, V]; the rest as in BertModel's output."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: PastKeyValues | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class _LogitsOutput(ModelOutput):
    """A loss, one tensor of logits, and the optional states of every layer."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class MaskedLMOutput(_LogitsOutput):
    """Output of BertForMaskedLM: logits [B, S, V]."""


@dataclass(frozen=True)
class NextSentencePredictorOutput(_LogitsOutput):
    """Output of BertForNextSentencePrediction: logits [B, 2]; class 0 means that B follows A."""


@dataclass(frozen=True)
class SequenceClassifierOutput(_LogitsOutput):
    """Output of BertForSequenceClassification: logits [B, number of labels]."""


@dataclass(frozen=True)
class MultipleChoiceModelOutput(_LogitsOutput):
    """Output of BertForMultipleChoice: logits [B, C]."""


@dataclass(frozen=True)
class TokenClassifierOutput(_LogitsOutput):
    """Output of BertForTokenClassification: logits [B, S, number of labels]."""


@dataclass(frozen=True)
class QuestionAnsweringModelOutput(ModelOutput):
    """Output of BertForQuestionAnswering: start_logits and end_logits [B, S]."""

    loss: Tensor | None = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


#: Every output class, by name.
OUTPUT_CLASSES: tuple[type[ModelOutput], ...] = (
    BaseModelOutputWithPoolingAndCrossAttentions,
    BertForPreTrainingOutput,
    CausalLMOutputWithCrossAttentions,
    MaskedLMOutput,
    NextSentencePredictorOutput,
    SequenceClassifierOutput,
    MultipleChoiceModelOutput,
    TokenClassifierOutput,
    QuestionAnsweringModelOutput,
)

# torch.export flattens what a model returns, and has to know how for each class.
for _output_class in OUTPUT_CLASSES:
    register_dataclass(_output_class)

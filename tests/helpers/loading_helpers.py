"""What the tests of loading share: the classes, and short ways to load and to compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bert_onnx.checkpoint import LoadReport, find_checkpoint, load_weights
from bert_onnx.modeling.heads import (
    BertForMultipleChoice,
    BertForNextSentencePrediction,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from bert_onnx.modeling.lm_heads import BertForMaskedLM, BertForPreTraining, BertLMHeadModel
from bert_onnx.modeling.model import BertModel

CLASSES: list[Any] = [
    BertModel,
    BertForPreTraining,
    BertLMHeadModel,
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForSequenceClassification,
    BertForMultipleChoice,
    BertForTokenClassification,
    BertForQuestionAnswering,
]


def options(model_class: type) -> dict[str, Any]:
    return {"is_decoder": True} if model_class is BertLMHeadModel else {}


def load(model: Any, folder: Path, **arguments: Any) -> LoadReport:
    return load_weights(model, find_checkpoint(str(folder)), **arguments)


def same_state(model: torch.nn.Module, other: torch.nn.Module) -> bool:
    ours, theirs = model.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)

"""The table of model classes and the modules that define them, which are imported when a class is first used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from bert_onnx.family import FAMILIES

if TYPE_CHECKING:
    from bert_onnx.modeling.pretrained import BertPreTrainedModel

MODEL_CLASSES = {
    "BertPreTrainedModel": "bert_onnx.modeling.pretrained",
    "BertModel": "bert_onnx.modeling.model",
    "BertForPreTraining": "bert_onnx.modeling.lm_heads",
    "BertLMHeadModel": "bert_onnx.modeling.lm_heads",
    "BertForMaskedLM": "bert_onnx.modeling.lm_heads",
    "BertForNextSentencePrediction": "bert_onnx.modeling.heads",
    "BertForSequenceClassification": "bert_onnx.modeling.heads",
    "BertForMultipleChoice": "bert_onnx.modeling.heads",
    "BertForTokenClassification": "bert_onnx.modeling.heads",
    "BertForQuestionAnswering": "bert_onnx.modeling.heads",
    "BertForReplacedTokenDetection": "bert_onnx.modeling.heads",
}

#: Classes that are thin names for other families.
FAMILY_CLASSES = tuple(
    name for family in FAMILIES.values() for name in family.classes.values() if name not in MODEL_CLASSES
)


def model_class(name: str) -> Callable[..., BertPreTrainedModel]:
    """The class of `name`, a key of the table.

    Raises:
        KeyError: there is none.
    """
    found: Callable[..., BertPreTrainedModel] = getattr(import_module(MODEL_CLASSES[name]), name)
    return found

"""The rows. A family that differs in what a column says is a row; one whose mathematics differs needs a column."""

from __future__ import annotations

from dataclasses import replace

from bert_onnx.family.row import AFTER_PADDING, ALWAYS, Family, Summary

#: Classes of `bert_onnx.modeling`, by what their names end with in transformers.
_CLASSES = {
    "Model": "BertModel",
    "ForMaskedLM": "BertForMaskedLM",
    "ForCausalLM": "BertLMHeadModel",
    "ForSequenceClassification": "BertForSequenceClassification",
    "ForTokenClassification": "BertForTokenClassification",
    "ForQuestionAnswering": "BertForQuestionAnswering",
    "ForMultipleChoice": "BertForMultipleChoice",
}


def _classes(prefix: str, *without: str) -> dict[str, str]:
    """The classes of transformers whose names begin with `prefix`, by the classes here."""
    return {ours: prefix + ending for ending, ours in _CLASSES.items() if ending not in without}


#: The language-modelling head as fairseq lays it out, without a transform of its own.
_LM_HEAD = (
    ("cls.predictions.transform.LayerNorm", "lm_head.layer_norm"),
    ("cls.predictions.transform.dense", "lm_head.dense"),
    ("cls.predictions", "lm_head"),
)

_BERT = Family(
    model_type="bert",
    classes={name: name for name in (*_CLASSES.values(), "BertForPreTraining", "BertForNextSentencePrediction")},
    base="bert",
    heads=("bert.pooler.", "cls.predictions.", "cls.seq_relationship.", "classifier.", "qa_outputs."),
    token_types=ALWAYS,
)

_ROBERTA = Family(
    model_type="roberta",
    classes=_classes("Roberta"),
    base="roberta",
    heads=("roberta.pooler.", "lm_head.", "classifier.", "qa_outputs."),
    names=_LM_HEAD,
    defaults={"vocab_size": 50265, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2},
    positions=AFTER_PADDING,
    summary=Summary("tanh"),
    lm_activation="gelu",
)

_XLM_ROBERTA = replace(
    _ROBERTA,
    model_type="xlm-roberta",
    classes=_classes("XLMRoberta"),
    defaults={**_ROBERTA.defaults, "vocab_size": 30522},
)

_CAMEMBERT = replace(_XLM_ROBERTA, model_type="camembert", classes=_classes("Camembert"))

#: Every family by its model_type.
FAMILIES: dict[str, Family] = {family.model_type: family for family in (_BERT, _ROBERTA, _XLM_ROBERTA, _CAMEMBERT)}


def canonical_class(name: str) -> str:
    """The class of `bert_onnx.modeling` behind the class `name` of transformers; `name` itself where there is none."""
    return next((ours for row in FAMILIES.values() for ours, theirs in row.classes.items() if theirs == name), name)

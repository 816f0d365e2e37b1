"""The class of a checkpoint whose config.json names none that is known, from the heads that its weights hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.checkpoint.header import TensorInfo
from bert_onnx.checkpoint.names import CLASSIFIER_HEAD, POOLER_WEIGHT, canonical_names
from bert_onnx.checkpoint.reading import tensor_names
from bert_onnx.config import BertConfig

#: Heads, as `bert_onnx.modeling` names them -> the class that has just these, where only one does.
_CLASS_OF_HEADS: dict[frozenset[str], str] = {
    frozenset(): "BertModel",
    frozenset({"qa_outputs"}): "BertForQuestionAnswering",
    frozenset({"cls.predictions"}): "BertForMaskedLM",
    frozenset({"cls.seq_relationship"}): "BertForNextSentencePrediction",
    frozenset({"cls.predictions", "cls.seq_relationship"}): "BertForPreTraining",
}
_HEADS = sorted({head for heads in _CLASS_OF_HEADS for head in heads})
_CLASSIFIER = CLASSIFIER_HEAD.removesuffix(".")


def class_of_heads(checkpoint: Checkpoint) -> str | None:
    """The class of `bert_onnx.modeling` that has just the heads in the weights of `checkpoint`; None where none has.

    Raises:
        CheckpointError: a weight file is missing or damaged.
    """
    config, tensors = checkpoint.config, tensor_names(checkpoint)
    names = {name: tensors[there] for name, there in canonical_names(tensors, config.family).items()}
    held = {head for head in (*_HEADS, _CLASSIFIER) if _holds(names, config.family.tensor_name(head))}
    if held == {_CLASSIFIER}:
        return _class_of_classifier(names, config)
    found = _CLASS_OF_HEADS.get(frozenset(held))
    return "BertLMHeadModel" if found == "BertForMaskedLM" and config.is_decoder else found


def _class_of_classifier(tensors: Mapping[str, TensorInfo], config: BertConfig) -> str:
    """transformers gives the classes of whole texts what summarises a text, and that of tokens none.

    A classifier of choices has one row, whatever the labels of its config are.
    """
    family = config.family
    weight = tensors.get(family.tensor_name("classifier.weight"))
    one_row = weight is not None and weight.shape[:1] == (1,) and config.num_labels != 1
    if _holds(tensors, family.tensor_name("classifier.dense")):
        return "BertForMultipleChoice" if one_row else "BertForSequenceClassification"
    if family.tensor_name(POOLER_WEIGHT) in tensors or _holds(tensors, family.tensor_name("summary.dense")):
        return "BertForMultipleChoice" if one_row or family.summary else "BertForSequenceClassification"
    return "BertForTokenClassification"


def _holds(names: Iterable[str], part: str) -> bool:
    return any(name.startswith(f"{part}.") for name in names)

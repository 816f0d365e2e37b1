"""The class of a checkpoint whose config.json names none that is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoints import rewrite, tiny_folder
from torch import zeros

from bert_onnx.checkpoint import find_checkpoint
from bert_onnx.checkpoint.head_class import class_of_heads
from bert_onnx.modeling.heads import (
    BertForMultipleChoice,
    BertForNextSentencePrediction,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from bert_onnx.modeling.lm_heads import BertForMaskedLM, BertForPreTraining, BertLMHeadModel
from bert_onnx.modeling.model import BertModel
from bert_onnx.modeling.pretrained import BertPreTrainedModel
from export.reference.task_choice import choose_task
from export.request import ExportRequest

#: Classes -> the task of their heads, for BERT; RoBERTa lacks what is None.
TASKS: list[tuple[type[BertPreTrainedModel], dict[str, Any], str, str | None]] = [
    (BertModel, {}, "feature-extraction", "feature-extraction"),
    (BertForMaskedLM, {}, "fill-mask", "fill-mask"),
    (BertLMHeadModel, {"is_decoder": True}, "text-generation-with-past", "text-generation-with-past"),
    (BertForPreTraining, {}, "pretraining", None),
    (BertForNextSentencePrediction, {}, "next-sentence-prediction", None),
    (BertForQuestionAnswering, {}, "question-answering", "question-answering"),
    (BertForMultipleChoice, {}, "multiple-choice", None),
    (BertForTokenClassification, {"num_labels": 3}, "token-classification", "token-classification"),
    (BertForSequenceClassification, {"num_labels": 3}, "text-classification", "text-classification"),
    (BertForSequenceClassification, {"num_labels": 1}, "text-ranking", "text-ranking"),
]
NAMES = [f"{model_class.__name__}{changes.get('num_labels', '')}" for model_class, changes, *_ in TASKS]


def name_classes(folder: Path, classes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architectures": classes}))


def task_of(folder: Path, **asked: Any) -> str:
    return choose_task(ExportRequest(str(folder), **asked), find_checkpoint(str(folder), digest=False))[0].name


@pytest.mark.parametrize("classes", [None, ["MyEncoder"]], ids=["null", "unknown"])
@pytest.mark.parametrize(("model_class", "changes", "task", "_"), TASKS, ids=NAMES)
def test_the_task_is_that_of_the_heads(
    model_class: type[BertPreTrainedModel],
    changes: dict[str, Any],
    task: str,
    _: str,
    classes: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tiny_folder(tmp_path / "m", model_class, **changes)
    assert task_of(folder) == task
    assert not caplog.records
    name_classes(folder, classes)
    assert task_of(folder) == task
    (said,) = caplog.messages
    assert f"names {'MyEncoder' if classes else 'no class'} and the weights fit {model_class.__name__}" in said
    assert f"the task is {task}. --task chooses another." in said


@pytest.mark.parametrize(
    ("model_class", "changes", "task"),
    [(model_class, changes, task) for model_class, changes, _, task in TASKS if task],
    ids=[name for name, row in zip(NAMES, TASKS, strict=True) if row[3]],
)
def test_roberta(model_class: type[BertPreTrainedModel], changes: dict[str, Any], task: str, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", model_class, model_type="roberta", pad_token_id=1, **changes)
    name_classes(folder, None)
    assert task_of(folder) == task


def test_heads_of_several_classes_are_no_task(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tiny_folder(tmp_path / "m", BertForQuestionAnswering)
    rewrite(folder / "model.safetensors", lambda tensors: tensors | {"classifier.weight": zeros(2, 8)})
    name_classes(folder, None)
    assert class_of_heads(find_checkpoint(str(folder))) is None
    assert task_of(folder) == "feature-extraction"
    assert "the weights have heads of several classes" in caplog.text


def test_a_named_task_wins_silently(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tiny_folder(tmp_path / "m", BertForMaskedLM)
    name_classes(folder, ["MyEncoder"])
    assert task_of(folder, task="feature-extraction") == "feature-extraction"
    assert task_of(folder, pooling="mean") == "fill-mask"
    assert len(caplog.records) == 1

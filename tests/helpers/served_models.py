"""A model for every task that a server has, tiny and random, and pipelines on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from fake_runtimes import VOCABULARY, rule_pipeline
from late_checkpoints import dense, save_pylate
from pipeline_models import open_eager, save_checkpoint, tiny_model

from export.pipeline import export
from export.request import ExportRequest

#: Task -> the class of transformers, and its labels.
MODELS: dict[str, tuple[str, list[str]]] = {
    "text-classification": ("BertForSequenceClassification", ["contradiction", "neutral", "entailment"]),
    "text-ranking": ("BertForSequenceClassification", ["fit"]),
    "fill-mask": ("BertForMaskedLM", []),
    "token-classification": ("BertForTokenClassification", ["O", "B-PER", "I-PER"]),
    "question-answering": ("BertForQuestionAnswering", []),
    "next-sentence-prediction": ("BertForNextSentencePrediction", []),
    "multiple-choice": ("BertForMultipleChoice", []),
    "feature-extraction": ("BertModel", []),
}


def save_models(folder: Path) -> dict[str, Path]:
    """A checkpoint for each of MODELS."""
    made = {}
    for task, (class_name, labels) in MODELS.items():
        names = dict(enumerate(labels))
        changes = {"id2label": names, "label2id": {name: index for index, name in names.items()}} if labels else {}
        made[task] = save_checkpoint(tiny_model(class_name, **changes), folder / task)
    return made


def open_models(folder: Path, checkpoints: dict[str, Path]) -> dict[str, Any]:
    """Pipelines by task: of the checkpoints, and one of sparse embeddings by a rule."""
    opened = {task: open_eager(task, checkpoint) for task, checkpoint in checkpoints.items()}
    (folder / "sparse").mkdir(exist_ok=True)
    return {**opened, "sparse-embedding": rule_pipeline(folder / "sparse", "sparse-embedding", _letters)}


def _letters(inputs: Any) -> dict[str, np.ndarray]:
    """A weight for each letter of a text: its place in the vocabulary, as often as it stands there."""
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    weights = np.zeros((len(ids), len(VOCABULARY)), np.float32)
    for row, (tokens, real) in enumerate(zip(ids, mask, strict=True)):
        np.add.at(weights[row], tokens[real > 0], tokens[real > 0])
    weights[:, : VOCABULARY.index("a")] = 0
    return {"sparse_embedding": weights, "logits": np.zeros((*ids.shape, len(VOCABULARY)), np.float32)}


def export_late(folder: Path) -> Path:
    """An artifact of late interaction, with a graph that skips the padding and one that does not. Queries are expanded
    by tokens that attention does not see."""
    settings = {"query_prefix": "[unused0]", "document_prefix": "[unused1]", "query_length": 16, "document_length": 20}
    checkpoint = save_pylate(folder / "checkpoint", dense(12, 32), **settings)
    export(ExportRequest(str(checkpoint), output=str(folder / "late"), targets=("portable", "ort-cpu-unpadded")))
    return folder / "late"

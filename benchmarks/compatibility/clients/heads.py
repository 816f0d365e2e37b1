"""Small random checkpoints, one a task, and the artifacts that clients open: every CPU target, fp32 and int8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

import bert_onnx
from benchmarks.compatibility import checkpoints
from bert_onnx.artifact import Artifact, Manifest

TARGETS = ("portable", "web", "ort-cpu", "ort-cpu-unpadded", "openvino", "openvino-unpadded")


@dataclass(frozen=True)
class Head:
    """One task.

    Args:
        task: its name.
        make: writes a checkpoint into a folder.
        architecture: transformers' class; None where it has none that returns what the graph does.
        ort_class: optimum's class; None where it has none, so that ORTModelForCustomTasks opens it.
    """

    task: str
    make: Callable[[Path], None]
    architecture: str | None
    ort_class: str | None


@dataclass(frozen=True)
class Published:
    """An artifact of a head, and the checkpoint that it was made of."""

    head: Head
    checkpoint: Path
    folder: Path

    @property
    def manifest(self) -> Manifest:
        """What the folder says of its graphs."""
        return Artifact.open(self.folder).manifest


def _head(task: str, architecture: str, ort_class: str | None, **config: Any) -> Head:
    make = partial(checkpoints.save, architecture=architecture, **config)
    return Head(task, make, architecture, ort_class)


def _decoder(task: str) -> Head:
    """ELECTRA with one type of tokens: optimum's class has no argument for types, and optimum exports no BERT so.

    Not RoBERTa, whose positions transformers 4.57 counts from 0 in `generate`, and from 2 everywhere else.
    """

    def make(folder: Path) -> None:
        checkpoints.save(folder)  # for its vocabulary and sizes
        own = {"embedding_size": 32, "type_vocab_size": 1, "is_decoder": True}
        config = transformers.ElectraConfig.from_pretrained(folder, **own)
        torch.manual_seed(0)
        transformers.ElectraForCausalLM(config).eval().save_pretrained(folder)

    return Head(task, make, "ElectraForCausalLM", "ORTModelForCausalLM")


def _save_sentences(folder: Path) -> None:
    checkpoints.save_chain(folder, lambda models: [models.Pooling(32, "mean"), models.Normalize()])


HEADS: tuple[Head, ...] = (
    _head("feature-extraction", "BertModel", "ORTModelForFeatureExtraction"),
    Head("sentence-similarity", _save_sentences, "BertModel", "ORTModelForFeatureExtraction"),
    _head("fill-mask", "BertForMaskedLM", "ORTModelForMaskedLM"),
    _head("sparse-embedding", "BertForMaskedLM", "ORTModelForMaskedLM"),
    _head("text-classification", checkpoints.CLASSIFIER, "ORTModelForSequenceClassification", num_labels=3),
    _head("text-ranking", checkpoints.CLASSIFIER, "ORTModelForSequenceClassification", num_labels=1),
    _head("token-classification", "BertForTokenClassification", "ORTModelForTokenClassification", num_labels=3),
    _head("question-answering", "BertForQuestionAnswering", "ORTModelForQuestionAnswering"),
    _head("multiple-choice", "BertForMultipleChoice", "ORTModelForMultipleChoice"),
    _decoder("text-generation"),
    _decoder("text-generation-with-past"),
    _head("next-sentence-prediction", "BertForNextSentencePrediction", None),
    _head("pretraining", "BertForPreTraining", None),
    Head("late-interaction", checkpoints.save_colbert, None, None),
)


def publish(head: Head, folder: Path) -> Published:
    """Make the checkpoint below `folder` and export it for every target, in int8 for any x86-64 processor, too."""
    checkpoint, output = folder / "checkpoint", folder / "artifact"
    head.make(checkpoint)
    bert_onnx.export(
        checkpoint,
        output,
        task=head.task,
        targets=TARGETS,
        precision=("fp32", "int8"),
        isas="avx2",
        calibration=checkpoints.write_texts(checkpoint, 1),
        evaluation=checkpoints.write_texts(checkpoint, 2),
        allow_degraded=True,
        offline=True,
    )
    return Published(head, checkpoint, output)

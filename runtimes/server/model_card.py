"""What is told of a model to who lists models; it need not be open for that."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bert_onnx.artifact import Artifact
from bert_onnx.config import BertConfig
from bert_onnx.errors import UsageError
from bert_onnx.tokenization import FastTokenizer, load_tokenizer

#: Tasks that have a route.
TASKS = (
    "sentence-similarity", "feature-extraction", "sparse-embedding", "late-interaction", "text-classification",
    "text-ranking", "fill-mask", "token-classification", "question-answering", "next-sentence-prediction",
    "multiple-choice",
)  # fmt: skip


@dataclass(frozen=True)
class ModelCard:
    """A model.

    Args:
        task: what it is for.
        max_length: most tokens of a text.
        further: what a page for people has to know: `mask_token` of fill-mask, `labels` of a classifier.
    """

    task: str
    max_length: int
    further: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, task: str, max_length: int, config: BertConfig, tokenizer: FastTokenizer) -> ModelCard:
        """The card of what is open."""
        further: dict[str, Any] = {}
        if task == "fill-mask":
            further = {"mask_token": tokenizer.mask_token}
        elif task == "text-classification":
            further = {"labels": list(config.id2label.values())}
        return cls(task, max_length, further)


def open_served(folder: Path) -> Artifact:
    """The artifact in `folder`. Raises ArtifactError; UsageError: its task has no route."""
    artifact = Artifact.open(folder, check_hashes=False, partial=True)
    task = artifact.manifest.task
    if task not in TASKS:
        raise UsageError(f"{folder.name} is for {task}, which is not served; these are: {', '.join(TASKS)}.")
    return artifact


def read_card(folder: Path) -> ModelCard:
    """The card of an artifact that is not open. Raises as `open_served`."""
    manifest = open_served(folder).manifest
    config = BertConfig.from_pretrained(folder)
    return ModelCard.of(manifest.task, manifest.longest_text, config, load_tokenizer(folder, config.vocab_size))

"""Spring AI's TransformersEmbeddingModel: the mean of last_hidden_state over the mask, never scaled to length 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from export.hosts.embedder import check_embedder, write_embedder
from export.hosts.host import Host, Made, Subject, prompt_notes
from export.hosts.tokenizer import write_tokenizer

_TITLE = "Spring AI"
_PREFIX = "spring.ai.embedding.transformer"


def _masked_mean(states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    weights = mask[..., None].astype(np.float32)
    mean: np.ndarray = (states * weights).sum(1) / np.maximum(weights.sum(1), 1e-9)
    return mean


def _write(subject: Subject, folder: Path) -> Made:
    """tokenizer.json, and application.properties with what its tokenizer cuts and pads to."""
    write_tokenizer(subject, folder, truncate=True, pad=True)
    options = {
        "padding": "true",
        "truncation": "true",
        "maxLength": subject.longest,
        "modelMaxLength": subject.longest,
    }
    lines = [
        "# the paths are those of the jar's resources; file:/... works as well",
        f"{_PREFIX}.onnx.modelUri=classpath:/model.onnx",
        f"{_PREFIX}.onnx.modelOutputName=last_hidden_state",
        f"{_PREFIX}.tokenizer.uri=classpath:/tokenizer.json",
        *(f"{_PREFIX}.tokenizer.options.{name}={value}" for name, value in options.items()),
    ]
    (folder / "application.properties").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return Made(write_embedder(_TITLE, subject, folder, _masked_mean), prompt_notes(_TITLE, subject))


SPRING_AI = Host(
    name="spring-ai",
    title=_TITLE,
    source=(
        "https://github.com/spring-projects/spring-ai/blob/main/models/spring-ai-transformers/src/main/java/"
        "org/springframework/ai/transformers/TransformersEmbeddingModel.java"
    ),
    rules="one file; the mean of `last_hidden_state` over the mask, never scaled; pads only if it is told to",
    check=lambda subject: check_embedder(_TITLE, subject),
    write=_write,
)

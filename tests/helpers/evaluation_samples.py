"""Tiny models of every task as subjects with their eager runtimes, and texts in their small vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from export_samples import WORDS, tiny_eager

from bert_onnx.tasks import TaskOptions
from bert_onnx.tokenization import load_tokenizer
from export.evaluation.examples import TextSet, text_set
from export.evaluation.subject import Subject
from export.reference.load import Eager
from export.reference.runtime import Reference
from runtimes.engines.base import Runtime, RuntimeDescription

_PLAIN = [word for word in WORDS if word.isalpha()]


def sentences(count: int, seed: int = 0, longest: int = 12) -> list[str]:
    """Different texts of 1 to `longest` words."""
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found[" ".join(rng.choice(_PLAIN, rng.integers(1, longest + 1)))] = None
    return list(found)


def sample_texts(count: int = 24, seed: int = 0) -> TextSet:
    return text_set("sample texts", sentences(count, seed))


def tiny_subject(folder: Path, task: str, options: TaskOptions | None = None, **changes: Any) -> tuple[Subject, Eager]:
    """A random model of `task` with the tokenizer of `folder`, which is written."""
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    eager = tiny_eager(task, options, **changes)
    longest = eager.config.max_position_embeddings
    return Subject(eager.task, eager.options, eager.config, load_tokenizer(folder), longest), eager


class NoisyRuntime:
    """The answers of another runtime with noise on them; the same noise for the same shape."""

    name = "noisy"

    def __init__(self, inner: Runtime, size: float) -> None:
        self.inputs = inner.inputs
        self.outputs = inner.outputs
        self._inner = inner
        self._size = size

    def run(self, inputs: Any, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        answers = self._inner.run(inputs, outputs)
        rng = np.random.default_rng(0)
        return {
            name: (array + self._size * rng.standard_normal(array.shape)).astype(np.float32)
            for name, array in answers.items()
        }

    def describe(self) -> RuntimeDescription:
        return self._inner.describe()

    def close(self) -> None:
        """Nothing of its own to give back."""


def reference(eager: Eager) -> Runtime:
    return Reference(eager)

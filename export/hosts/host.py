"""What a row of the table of hosts is, and what it is asked about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bert_onnx.artifact import Manifest, Variant
from bert_onnx.errors import UsageError
from bert_onnx.sentence_modules import Normalize

#: States [B, S, W] and attention mask [B, S] to the vectors [B, W] that a host pools of them.
Arithmetic = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Embedder:
    """What a host needs to know of a model that makes vectors of texts.

    Args:
        folder: the artifact's.
        manifest: what it says of itself.
        variant: the graph that is packaged.
    """

    folder: Path
    manifest: Manifest
    variant: Variant

    @property
    def width(self) -> int:
        """W, values of a vector as the model's settings have it."""
        outputs = {port.name: port for port in self.manifest.outputs}
        return int(self.manifest.sentence.truncate_dim or outputs["sentence_embedding"].axes[-1])

    @property
    def longest(self) -> int:
        """Tokens that a text is cut to."""
        return self.manifest.model_max_length

    @property
    def has_length_one(self) -> bool:
        """Whether its vectors have length 1."""
        modules, settings = self.manifest.options.modules, self.manifest.sentence
        return bool(modules) and isinstance(modules[-1], Normalize) and settings.truncate_dim is None


@dataclass(frozen=True)
class Host:
    """One row.

    Args:
        name: what a user types.
        title: its name, for people.
        source: the public file that its rules were read in.
        rules: what it fixes, for people.
        arithmetic: how it pools the package's output.
        scales: whether it scales every vector to length 1 afterwards.
        check: raises UsageError where it cannot carry a model.
        write: puts the files beside model.onnx into a folder, and returns what a user must know.
    """

    name: str
    title: str
    source: str
    rules: str
    arithmetic: Arithmetic
    scales: bool
    check: Callable[[Embedder], None]
    write: Callable[[Embedder, Path], tuple[str, ...]]


def first_token(states: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Pooling by CLS."""
    first: np.ndarray = states[:, 0]
    return first


def refuse(title: str, rule: str, way: str) -> UsageError:
    """The error that says which rule of a host a model breaks, and what to do."""
    return UsageError(f"{title} {rule}; {way}.")


def prompt_notes(title: str, embedder: Embedder) -> tuple[str, ...]:
    """What to do about prompts with a host that puts none before a text."""
    prompts = {name: text for name, text in embedder.manifest.sentence.prompts.items() if text}
    listed = ", ".join(f"{name} {text!r}" for name, text in sorted(prompts.items()))
    return (f"{title} puts no prompt before a text: do it yourself ({listed}).",) if prompts else ()

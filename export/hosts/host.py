"""What a row of the table of hosts is, and what it is asked about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bert_onnx.artifact import Manifest, Variant
from bert_onnx.errors import UsageError
from bert_onnx.sentence_modules import Normalize


@dataclass(frozen=True)
class Subject:
    """What is packaged.

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
        """W, values of a text's vector as the model's settings have it."""
        outputs = {port.name: port for port in self.manifest.outputs}
        return int(self.manifest.sentence.truncate_dim or outputs["sentence_embedding"].axes[-1])

    @property
    def longest(self) -> int:
        """Tokens that a text is cut to."""
        return self.manifest.model_max_length

    @property
    def has_length_one(self) -> bool:
        """Whether a text's vector has length 1."""
        modules, settings = self.manifest.options.modules, self.manifest.sentence
        return bool(modules) and isinstance(modules[-1], Normalize) and settings.truncate_dim is None

    @property
    def has_token_types(self) -> bool:
        """Whether the graph reads token_type_ids."""
        return any(port.name == "token_type_ids" for port in self.manifest.inputs)


@dataclass(frozen=True)
class Made:
    """What became of a package.

    Args:
        difference: the largest, between what the host makes of the package and the artifact's vectors; None where the
            graph is the artifact's own file.
        notes: what a user must know.
    """

    difference: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Host:
    """One row.

    Args:
        name: what a user types.
        title: its name, for people.
        source: the public file that its rules were read in.
        rules: what it fixes, for people.
        check: raises UsageError where it cannot carry a model; the message names the rule and a way on.
        write: puts the package into a folder. Raises VerificationError where it would give other results.
    """

    name: str
    title: str
    source: str
    rules: str
    check: Callable[[Subject], None]
    write: Callable[[Subject, Path], Made]


def refuse(title: str, rule: str, way: str) -> UsageError:
    """The error that says which rule of a host a model breaks, and what to do."""
    return UsageError(f"{title} {rule}; {way}.")


def prompt_notes(title: str, subject: Subject) -> tuple[str, ...]:
    """What to do about prompts with a host that puts none before a text."""
    prompts = {name: text for name, text in subject.manifest.sentence.prompts.items() if text}
    listed = ", ".join(f"{name} {text!r}" for name, text in sorted(prompts.items()))
    return (f"{title} puts no prompt before a text: do it yourself ({listed}).",) if prompts else ()

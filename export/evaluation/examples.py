"""Example and TextSet: texts to calibrate or to evaluate with, and what may be known of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from bert_onnx.errors import InputError


@dataclass(frozen=True)
class Example:
    """One row of a file; what a row does not say is None.

    Args:
        text: the text; of a pair the first one, for question-answering the question.
        where: file and line, for messages.
        pair: the second text of a pair; for question-answering the context.
        label: class (its name or number), or the true similarity or value of a regression.
        words, tags: the words of a text and the label of each.
        answers: every right answer to the question; empty where there is none.
        choices: what to choose among.
    """

    text: str
    where: str = ""
    pair: str | None = None
    label: str | float | int | None = None
    words: tuple[str, ...] | None = None
    tags: tuple[str | int, ...] | None = None
    answers: tuple[str, ...] | None = None
    choices: tuple[str, ...] | None = None


@dataclass(frozen=True)
class TextSet:
    """Texts from one place.

    Args:
        name: the file's name, or what it is called in manifests.
        sha256: of the bytes that the texts were read from.
        examples: in the order of the file.
    """

    name: str
    sha256: str
    examples: tuple[Example, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text once, second texts of pairs included, in the order of the file."""
        every = (text for example in self.examples for text in (example.text, example.pair) if text is not None)
        return tuple(dict.fromkeys(every))

    def at_least(self, count: int, purpose: str) -> TextSet:
        """Itself.

        Raises:
            InputError: there are fewer than `count` different texts, which is too little for `purpose`.
        """
        if len(self.texts) < count:
            few = "is empty" if not self.texts else f"has {len(self.texts)} different texts"
            raise InputError(f"{self.name} {few}; {purpose} needs at least {count}.")
        return self

    def without(self, other: TextSet) -> TextSet:
        """What of it is not in `other`: what a variant was calibrated with says nothing about its quality."""
        seen = set(other.texts)
        kept = tuple(e for e in self.examples if e.text not in seen and e.pair not in seen)
        return TextSet(self.name, self.sha256, kept)


def text_set(name: str, texts: Iterable[str]) -> TextSet:
    """Texts from a program, as a set; its sha256 is that of the texts, one a line."""
    every = tuple(texts)
    digest = hashlib.sha256("\n".join(every).encode()).hexdigest()
    return TextSet(name, digest, tuple(Example(text, f"{name}, text {i}") for i, text in enumerate(every)))

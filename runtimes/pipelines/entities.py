"""Tokens with label scores to entities: the aggregation strategies of the transformers library's pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from runtimes.pipelines.results import Result

AGGREGATIONS = ("none", "simple", "first", "average", "max")


class Joiner(Protocol):
    """Makes text of tokens: a tokenizer."""

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str: ...


@dataclass(frozen=True)
class Entity(Result):
    """A labelled part of a text.

    Args:
        label: without its B- or I- where tokens are joined.
        score: mean probability of its tokens' (or words') labels.
        word: its tokens as text, as the tokenizer normalises them; the text itself is text[start:end].
        start, end: its first and past-the-last character.
        index: which token it is, where tokens are not joined.
    """

    label: str
    score: float
    word: str
    start: int
    end: int
    index: int | None


@dataclass(frozen=True, eq=False)
class Piece:
    """One token: its text, the probability of each label [N], its place, and whether it continues a word."""

    word: str
    scores: np.ndarray
    labels: tuple[str, ...]
    start: int
    end: int
    index: int
    continues: bool

    def labelled(self) -> Entity:
        """The token with its likeliest label."""
        best = int(self.scores.argmax())
        return Entity(self.labels[best], float(self.scores[best]), self.word, self.start, self.end, self.index)


def aggregate(pieces: Sequence[Piece], aggregation: str, joiner: Joiner) -> list[Entity]:
    """The entities of one window, those with ignorable labels included; `aggregation` is one of `AGGREGATIONS`."""
    if aggregation in ("none", "simple"):
        labelled = [piece.labelled() for piece in pieces]
    else:
        labelled = [_label_word(word, aggregation, joiner) for word in _words(pieces)]
    return labelled if aggregation == "none" else _join(labelled, joiner)


def _words(pieces: Sequence[Piece]) -> list[list[Piece]]:
    words: list[list[Piece]] = []
    for piece in pieces:
        if words and piece.continues:
            words[-1].append(piece)
        else:
            words.append([piece])
    return words


def _label_word(word: Sequence[Piece], aggregation: str, joiner: Joiner) -> Entity:
    """One label for all tokens of a word."""
    if aggregation == "first":
        scores = word[0].scores
    elif aggregation == "max":
        scores = max(word, key=lambda piece: float(piece.scores.max())).scores
    else:
        scores = np.mean([piece.scores for piece in word], axis=0)
    best = int(scores.argmax())
    text = joiner.convert_tokens_to_string([piece.word for piece in word])
    return Entity(word[0].labels[best], float(scores[best]), text, word[0].start, word[-1].end, None)


def _join(labelled: Sequence[Entity], joiner: Joiner) -> list[Entity]:
    """Neighbours of the same kind become one entity, unless the later one is marked as a beginning."""
    groups: list[list[Entity]] = []
    for entity in labelled:
        beginning, kind = _tag(entity.label)
        if groups and not beginning and kind == _tag(groups[-1][-1].label)[1]:
            groups[-1].append(entity)
        else:
            groups.append([entity])
    return [
        Entity(
            label=group[0].label.split("-", 1)[-1],
            score=float(np.mean([entity.score for entity in group])),
            word=joiner.convert_tokens_to_string([entity.word for entity in group]),
            start=group[0].start,
            end=group[-1].end,
            index=None,
        )
        for group in groups
    ]


def _tag(label: str) -> tuple[bool, str]:
    """Whether `label` marks a beginning, and its kind; a label without B- or I- continues its like."""
    if label.startswith(("B-", "I-")):
        return label[0] == "B", label[2:]
    return False, label


def without_overlaps(windows: Sequence[Sequence[Entity]]) -> list[Entity]:
    """The entities of overlapping windows as one list: of two that overlap the longer one, or the more certain."""
    if len(windows) == 1:
        return list(windows[0])
    kept: list[Entity] = []
    for entity in sorted((entity for window in windows for entity in window), key=lambda entity: entity.start):
        if not kept or not kept[-1].start <= entity.start < kept[-1].end:
            kept.append(entity)
        elif _rank(entity) > _rank(kept[-1]):
            kept[-1] = entity
    return kept


def _rank(entity: Entity) -> tuple[int, float]:
    return entity.end - entity.start, entity.score

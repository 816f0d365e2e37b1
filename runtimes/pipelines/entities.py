"""Tokens with label scores to entities: the aggregation strategies of the transformers library's pipeline, and `word`.

They differ from that library's where it is wrong: it takes a token for a word's later piece when it is shorter or
longer than its text, as every token of decomposed (NFD) or Korean text is for an uncased tokenizer, and glues it to the
word before; it cuts labels at their first hyphen, whatever stands there; it knows no other scheme than B- and I-.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from runtimes.pipelines.results import Result

#: `word` is the one strategy whose entities never end within a word.
WORD = "word"
AGGREGATIONS = ("none", "simple", "first", "average", "max", WORD)

#: BIO, BIOES, BILOU and BMES: letters that begin an entity or stand for a whole one, that continue one, that end one.
_PREFIX = re.compile(r"([BIESLUM])-(.+)")
_BEGINS, _ENDS = "BSU", "ESLU"


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
    """One token: its text, the probability of each label [N], its place, and whether it continues a word.

    `word_id` is which of the tokenizer's words it belongs to; None where that is not known.
    """

    word: str
    scores: np.ndarray
    labels: tuple[str, ...]
    start: int
    end: int
    index: int
    continues: bool
    word_id: int | None = None

    def labelled(self) -> Entity:
        """The token with its likeliest label."""
        best = int(self.scores.argmax())
        return Entity(self.labels[best], float(self.scores[best]), self.word, self.start, self.end, self.index)


@dataclass(frozen=True)
class _Tag:
    """What a label says: its kind, and whether an entity begins or ends with it. One without a prefix continues."""

    kind: str
    begins: bool = False
    ends: bool = False


def aggregate(pieces: Sequence[Piece], aggregation: str, joiner: Joiner) -> list[Entity]:
    """The entities of one window, those with ignorable labels included; `aggregation` is one of `AGGREGATIONS`."""
    if aggregation in ("none", "simple"):
        labelled = [piece.labelled() for piece in pieces]
    else:
        labelled = [_label_word(word, aggregation, joiner) for word in _words(pieces)]
    if aggregation == "none" or not pieces:
        return labelled
    return _join(labelled, _tags(pieces[0].labels), joiner)


def in_whole_words(windows: Sequence[Sequence[Piece]], ends: Mapping[int, int]) -> list[Piece]:
    """The tokens of overlapping windows, each once and in order, from the window that shows most on both sides of it.

    They continue a word where the tokenizer says so. `ends`: where words end whose last tokens are in no window.
    """
    found: dict[tuple[int, int, int | None, str], tuple[int, Piece]] = {}
    for window in windows:
        for place, piece in enumerate(window):
            shown = min(place, len(window) - 1 - place)
            key = (piece.start, piece.end, piece.word_id, piece.word)  # a syllable may be several tokens
            if key not in found or shown > found[key][0]:
                found[key] = (shown, piece)
    pieces: list[Piece] = []
    for _, piece in sorted(found.values(), key=lambda item: (item[1].start, item[1].end)):
        continues = bool(pieces) and piece.word_id is not None and piece.word_id == pieces[-1].word_id
        pieces.append(replace(piece, continues=continues))
    if pieces and (last := pieces[-1]).word_id in ends:
        pieces[-1] = replace(last, end=max(last.end, ends[last.word_id]))  # type: ignore[index]
    return pieces


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


def _join(labelled: Sequence[Entity], tags: Mapping[str, _Tag], joiner: Joiner) -> list[Entity]:
    """Neighbours of the same kind become one entity, unless the earlier one ends it or the later one begins another."""
    groups: list[list[Entity]] = []
    for entity in labelled:
        tag, last = tags[entity.label], tags[groups[-1][-1].label] if groups else None
        if last is not None and tag.kind == last.kind and not tag.begins and not last.ends:
            groups[-1].append(entity)
        else:
            groups.append([entity])
    return [
        Entity(
            label=tags[group[0].label].kind,
            score=float(np.mean([entity.score for entity in group])),
            word=joiner.convert_tokens_to_string([entity.word for entity in group]),
            start=group[0].start,
            end=group[-1].end,
            index=None,
        )
        for group in groups
    ]


def _tags(labels: Sequence[str]) -> dict[str, _Tag]:
    """What each label says. Letters before a hyphen mean something only in a model that has labels with B- or I-."""
    if not any(label.startswith(("B-", "I-")) for label in labels):
        return {label: _Tag(label) for label in labels}
    matches = {label: _PREFIX.fullmatch(label) for label in labels}
    return {
        label: _Tag(match[2], match[1] in _BEGINS, match[1] in _ENDS) if match else _Tag(label)
        for label, match in matches.items()
    }


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

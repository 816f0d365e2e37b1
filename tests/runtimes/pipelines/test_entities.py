"""Aggregation of tokens to entities, case by case; the comparison with transformers is in tests/parity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from runtimes.pipelines.entities import Entity, Piece, aggregate, without_overlaps

LABELS = ("O", "B-A", "I-A", "B-C", "I-C")


class Joiner:
    """Joins tokens as a word piece tokenizer does."""

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens).replace(" ##", "")


def pieces(*described: tuple[str, str, float]) -> list[Piece]:
    """Tokens of (text, label, score); the rest of the probability goes to O, or to I-C where O is the label."""
    made, at = [], 0
    for index, (word, label, score) in enumerate(described, start=1):
        scores = np.zeros(len(LABELS), np.float32)
        scores[0 if label != "O" else 4] = 1 - score
        scores[LABELS.index(label)] = score
        continues = word.startswith("##")
        start = at if continues else at + 1
        at = start + len(word.removeprefix("##"))
        made.append(Piece(word, scores, LABELS, start, at, index, continues))
    return made


def summary(entities: Sequence[Entity]) -> list[tuple[str, str]]:
    return [(entity.label, entity.word) for entity in entities]


MICROSOFT = pieces(("micro", "B-A", 0.9), ("##soft", "I-C", 0.95), ("company", "I-C", 0.6), ("is", "O", 0.99))


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("none", [("B-A", "micro"), ("I-C", "##soft"), ("I-C", "company"), ("O", "is")]),
        ("simple", [("A", "micro"), ("C", "##soft company"), ("O", "is")]),
        ("first", [("A", "microsoft"), ("C", "company"), ("O", "is")]),
        ("max", [("C", "microsoft company"), ("O", "is")]),
        ("average", [("C", "microsoft company"), ("O", "is")]),
    ],
)
def test_strategies(aggregation: str, expected: list[tuple[str, str]]) -> None:
    assert summary(aggregate(MICROSOFT, aggregation, Joiner())) == expected


def test_scores_are_means_and_places_span_the_group() -> None:
    found = aggregate(pieces(("new", "B-A", 0.8), ("york", "I-A", 0.6)), "simple", Joiner())
    assert len(found) == 1
    assert found[0].score == pytest.approx(0.7)
    assert (found[0].start, found[0].end, found[0].index) == (1, 9, None)


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        (["B-A", "I-A", "I-A"], 1),
        (["B-A", "B-A", "I-A"], 2),
        (["I-A", "I-A"], 1),
        (["B-A", "I-C"], 2),
        (["I-A", "B-A"], 2),
        (["B-A", "O", "I-A"], 3),
    ],
)
def test_b_starts_an_entity_and_i_continues_one(labels: list[str], groups: int) -> None:
    found = aggregate(pieces(*[(f"w{i}", label, 0.9) for i, label in enumerate(labels)]), "simple", Joiner())
    assert len(found) == groups


def test_a_word_that_starts_with_a_later_piece_is_a_word() -> None:
    assert summary(aggregate(pieces(("##soft", "B-A", 0.9)), "first", Joiner())) == [("A", "##soft")]


def test_no_tokens_no_entities() -> None:
    for aggregation in ("none", "simple", "first", "average", "max"):
        assert aggregate([], aggregation, Joiner()) == []


def entity(start: int, end: int, score: float = 0.5) -> Entity:
    return Entity("A", score, "x", start, end, None)


def test_of_two_that_overlap_the_longer_then_the_more_certain_stays() -> None:
    first, longer = entity(0, 5), entity(3, 9)
    assert without_overlaps([[first], [longer]]) == [longer]
    certain = entity(0, 5, 0.9)
    assert without_overlaps([[first], [certain]]) == [certain]
    assert without_overlaps([[first, entity(5, 7)], [entity(6, 7)]]) == [first, entity(5, 7)]


def test_one_window_stays_as_it_is() -> None:
    overlapping = [entity(3, 9), entity(0, 5)]
    assert without_overlaps([overlapping]) == overlapping

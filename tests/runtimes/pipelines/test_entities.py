"""Aggregation of tokens to entities, case by case; the comparison with transformers is in tests/parity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from runtimes.pipelines.entities import Entity, Piece, aggregate, in_whole_words, without_overlaps

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


def label_of(label: str, *labels: str) -> str:
    """What a joined entity of that label is called, in a model that has `labels`, too."""
    scores = np.eye(1 + len(labels), dtype=np.float32)[0]
    (found,) = aggregate([Piece("w", scores, (label, *labels), 0, 1, 1, False)], "simple", Joiner())
    return found.label


@pytest.mark.parametrize(
    ("label", "others", "expected"),
    [
        ("B-O", ("O",), "O"),  # no entity
        ("non-profit", ("O", "city-state"), "non-profit"),
        ("non-profit", ("O", "B-PER"), "non-profit"),
        ("E-commerce", ("O", "Retail"), "E-commerce"),
        ("E-PER", ("O", "B-PER"), "PER"),
        ("B-non-profit", ("O",), "non-profit"),
        ("B-", ("O",), "B-"),
        ("MISC", ("O", "B-PER"), "MISC"),
        ("LABEL_0", (), "LABEL_0"),
    ],
)
def test_names_of_kinds(label: str, others: tuple[str, ...], expected: str) -> None:
    assert label_of(label, *others) == expected


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        (["B-A", "I-A", "E-A", "I-A"], ["w0 w1 w2", "w3"]),
        (["S-A", "S-A"], ["w0", "w1"]),
        (["U-A", "L-A"], ["w0", "w1"]),
        (["B-A", "L-A", "B-A"], ["w0 w1", "w2"]),
        (["B-A", "M-A", "E-A", "S-A"], ["w0 w1 w2", "w3"]),
        (["A", "A", "B-A"], ["w0 w1", "w2"]),
    ],
)
def test_other_schemes(labels: list[str], groups: list[str]) -> None:
    names = ("O", "B-A", "I-A", "E-A", "S-A", "U-A", "L-A", "M-A", "A")
    made = [
        Piece(f"w{i}", np.eye(len(names), dtype=np.float32)[names.index(label)], names, i, i + 1, i, False)
        for i, label in enumerate(labels)
    ]
    assert [entity.word for entity in aggregate(made, "simple", Joiner())] == groups


def test_a_model_without_prefixes_joins_what_is_alike() -> None:
    names = ("O", "city", "river-bank")
    made = [
        Piece(f"w{i}", np.eye(3, dtype=np.float32)[label], names, i, i + 1, i, False)
        for i, label in enumerate([1, 1, 0, 2, 2, 1])
    ]
    found = [(entity.label, entity.word) for entity in aggregate(made, "simple", Joiner())]
    assert found == [("city", "w0 w1"), ("O", "w2"), ("river-bank", "w3 w4"), ("city", "w5")]


def test_windows_are_joined_token_by_token() -> None:
    def piece(at: int, word_id: int, label: int) -> Piece:
        return Piece(f"w{at}", np.eye(5, dtype=np.float32)[label], LABELS, at, at + 1, 1, False, word_id)

    first = [piece(0, 0, 1), piece(1, 1, 1), piece(2, 1, 0)]  # the last of a window knows least
    second = [piece(1, 1, 0), piece(2, 1, 1), piece(3, 1, 1), piece(4, 2, 0)]
    joined = in_whole_words([first, second], {2: 9})
    assert [(p.start, p.end, int(p.scores.argmax()), p.continues) for p in joined] == [
        (0, 1, 1, False), (1, 2, 1, False), (2, 3, 1, True), (3, 4, 1, True), (4, 9, 0, False),
    ]  # fmt: skip
    assert in_whole_words([[], []], {}) == []

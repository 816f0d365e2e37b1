"""Exact match and F1 of answers, by hand."""

from __future__ import annotations

import pytest

from export.evaluation.answer_text import exact_match, f1, words_of


def test_case_punctuation_and_articles_do_not_count() -> None:
    assert words_of("The  quick, brown (fox)!") == ["quick", "brown", "fox"]
    assert words_of("an apple a day") == ["apple", "day"]
    assert words_of("theatre") == ["theatre"]


@pytest.mark.parametrize(
    ("found", "answers", "exact", "score"),
    [
        ("the Seine", ["Seine"], 1.0, 1.0),
        ("in London", ["London"], 0.0, 2 / 3),
        ("in London", ["Paris", "in the London"], 1.0, 1.0),
        ("Paris", ["London"], 0.0, 0.0),
        ("", [], 1.0, 1.0),
        ("Paris", [], 0.0, 0.0),
        ("", ["Paris"], 0.0, 0.0),
        ("a b b", ["b b c"], 0.0, 2 * 2 / (2 + 3)),  # a is an article
    ],
)
def test_by_hand(found: str, answers: list[str], exact: float, score: float) -> None:
    assert exact_match(found, answers) == exact
    assert f1(found, answers) == pytest.approx(score)

"""Answer spans against a search of all pairs, and one probability over all windows of a context."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from runtimes.pipelines.answer_spans import Answer, AnswerOptions, SpanLogits, best_answers, span_logits
from runtimes.pipelines.encoding import Window


def window(context_words: list[int], question: int = 2) -> Window:
    """[CLS] question [SEP] context [SEP]; token i of the context is characters 3i to 3i+3 and of word `words[i]`."""
    size = len(context_words)
    return Window(
        0,
        ids=[2, *[7] * question, 3, *[8] * size, 3],
        type_ids=[0] * (question + 2) + [1] * (size + 1),
        offsets=[(0, 0), *[(0, 2)] * question, (0, 0), *[(3 * i, 3 * i + 3) for i in range(size)], (0, 0)],
        special=[1, *[0] * question, 1, *[0] * size, 1],
        words=[None, *range(question), None, *context_words, None],
        sequences=[None, *[0] * question, None, *[1] * size, None],
    )


CLS = 2
TEXT = "".join(f"{number:02d} " for number in range(100))  # token i of a context is TEXT[3 * i : 3 * i + 3]


def answers(
    windows: Sequence[SpanLogits], first_tokens: Sequence[int] = (0,), top_k: int = 1, **options: object
) -> list[tuple[int, int, float]]:
    found = best_answers(windows, first_tokens, TEXT, AnswerOptions(top_k, **options))  # type: ignore[arg-type]
    return [(answer.start, answer.end, answer.score) for answer in found]


@pytest.mark.parametrize("longest", [1, 3, 100])
@pytest.mark.parametrize("seed", range(5))
def test_the_best_spans_are_those_of_an_exhaustive_search(seed: int, longest: int) -> None:
    rng = np.random.default_rng(seed)
    row = window(list(range(9)))
    padding = 3
    starts = rng.normal(0, 3, len(row.ids) + padding).astype(np.float32)
    ends = rng.normal(0, 3, len(row.ids) + padding).astype(np.float32)
    logits = span_logits(row, starts, ends, CLS)
    found = answers([logits], top_k=12, max_answer_len=longest, to_words=False)

    legal = [0, *range(4, 13)]  # [CLS], then the context; the question, [SEP] and padding are no answers
    p_start = {i: np.exp(starts[i]) / sum(np.exp(starts[j]) for j in legal) for i in legal}
    p_end = {i: np.exp(ends[i]) / sum(np.exp(ends[j]) for j in legal) for i in legal}
    every = [
        (3 * (i - 4), 3 * (j - 4) + 3, p_start[i] * p_end[j])
        for i in legal[1:]
        for j in legal[1:]
        if i <= j < i + longest
    ]
    every.sort(key=lambda span: -span[2])
    assert [span[:2] for span in found] == [span[:2] for span in every[:12]]
    np.testing.assert_allclose([s[2] for s in found], [s[2] for s in every[:12]], rtol=1e-4)
    withnone = answers([logits], top_k=100, max_answer_len=longest, to_words=False, no_answer=True)
    assert (0, 0, pytest.approx(p_start[0] * p_end[0], rel=1e-4)) in withnone
    without = answers([span_logits(row, starts, ends, None)], top_k=100, to_words=False, no_answer=True)
    assert without[-1] == (0, 0, 0.0)  # a tokenizer whose rows begin with no such token


def test_spans_widen_to_words_whichever_window_shows_them() -> None:
    starts, ends = np.zeros(9, np.float32), np.zeros(9, np.float32)
    starts[5], ends[7] = 20, 20  # the second token of word 0, the first of word 2
    logits = span_logits(window([0, 0, 1, 2, 2]), starts, ends, CLS)
    assert answers([logits])[0][:2] == (0, 15)
    assert answers([logits], to_words=False)[0][:2] == (3, 12)
    row = window([2, 2, 3])
    rest = span_logits(
        Window(0, row.ids, row.type_ids, False, [(a + 15, b + 15) if b else (a, b) for a, b in row.offsets],
               row.special, row.words, row.sequences),
        np.full(8, -20, np.float32), np.full(8, -20, np.float32), CLS,
    )  # fmt: skip
    assert answers([logits, rest], [0, 5])[0][:2] == (0, 21)


def shown(first: int, length: int, starts: dict[int, float], ends: dict[int, float], null: float) -> SpanLogits:
    """A window from token `first` on; logits by token of the context, 0 where none is given."""
    row = window(list(range(first, first + length)))
    offsets = [
        (3 * (i - 4 + first), 3 * (i - 4 + first) + 3) if 4 <= i < 4 + length else (0, 0) for i in range(len(row.ids))
    ]
    places = np.arange(4, 4 + length)
    return SpanLogits(
        Window(0, row.ids, row.type_ids, False, offsets, row.special, row.words, row.sequences),
        places,
        np.array([starts.get(first + i, 0.0) for i in range(length)]),
        np.array([ends.get(first + i, 0.0) for i in range(length)]),
        (null, null),
    )


def test_windows_are_compared_by_their_logits() -> None:
    """A window of one token has all of its own softmax there, however unlikely the token is."""
    sure, short = shown(0, 10, {3: 9.0}, {4: 9.0}, -5.0), shown(10, 1, {}, {}, -5.0)
    (best, second) = answers([sure, short], [0, 10], top_k=2)
    assert best[:2] == (9, 15)
    assert best[2] > 0.99
    assert second[2] < 0.01


def test_what_several_windows_show_counts_once() -> None:
    starts, ends = {6: 9.0}, {7: 9.0}
    whole = answers([shown(0, 20, starts, ends, 2.0)])[0]
    cut = [shown(first, 10, starts, ends, 2.0) for first in (0, 5, 10)]
    (found,) = answers(cut, [0, 5, 10])
    assert found[:2] == whole[:2] == (18, 24)
    assert found[2] == pytest.approx(whole[2], rel=0.02)


def test_no_answer_is_that_of_the_window_least_sure_of_it() -> None:
    starts, ends = {2: 9.0}, {2: 9.0}
    sure, other = shown(0, 5, starts, ends, 0.0), shown(5, 5, {}, {}, 15.0)
    best, *rest = answers([sure, other], [0, 5], top_k=60, no_answer=True)
    assert best[:2] == (6, 9)
    assert best[2] > 0.99
    assert [score for start, end, score in rest if start == end] == [pytest.approx(np.exp(-18), rel=0.01)]
    (alone,) = answers([other], [5], no_answer=True)
    assert alone[:2] == (0, 0)


@pytest.mark.parametrize("seed", range(20))
def test_scores_are_parts_of_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    length, stride = int(rng.integers(2, 12)), int(rng.integers(0, 2))
    firsts = [number * (length - stride) for number in range(4)]
    logits = [(dict(enumerate(rng.normal(0, 8, 60))), dict(enumerate(rng.normal(0, 8, 60)))) for _ in firsts]
    windows = [shown(f, length, *own, float(rng.normal(0, 8))) for f, own in zip(firsts, logits, strict=True)]
    found = answers(windows, firsts, top_k=10**5, max_answer_len=100, to_words=False, no_answer=True)
    assert all(0 <= score <= 1 for _, _, score in found)
    assert sum(score for _, _, score in found) <= 1 + 1e-9
    assert len({(start, end) for start, end, _ in found}) == len(found)


def test_extreme_logits_are_no_error() -> None:
    found = answers([shown(0, 5, {1: 3e4}, {2: 3e4}, -3e4), shown(5, 5, {6: -3e4}, {}, 3e4)], [0, 5], top_k=9)
    assert found[0] == (3, 9, pytest.approx(1.0))
    assert all(np.isfinite(score) for _, _, score in found)


def test_the_same_words_add_up() -> None:
    row = shown(0, 4, {0: 5.0, 2: 4.9, 3: 4.0}, {0: 5.0, 2: 4.9, 3: 4.0}, -9.0)
    options = AnswerOptions(5, 1, False, False)
    found = best_answers([row], [0], "aa b  AA cc  ", options)
    assert [answer.answer for answer in found] == ["aa ", "cc ", "b  "]
    assert found[0].start == 0
    alone = best_answers([row], [0], "aa b  xx cc  ", options)
    assert found[0].score == pytest.approx(alone[0].score + alone[1].score)
    assert isinstance(found[0], Answer)


@pytest.mark.parametrize("null_token", [CLS, None])
def test_a_context_without_tokens_has_no_answer(null_token: int | None) -> None:
    nothing = span_logits(window([]), np.ones(5), np.ones(5), null_token)
    assert answers([nothing], top_k=3) == [(0, 0, 0.0)]
    assert answers([nothing], top_k=3, no_answer=True) == [(0, 0, 0.0 if null_token is None else 1.0)]

"""Start and end logits to answers: spans of a window, then the best over all windows of a context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtimes.pipelines.encoding import Window
from runtimes.pipelines.results import Result
from runtimes.pipelines.scores import best, softmax

_CONTEXT = 1  # the context is the second text of the pair


@dataclass(frozen=True)
class Answer(Result):
    """An answer: the text between two characters of the context, and its probability."""

    answer: str
    score: float
    start: int
    end: int


@dataclass(frozen=True)
class Candidates:
    """What one window offers: (start character, end character, score), best first, and the score of "no answer"."""

    spans: tuple[tuple[int, int, float], ...]
    no_answer: float


def window_spans(
    window: Window, start_logits: np.ndarray, end_logits: np.ndarray, count: int, max_answer_len: int, to_words: bool
) -> Candidates:
    """The `count` best spans of at most `max_answer_len` tokens.

    A span's score is P(start) P(end), each a softmax over the context's tokens and the first one, which stands for
    "no answer". `start_logits`, `end_logits` [S], padding included.
    """
    size = len(window.ids)
    allowed = np.array([sequence == _CONTEXT for sequence in window.sequences])
    legal = allowed.copy()
    legal[0] = True
    starts = softmax(np.where(legal, start_logits[:size], -np.inf))
    ends = softmax(np.where(legal, end_logits[:size], -np.inf))
    no_answer = float(starts[0] * ends[0])
    at = np.flatnonzero(allowed)
    # [n, n]: the upper triangle has end >= start, the band keeps it below max_answer_len tokens.
    scores = np.tril(np.triu(np.outer(starts[at], ends[at])), max_answer_len - 1)
    spans = []
    for flat in best(scores.ravel(), count):
        row, column = divmod(int(flat), len(at))
        if row <= column < row + max_answer_len:
            first, last = _characters(window, int(at[row]), int(at[column]), to_words)
            spans.append((first, last, float(scores[row, column])))
    return Candidates(tuple(spans), no_answer)


def _characters(window: Window, first: int, last: int, to_words: bool) -> tuple[int, int]:
    """The characters of the tokens `first` to `last`, widened to whole words as far as the window holds them."""
    if to_words:
        first_word, last_word = window.words[first], window.words[last]
        while window.sequences[first - 1] == _CONTEXT and window.words[first - 1] == first_word:
            first -= 1
        while window.sequences[last + 1] == _CONTEXT and window.words[last + 1] == last_word:
            last += 1
    return window.offsets[first][0], window.offsets[last][1]


def best_answers(windows: Sequence[Candidates], context: str, top_k: int, no_answer: bool) -> tuple[Answer, ...]:
    """The best answers over all windows; where the same words are found again, their scores are added.

    `no_answer` admits "", with the lowest score that any window gives it.
    """
    found: dict[str, Answer] = {}
    for candidates in windows:
        for start, end, score in candidates.spans:
            text = context[start:end]
            known = found.get(text.lower())
            if known is None:
                found[text.lower()] = Answer(text, score, start, end)
            else:
                found[text.lower()] = Answer(known.answer, known.score + score, known.start, known.end)
    answers = list(found.values())
    if no_answer:
        answers.append(Answer("", min(candidates.no_answer for candidates in windows), 0, 0))
    return tuple(sorted(answers, key=lambda answer: -answer.score)[:top_k])

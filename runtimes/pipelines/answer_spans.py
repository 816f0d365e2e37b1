"""Start and end logits to answers: one probability over the spans of all windows of a context.

A span's score is P(start) P(end), each a softmax over the context's tokens and the first one, which stands for "no
answer". That is what transformers gives for a context of one window. Of several, each with a softmax of its own, scores
cannot be compared, and their sums pass 1: so here

    score(i, j) = exp(start_i + end_j) / total,    total = (S + exp(null_s)) (E + exp(null_e)), without windows

with S the sum of exp(start) and E that of exp(end) over the context. With windows, S E is the sum of the windows' own
products, as a span starts and ends in one window. A token that several windows show starts spans in the one that shows
most of the text on both sides of it, as in BERT's own program for SQuAD. "No answer" counts once, by the window where
it is the least likely.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from runtimes.pipelines.encoding import Window
from runtimes.pipelines.results import Result
from runtimes.pipelines.scores import best

_CONTEXT = 1  # the context is the second text of the pair


@dataclass(frozen=True)
class Answer(Result):
    """An answer: the text between two characters of the context, and its probability."""

    answer: str
    score: float
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class SpanLogits:
    """What a model says of one window.

    Args:
        places: where the tokens of the context are in the window [n].
        starts, ends: their logits [n].
        null: start and end logit of the first token, -inf where that does not stand for "no answer".
    """

    window: Window
    places: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    null: tuple[float, float]


@dataclass(frozen=True)
class AnswerOptions:
    """What to look for.

    Args:
        top_k: most answers.
        max_answer_len: most tokens of an answer.
        no_answer: let "" be an answer.
        to_words: widen answers to whole words.
    """

    top_k: int = 1
    max_answer_len: int = 15
    no_answer: bool = False
    to_words: bool = True


def span_logits(window: Window, start_logits: np.ndarray, end_logits: np.ndarray, null_token: int | None) -> SpanLogits:
    """The logits of a window's context; `start_logits`, `end_logits` [S], padding included.

    Args:
        null_token: the id whose place at the beginning of a window stands for "no answer".
    """
    places = np.flatnonzero([sequence == _CONTEXT for sequence in window.sequences])
    starts, ends = start_logits.astype(np.float64), end_logits.astype(np.float64)
    null = (float(starts[0]), float(ends[0])) if window.ids[0] == null_token else (-np.inf, -np.inf)
    return SpanLogits(window, places, starts[places], ends[places], null)


def best_answers(
    windows: Sequence[SpanLogits], first_tokens: Sequence[int], context: str, options: AnswerOptions
) -> tuple[Answer, ...]:
    """The best answers over all windows; where the same words are found again, their scores are added.

    A context without tokens (white space) has the answer "", of score 0 unless "no answer" is one; so in transformers.

    Args:
        windows: of one context.
        first_tokens: which token of the context each begins with.
    """
    homes = _homes([len(found.places) for found in windows], first_tokens)
    null = min((found.null for found in windows), key=sum)
    total = _log_total(windows, homes, null)
    extents = _extents(windows) if options.to_words else {}
    # Several spans may widen to the same words; this is how many transformers looks at.
    count = options.top_k * 2 + 10 if options.to_words else options.top_k
    answers: dict[str, Answer] = {}
    for found, home in zip(windows, homes, strict=True):
        for first, last, score in _best_spans(found, home, total, count, options.max_answer_len):
            start, end = _characters(found.window, first, last, extents)
            text = context[start:end]
            known = answers.get(text.lower(), Answer(text, 0.0, start, end))
            answers[text.lower()] = Answer(known.answer, known.score + score, known.start, known.end)
    ranked = list(answers.values())
    if options.no_answer or not ranked:
        likely = options.no_answer and np.isfinite(sum(null))
        ranked.append(Answer("", float(np.exp(sum(null) - total)) if likely else 0.0, 0, 0))
    return tuple(sorted(ranked, key=lambda answer: -answer.score)[: options.top_k])


def _homes(lengths: Sequence[int], first_tokens: Sequence[int]) -> list[np.ndarray]:
    """For each window which of its tokens it shows with most text on both sides [n], and no window before it."""
    most = np.full(max(first + length for first, length in zip(first_tokens, lengths, strict=True)), -1)
    owner = np.zeros(len(most), int)
    for number, (first, length) in enumerate(zip(first_tokens, lengths, strict=True)):
        shown = np.minimum(np.arange(length), np.arange(length)[::-1])
        better = shown > most[first : first + length]
        most[first : first + length][better] = shown[better]
        owner[first : first + length][better] = number
    return [
        owner[first : first + length] == number
        for number, (first, length) in enumerate(zip(first_tokens, lengths, strict=True))
    ]


def _log_total(windows: Sequence[SpanLogits], homes: Sequence[np.ndarray], null: tuple[float, float]) -> float:
    """The logarithm of what all spans together are worth, starts and ends of "no answer" among them."""
    starts = [_log_sum(found.starts[home]) for found, home in zip(windows, homes, strict=True)]
    ends = [_log_sum(found.ends) for found in windows]
    own_ends = [_log_sum(found.ends[home]) for found, home in zip(windows, homes, strict=True)]
    spans = [start + end for start, end in zip(starts, ends, strict=True)]
    return _log_sum(np.array([*spans, _log_sum(starts) + null[1], null[0] + _log_sum(own_ends), sum(null)]))


def _log_sum(values: Sequence[float] | np.ndarray) -> float:
    """log(sum(exp(values))), -inf of none."""
    array = np.asarray(values, np.float64)
    largest = array.max(initial=-np.inf)
    return float(largest + np.log(np.exp(array - largest).sum())) if np.isfinite(largest) else -np.inf


def _best_spans(
    found: SpanLogits, home: np.ndarray, total: float, count: int, longest: int
) -> list[tuple[int, int, float]]:
    """(place of the first token, of the last, score) of the `count` best spans of a window, best first."""
    # [n, n]: the upper triangle has end >= start, the band keeps it below `longest` tokens.
    legal = np.tril(np.triu(np.ones((len(home), len(home)), bool)), longest - 1) & home[:, None]
    scores = np.where(legal, np.exp(found.starts[:, None] + found.ends[None, :] - total), -1.0)
    spans = []
    for flat in best(scores.ravel(), count):
        row, column = divmod(int(flat), len(home))
        if legal[row, column]:
            spans.append((int(found.places[row]), int(found.places[column]), float(scores[row, column])))
    return spans


def _extents(windows: Sequence[SpanLogits]) -> dict[int, tuple[int, int]]:
    """First and past-the-last character of every word of the context, whichever windows its tokens are in."""
    extents: dict[int, tuple[int, int]] = {}
    for found in windows:
        for place in found.places:
            word, (start, end) = found.window.words[place], found.window.offsets[place]
            if word is not None:
                first, last = extents.get(word, (start, end))
                extents[word] = (min(first, start), max(last, end))
    return extents


def _characters(window: Window, first: int, last: int, extents: Mapping[int, tuple[int, int]]) -> tuple[int, int]:
    """The characters of the tokens `first` to `last`, widened to those of their words that `extents` has."""
    start, end = window.offsets[first][0], window.offsets[last][1]
    first_word, last_word = window.words[first], window.words[last]
    start = extents.get(first_word, (start, end))[0] if first_word is not None else start
    return start, extents.get(last_word, (start, end))[1] if last_word is not None else end

"""Answer spans against a search of all pairs, and the merging of windows."""

from __future__ import annotations

import numpy as np
import pytest

from runtimes.pipelines.answer_spans import Answer, Candidates, best_answers, window_spans
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


@pytest.mark.parametrize("longest", [1, 3, 100])
@pytest.mark.parametrize("seed", range(5))
def test_the_best_spans_are_those_of_an_exhaustive_search(seed: int, longest: int) -> None:
    rng = np.random.default_rng(seed)
    row = window(list(range(9)))
    padding = 3
    starts = rng.normal(0, 3, len(row.ids) + padding).astype(np.float32)
    ends = rng.normal(0, 3, len(row.ids) + padding).astype(np.float32)
    found = window_spans(row, starts, ends, 12, longest, to_words=False)

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
    assert [span[:2] for span in found.spans] == [span[:2] for span in every[:12]]
    np.testing.assert_allclose([s[2] for s in found.spans], [s[2] for s in every[:12]], rtol=1e-4)
    assert found.no_answer == pytest.approx(p_start[0] * p_end[0], rel=1e-4)


def test_spans_widen_to_words_within_the_context() -> None:
    row = window([0, 0, 1, 2, 2])
    logits = np.zeros(len(row.ids), np.float32)
    starts, ends = logits.copy(), logits.copy()
    starts[5], ends[7] = 20, 20  # the second token of word 0, the first of word 2
    assert window_spans(row, starts, ends, 1, 15, to_words=True).spans[0][:2] == (0, 15)
    assert window_spans(row, starts, ends, 1, 15, to_words=False).spans[0][:2] == (3, 12)


def test_the_same_words_from_several_windows_add_up() -> None:
    context = "Rome or rome or Oslo"
    windows = [Candidates(((0, 4, 0.3), (16, 20, 0.4)), 0.2), Candidates(((8, 12, 0.25),), 0.1)]
    assert best_answers(windows, context, 5, no_answer=False) == (
        Answer("Rome", pytest.approx(0.55), 0, 4),  # type: ignore[arg-type]
        Answer("Oslo", 0.4, 16, 20),
    )
    assert best_answers(windows, context, 5, no_answer=True)[-1] == Answer("", 0.1, 0, 0)
    assert len(best_answers(windows, context, 1, no_answer=True)) == 1

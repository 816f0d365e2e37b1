"""Softmax, sigmoid and the best of many, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from runtimes.pipelines.scores import best, sigmoid, softmax

LOGITS = arrays(np.float32, st.integers(1, 60), elements=st.floats(-80, 80, width=32))


@given(LOGITS)
def test_softmax_and_sigmoid_are_what_their_formulas_say(logits: np.ndarray) -> None:
    exact = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(softmax(logits), exact / exact.sum(), atol=1e-6)
    np.testing.assert_allclose(sigmoid(logits), exact / (1 + exact), atol=1e-6)


def test_nothing_overflows() -> None:
    huge = np.array([-1.6e38, 0.0, 1.6e38], np.float32)
    with np.errstate(over="raise", invalid="raise"):
        np.testing.assert_array_equal(softmax(huge), [0, 0, 1])
        np.testing.assert_array_equal(sigmoid(huge), [0, 0.5, 1])


@given(LOGITS, st.integers(1, 80))
def test_best_are_the_first_of_a_stable_sort(scores: np.ndarray, count: int) -> None:
    found = best(scores, count)
    assert len(found) == min(count, len(scores))
    np.testing.assert_array_equal(scores[found], np.sort(scores)[::-1][:count])


@pytest.mark.parametrize("size", [5, 500])
def test_equals_come_in_the_order_of_their_indices(size: int) -> None:
    scores = np.zeros(size, np.float32)
    scores[3] = 1.0
    assert best(scores, 1).tolist() == [3]
    assert set(best(np.ones(size), 4).tolist()) <= set(range(size))
    assert best(np.array([]), 3).tolist() == []

"""Figures: against values worked out by hand, against scipy and scikit-learn, and what must hold for any input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from export.evaluation.metrics import (
    agreement,
    binary_kl_divergence,
    cosines,
    kl_divergence,
    nearest_neighbours,
    neighbour_agreement,
    pair_similarities,
    ranks,
    spearman,
    top_overlap,
)

vectors = arrays.arrays(np.float64, (7, 3), elements=st.floats(-100, 100).map(lambda x: round(x, 3)))
numbers = arrays.arrays(np.float64, 9, elements=st.integers(-4, 4).map(float))


def test_cosines_by_hand() -> None:
    a = np.array([[1.0, 0], [3, 4], [1, 1], [0, 0], [0, 0]], np.float32)
    b = np.array([[0, 2.0], [6, 8], [-1, -1], [0, 0], [1, 0]], np.float32)
    np.testing.assert_allclose(cosines(a, b), [0, 1, -1, 1, 0], atol=1e-7)


def test_cosines_of_float32_are_computed_in_float64() -> None:
    a = np.random.default_rng(0).standard_normal((4, 384)).astype(np.float32)
    np.testing.assert_allclose(cosines(a, a), 1.0, atol=1e-15)


@given(vectors, st.floats(0.1, 10))
def test_cosines_do_not_depend_on_length(a: np.ndarray, factor: float) -> None:
    b = a[::-1]
    np.testing.assert_allclose(cosines(a * factor, b), cosines(a, b), atol=1e-9)


def test_nearest_neighbours_by_hand() -> None:
    corners = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.2, 1.0]])
    assert nearest_neighbours(corners).tolist() == [1, 0, 3, 2]
    # The last vector now points between: its neighbour changes, and with it that of the third.
    moved = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [1.0, 0.3]])
    assert nearest_neighbours(moved).tolist() == [1, 0, 3, 1]
    assert neighbour_agreement(corners, moved) == 0.75


def test_a_row_is_never_its_own_neighbour_however_many_there_are() -> None:
    many = np.random.default_rng(1).standard_normal((1500, 8))  # more than one block
    found = nearest_neighbours(many)
    assert not (found == np.arange(1500)).any()
    unit = many / np.linalg.norm(many, axis=1, keepdims=True)
    for row in (0, 1023, 1024, 1499):
        similar = unit @ unit[row]
        similar[row] = -2
        assert found[row] == similar.argmax()


def test_a_single_vector_has_no_neighbour() -> None:
    with pytest.raises(ValueError, match="two vectors"):
        nearest_neighbours(np.ones((1, 3)))


def test_every_pair_counts_once() -> None:
    similar = pair_similarities(np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
    np.testing.assert_allclose(similar, [0, np.sqrt(0.5), np.sqrt(0.5)], atol=1e-12)


def test_ranks_share_what_ties_take() -> None:
    assert ranks(np.array([10.0, 30.0, 10.0, 20.0])).tolist() == [1.5, 4.0, 1.5, 3.0]
    assert ranks(np.array([5.0, 5.0, 5.0])).tolist() == [2.0, 2.0, 2.0]


def test_spearman_by_hand() -> None:
    # Ranks 1 2 3 4 5 against 2 1 4 3 5: 1 - 6 * (1 + 1 + 1 + 1) / (5 * 24) = 0.8
    assert spearman(np.array([1.0, 2, 3, 4, 5]), np.array([20.0, 10, 40, 30, 50])) == pytest.approx(0.8)
    assert spearman(np.arange(5.0), -(np.arange(5.0) ** 3)) == -1.0


@given(numbers, numbers)
def test_spearman_is_that_of_scipy(a: np.ndarray, b: np.ndarray) -> None:
    stats = pytest.importorskip("scipy.stats")
    if len(set(a)) > 1 and len(set(b)) > 1:
        assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    else:
        assert spearman(a, b) == float(len(set(a)) == len(set(b)) == 1)


@given(numbers)
def test_ranks_are_those_of_scipy(values: np.ndarray) -> None:
    stats = pytest.importorskip("scipy.stats")
    np.testing.assert_array_equal(ranks(values), stats.rankdata(values))


def test_kl_by_hand() -> None:
    # Probabilities 1/2, 1/2 against 1/4, 3/4: 1/2 ln 2 + 1/2 ln 2/3 = 1/2 ln 4/3.
    p, q = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
    assert kl_divergence(p, q)[0] == pytest.approx(0.5 * np.log(4 / 3))
    assert binary_kl_divergence(np.array([0.0]), np.array([np.log(0.25 / 0.75)]))[0] == pytest.approx(
        0.5 * np.log(4 / 3)
    )


@given(vectors)
def test_kl_is_that_of_scipy_and_never_negative(logits: np.ndarray) -> None:
    special = pytest.importorskip("scipy.special")
    p, q = logits / 10, logits[::-1] / 10
    expected = special.rel_entr(special.softmax(p, axis=1), special.softmax(q, axis=1)).sum(axis=1)
    np.testing.assert_allclose(kl_divergence(p, q), expected, atol=1e-9)
    assert (kl_divergence(p, q) >= 0).all()
    np.testing.assert_array_equal(kl_divergence(p, p), 0.0)


def test_kl_of_huge_logits_is_finite() -> None:
    assert np.isfinite(kl_divergence(np.array([1e4, -1e4]), np.array([-1e4, 1e4])))


def test_agreement() -> None:
    assert agreement(np.array([1, 2, 3, 4]), np.array([1, 2, 0, 4])) == 0.75
    with pytest.raises(ValueError, match="cannot agree"):
        agreement(np.array([1]), np.array([1, 2]))
    with pytest.raises(ValueError, match="cannot agree"):
        agreement(np.array([]), np.array([]))


def test_overlap_does_not_ask_for_the_order() -> None:
    assert top_overlap(np.array([[1, 2], [3, 4]]), np.array([[2, 1], [4, 9]])) == 0.75

"""Smoothing and search: exact algebra, outliers found, choices judged on what ranges had not seen."""

from __future__ import annotations

import numpy as np
import pytest

from export.quantization.calibration import Statistics
from export.quantization.recipe import Structure
from export.quantization.search import SearchOptions, SiteSearch
from export.quantization.sensitivity import first_step
from export.quantization.sites import Site
from export.quantization.smoothing import STRENGTHS, smoothing_factors

SITE = Site("x/MatMul", "x", ("x/MatMul",), 40, 24)


def statistics(rows: np.ndarray, judge: np.ndarray) -> Statistics:
    low, high = rows.min(axis=0), rows.max(axis=0)
    both = np.concatenate([rows, judge])
    return Statistics(both.min(axis=0), both.max(axis=0), low, high, both, judge, len(both))


def search(outliers: dict[int, float], options: SearchOptions | None = None, spread: float = 1.0) -> SiteSearch:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(800, 40)).astype(np.float32) * np.exp(rng.normal(size=40) * spread).astype(np.float32)
    for channel, size in outliers.items():
        rows[:, channel] = rng.normal(size=800) * size
    weight = rng.normal(size=(40, 24)).astype(np.float32)
    return SiteSearch(SITE, statistics(rows[:400], rows[400:]), [weight], options or SearchOptions())


@pytest.mark.parametrize("strength", [0.0, 0.5, 0.8, 1.0])
def test_smoothing_changes_nothing_in_exact_arithmetic(strength: float) -> None:
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(50, 40)) * np.linspace(0.1, 30, 40), rng.normal(size=(40, 24))
    m = smoothing_factors(x.min(axis=0), x.max(axis=0), w, strength).astype(np.float64)
    np.testing.assert_allclose((x / m) @ (m[:, None] * w), x @ w, rtol=1e-9)
    assert np.log(m).mean() == pytest.approx(0, abs=1e-5)


def test_factors_follow_the_formula() -> None:
    low, high = np.array([-1.0, -8.0, -2.0]), np.array([4.0, 2.0, 1.0])
    w = np.array([[1.0, -2.0], [0.5, 0.1], [3.0, 1.0]])
    raw = np.array([4.0, 8.0, 2.0]) ** 0.7 / np.array([2.0, 0.5, 3.0]) ** 0.3
    np.testing.assert_allclose(smoothing_factors(low, high, w, 0.7), raw / np.exp(np.log(raw).mean()), rtol=1e-5)


def test_full_strength_makes_channels_equally_large() -> None:
    high = np.linspace(1, 9, 40)
    m = smoothing_factors(-high, high, np.ones((40, 3)), 1.0)
    np.testing.assert_allclose(high / m, (high / m)[0], rtol=1e-5)


def test_dead_channels_and_rows_get_finite_factors() -> None:
    high, w = np.ones(40), np.ones((40, 3))
    high[4], w[9] = 0, 0
    m = smoothing_factors(-high, high, w, 0.8)
    assert np.isfinite(m).all()
    assert (m > 0).all()
    assert np.isfinite(smoothing_factors(np.zeros(4), np.zeros(4), np.zeros((4, 2)), 0.5)).all()


@pytest.mark.parametrize("channels", [{7: 60.0}, {7: 60.0, 20: 40.0}, {1: 90.0, 2: 80.0, 3: 70.0, 4: 60.0}])
def test_the_outlier_channels_are_found_and_no_more(channels: dict[int, float]) -> None:
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1, 1, size=(300, 600)).astype(np.float32)
    for channel, size in channels.items():
        rows[:, channel] *= size
    site = Site("x/MatMul", "x", ("x/MatMul",), 600, 24)
    weight = rng.normal(size=(600, 24)).astype(np.float32)
    options = SearchOptions(compensate=False)
    recipe = SiteSearch(site, statistics(rows[:150], rows[150:]), [weight], options).decide(Structure.OUTLIERS)
    assert set(channels) <= set(recipe.outliers)
    assert len(recipe.outliers) == max(2, len(channels))
    assert not recipe.weights[0].values[list(recipe.outliers)].any()
    assert recipe.smoothing is None


def test_each_step_of_the_ladder_is_more_exact() -> None:
    one = search({7: 60.0}, spread=1.0)
    errors = [one.decide(s).error for s in (Structure.PLAIN, Structure.SMOOTHED, Structure.BOTH, Structure.FLOAT)]
    assert errors[0] > 3 * errors[1]
    assert errors == sorted(errors, reverse=True)


def test_the_error_is_that_of_the_arithmetic() -> None:
    one = search({7: 60.0}, SearchOptions(compensate=False))
    recipe = one.decide(Structure.BOTH)
    assert recipe.activation is not None
    assert recipe.smoothing is not None
    assert recipe.strength in STRENGTHS
    x, w = one._judge, one._weights[0]
    kept = (x / recipe.smoothing).copy()
    kept[:, list(recipe.outliers)] = 0
    y = recipe.activation.round_trip(kept) @ recipe.weights[0].dequantize()
    y += x[:, list(recipe.outliers)] @ w[list(recipe.outliers)]
    assert np.mean((y - x @ w) ** 2) / np.mean((x @ w) ** 2) == pytest.approx(recipe.error, rel=0.5)


def test_a_range_that_fits_its_own_half_alone_is_judged_by_the_other() -> None:
    rng = np.random.default_rng(3)
    rows, judge = rng.normal(size=(400, 40)).astype(np.float32), rng.normal(size=(400, 40)).astype(np.float32) * 1.5
    weight = rng.normal(size=(40, 24)).astype(np.float32)
    wide = SiteSearch(SITE, statistics(rows, judge), [weight], SearchOptions()).decide(Structure.PLAIN)
    same = SiteSearch(SITE, statistics(judge, judge), [weight], SearchOptions()).decide(Structure.PLAIN)
    assert wide.activation is not None
    assert same.activation is not None
    assert wide.error > same.error
    assert wide.activation.scale > same.activation.scale


@pytest.mark.parametrize("ranges", ["minmax", "percentile", "mse", "entropy", "output"])
def test_every_method_of_ranges_serves(ranges: str) -> None:
    recipe = search({}, SearchOptions(ranges=ranges), spread=0.2).decide(Structure.PLAIN)
    assert recipe.error < 0.001


def test_seven_bit_weights_stay_within_their_limit() -> None:
    recipe = search({}, SearchOptions(weight_limit=63)).decide(Structure.SMOOTHED)
    assert np.abs(recipe.weights[0].values).max() == 63


def test_pairs_stay_within_their_limit_and_float_weights_have_none() -> None:
    one = search({}, SearchOptions(pair_limit=40))
    values = one.decide(Structure.PLAIN).weights[0].values.astype(int)
    even, odd = values[0::2], values[1::2]
    assert np.abs(even + odd)[even * odd > 0].max() <= 40
    for options in (SearchOptions(pair_limit=40), SearchOptions(weight_limit=63)):
        assert np.abs(search({}, options).decide(Structure.FLOAT).weights[0].values).max() == 127


def test_rounding_by_output_is_better_on_unseen_rows() -> None:
    errors = []
    for compensate in (True, False):
        one = search({}, SearchOptions(weight_limit=7, compensate=compensate), spread=2.0)
        weight = one.decide(Structure.PLAIN).weights[0].dequantize()
        errors.append(float(np.mean((one._judge @ weight - one._wanted) ** 2)))
    assert errors[0] < errors[1]


def test_a_site_starts_as_fast_as_it_may() -> None:
    """One that narrows, that is: plain where outliers would gain little, with outliers where they gain much."""
    even, uneven = search({}, spread=0.0), search({7: 60.0}, spread=0.2)
    for one, expected in ((even, Structure.PLAIN), (uneven, Structure.OUTLIERS)):
        assert SITE.inputs > SITE.outputs
        assert first_step(one).structure is expected


def test_a_site_that_widens_is_smoothed_before_it_is_split() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(800, 40)).astype(np.float32)
    weight = rng.normal(size=(40, 60)).astype(np.float32)
    site = Site("x/MatMul", "x", ("x/MatMul",), 40, 60)
    every, one = np.repeat([0.2, 2.0], 20).astype(np.float32), np.ones(40, np.float32)
    one[7] = 50
    for factors, structure in ((1.0, Structure.PLAIN), (every, Structure.SMOOTHED), (one, Structure.BOTH)):
        uneven = rows * factors
        found = first_step(SiteSearch(site, statistics(uneven[:400], uneven[400:]), [weight], SearchOptions()))
        assert found.structure is structure


def test_ranges_are_never_narrower_than_what_was_seen() -> None:
    one = search({7: 60.0})
    recipe = one.decide(Structure.PLAIN)
    assert recipe.activation is not None
    low, high = one._statistics.low.min(), one._statistics.high.max()
    assert recipe.activation.scale >= (high - low) / 255 * 0.999

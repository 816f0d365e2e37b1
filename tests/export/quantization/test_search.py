"""Smoothing and search: exact algebra, choices judged on what ranges had not seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from export.quantization.int8.calibration import Statistics
from export.quantization.int8.groups import QuantGroup
from export.quantization.int8.ranges import SYMMETRIC, TokenRange, make_symmetric_range
from export.quantization.int8.recipe import Scheme
from export.quantization.int8.search import GroupSearch, PerToken
from export.quantization.int8.sensitivity import first_recipe
from export.quantization.int8.smoothing import make_smoothing, smoothing_factors
from export.quantization.integer_weights import round_nearest
from export.quantization.isa import ISAS, Isa

ISA = ISAS["avx512_vnni"]
GROUP = QuantGroup("x/MatMul", "x", ("x/MatMul",), 40, 24)


def statistics(rows: np.ndarray, judge: np.ndarray) -> Statistics:
    low, high = rows.min(axis=0), rows.max(axis=0)
    both = np.concatenate([rows, judge])
    return Statistics(both.min(axis=0), both.max(axis=0), low, high, both, judge, len(both))


def search(outliers: dict[int, float], isa: Isa = ISA, spread: float = 1.0) -> GroupSearch:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(800, 40)).astype(np.float32) * np.exp(rng.normal(size=40) * spread).astype(np.float32)
    for channel, size in outliers.items():
        rows[:, channel] = rng.normal(size=800) * size
    weight = rng.normal(size=(40, 24)).astype(np.float32)
    return GroupSearch(GROUP, statistics(rows[:400], rows[400:]), [weight], isa)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.8, 1.0])
def test_smoothing_changes_nothing_in_exact_arithmetic(alpha: float) -> None:
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(50, 40)) * np.linspace(0.1, 30, 40), rng.normal(size=(40, 24))
    m = smoothing_factors(x.min(axis=0), x.max(axis=0), w, alpha).astype(np.float64)
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


def test_a_shift_changes_nothing_in_exact_arithmetic_and_centres_every_channel() -> None:
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(50, 40)) + np.linspace(-30, 30, 40), rng.normal(size=(40, 24))
    smoothing = make_smoothing(x.min(axis=0), x.max(axis=0), w, 0.8, shifts=True)
    assert smoothing.shift is not None
    np.testing.assert_allclose(smoothing.of(x) @ smoothing.of_weight(w) + smoothing.shift @ w, x @ w, atol=1e-4)
    np.testing.assert_allclose(smoothing.of(x).max(axis=0), -smoothing.of(x).min(axis=0), atol=1e-4)
    assert make_smoothing(x.min(axis=0), x.max(axis=0), w, 0.8, shifts=False).shift is None


def test_a_channel_that_is_large_and_always_there_costs_nothing_once_shifted() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(800, 40)).astype(np.float32)
    rows[:, 7] += 60
    weight = rng.normal(size=(40, 24)).astype(np.float32)
    one = GroupSearch(GROUP, statistics(rows[:400], rows[400:]), [weight], ISA)
    shifted, smoothed = one.best(Scheme.SHIFTED).error, one.best(Scheme.SMOOTHED).error
    assert shifted < smoothed / 4
    recipe = one.decide(Scheme.SHIFTED)
    assert recipe.smoothing is not None
    assert recipe.smoothing.shift is not None
    assert recipe.smoothing.shift[7] == pytest.approx(60, abs=1)


def test_tokens_of_different_sizes_want_per_token_scales() -> None:
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(800, 40)) * np.exp(rng.normal(size=(800, 1)) * 2)).astype(np.float32)
    weight = rng.normal(size=(40, 24)).astype(np.float32)
    one = GroupSearch(GROUP, statistics(rows[:400], rows[400:]), [weight], ISA)
    assert one.best(Scheme.PER_TOKEN).error < one.best(Scheme.SMOOTHED).error
    assert one.best(Scheme.PER_TOKEN).granularity == PerToken(SYMMETRIC)


def test_what_lies_on_one_side_of_zero_gets_the_levels_of_that_side() -> None:
    rng = np.random.default_rng(0)
    rows = np.maximum(rng.normal(size=(800, 40)) * 3, -0.17).astype(np.float32)
    weight = rng.normal(size=(40, 24)).astype(np.float32)
    one = GroupSearch(GROUP, statistics(rows[:400], rows[400:]), [weight], ISA)
    recipe = one.decide(Scheme.PER_TOKEN)
    assert isinstance(recipe.activation, TokenRange)
    assert recipe.activation.zero_point < SYMMETRIC
    levels = recipe.activation.least / recipe.activation.top
    assert recipe.activation.zero_point * levels == pytest.approx(0.17 * 1.15, rel=0.01)


def test_each_scheme_is_more_exact_than_the_one_before() -> None:
    one = search({7: 60.0}, spread=1.0)
    errors = [one.decide(s).error for s in (Scheme.PLAIN, Scheme.SMOOTHED, Scheme.FLOAT)]
    assert errors[0] > 3 * errors[1]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("scheme", [Scheme.PLAIN, Scheme.SMOOTHED, Scheme.SHIFTED, Scheme.PER_TOKEN])
def test_the_error_is_that_of_the_arithmetic(scheme: Scheme) -> None:
    one = search({7: 60.0})
    recipe = one.decide(scheme)
    assert recipe.activation is not None
    x, w = one._judge, one._weights[0]
    rows, constant = (x, 0) if recipe.smoothing is None else (recipe.smoothing.of(x), 0)
    if recipe.smoothing is not None and recipe.smoothing.shift is not None:
        constant = recipe.smoothing.shift @ w
    # Candidates are judged with weights rounded to the nearest; rounding by output comes once, after the decision.
    weight = round_nearest(w if recipe.smoothing is None else recipe.smoothing.of_weight(w), ISA.weight_limit)
    y = recipe.activation.round_trip(rows) @ weight.dequantize() + constant
    assert np.mean((y - x @ w) ** 2) / np.mean((x @ w) ** 2) == pytest.approx(recipe.error, rel=0.5)


def test_a_range_that_fits_its_own_half_alone_is_judged_by_the_other() -> None:
    rng = np.random.default_rng(3)
    rows, judge = rng.normal(size=(400, 40)).astype(np.float32), rng.normal(size=(400, 40)).astype(np.float32) * 1.5
    weight = rng.normal(size=(40, 24)).astype(np.float32)
    wide = GroupSearch(GROUP, statistics(rows, judge), [weight], ISA).decide(Scheme.PLAIN)
    same = GroupSearch(GROUP, statistics(judge, judge), [weight], ISA).decide(Scheme.PLAIN)
    assert wide.activation is not None
    assert same.activation is not None
    assert wide.error > same.error
    assert wide.activation.scale > same.activation.scale


def test_seven_bit_weights_stay_within_their_limit() -> None:
    recipe = search({}, replace(ISA, weight_limit=63)).decide(Scheme.SMOOTHED)
    assert np.abs(recipe.weights[0].values).max() == 63


def test_pairs_stay_within_their_limit_and_float_weights_have_none() -> None:
    one = search({}, replace(ISA, pair_limit=40))
    values = one.decide(Scheme.PLAIN).weights[0].values.astype(int)
    even, odd = values[0::2], values[1::2]
    assert np.abs(even + odd)[even * odd > 0].max() <= 40
    for isa in (replace(ISA, pair_limit=40), replace(ISA, weight_limit=63)):
        assert np.abs(search({}, isa).decide(Scheme.FLOAT).weights[0].values).max() == 127


def test_rounding_by_output_is_better_on_unseen_rows() -> None:
    one = search({}, replace(ISA, weight_limit=7), spread=2.0)
    rounded = (one.decide(Scheme.PLAIN).weights[0], round_nearest(one._joined, 7))
    errors = [float(np.mean((one._judge @ (weight.dequantize() - one._joined)) ** 2)) for weight in rounded]
    assert errors[0] < errors[1]


def test_a_group_starts_as_fast_as_it_may() -> None:
    """One that narrows, that is: plain where a per-token scale would gain little, with it where it gains much."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(800, 40)).astype(np.float32)
    sizes = np.ones((800, 1), np.float32)
    sizes[::40] = 30
    weight = rng.normal(size=(40, 24)).astype(np.float32)
    for factors, expected in ((1.0, Scheme.PLAIN), (sizes, Scheme.PER_TOKEN)):
        x = rows * factors
        found = first_recipe(GroupSearch(GROUP, statistics(x[:400], x[400:]), [weight], ISA))
        assert found.scheme is expected


@pytest.mark.parametrize(("normalized", "better"), [(True, Scheme.SHIFTED), (False, Scheme.SMOOTHED)])
def test_a_group_that_widens_is_smoothed_where_channels_differ(normalized: bool, better: Scheme) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(800, 40)).astype(np.float32)
    weight = rng.normal(size=(40, 60)).astype(np.float32)
    group = QuantGroup("x/MatMul", "x", ("x/MatMul",), 40, 60, normalized)
    every = np.repeat([0.2, 2.0], 20).astype(np.float32)
    for factors, scheme in ((1.0, Scheme.PLAIN), (every, better)):
        uneven = rows * factors
        found = first_recipe(GroupSearch(group, statistics(uneven[:400], uneven[400:]), [weight], ISA))
        assert found.scheme is scheme


def test_ranges_are_never_narrower_than_what_was_seen() -> None:
    one = search({7: 60.0})
    recipe = one.decide(Scheme.PLAIN)
    assert recipe.activation is not None
    low, high = one._statistics.low.min(), one._statistics.high.max()
    assert recipe.activation.scale >= (high - low) / 255 * 0.999


def test_symmetric_ranges_have_zero_in_their_middle() -> None:
    for low, high in ((-3.0, 5.0), (-5.0, 3.0), (0.0, 0.0), (1.0, 2.0)):
        found = make_symmetric_range(low, high)
        assert found.zero_point == SYMMETRIC
        x = np.array([low, high, 0.0], np.float32)
        np.testing.assert_allclose(found.round_trip(x), x, atol=found.scale / 2 + 1e-12)


@pytest.mark.parametrize("scheme", [Scheme.PLAIN, Scheme.SMOOTHED, Scheme.SHIFTED, Scheme.PER_TOKEN])
def test_recipes_for_tensorrt_have_a_zero_point_of_zero(scheme: Scheme) -> None:
    isa = ISAS["tensorrt"]
    made = search({3: 40.0}, isa).decide(scheme)
    assert made.activation is not None
    assert made.activation.zero_point - isa.activation_offset == 0
    assert made.error < 0.01

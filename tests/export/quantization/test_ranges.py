"""Ranges: the arithmetic is that of QuantizeLinear, and no token is clipped."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_encoder import Writer, run

from export.quantization.int8.ranges import SYMMETRIC, make_range, make_token_range


@pytest.mark.parametrize(
    ("low", "high"), [(-1.0, 3.0), (-0.17, 24.6), (0.0, 5.0), (-4.0, 0.0), (0.5, 2.0), (-3.0, -1.0)]
)
def test_the_round_trip_is_that_of_the_operators(low: float, high: float) -> None:
    one = make_range(low, high)
    w = Writer()
    scale, zero = w.weight("s", np.array(one.scale)), w.weight("z", np.array(one.zero_point, np.uint8))
    y = w.op("QuantizeLinear", ["x", scale, zero], "q")
    w.op("DequantizeLinear", [y, scale, zero], "d")
    w.nodes[-1].output[0] = "y"
    model = w.model({"x": ["n"]}, {"y": ["n"]}, integers=False)
    x = np.random.default_rng(0).normal(size=4000).astype(np.float32) * 8
    np.testing.assert_allclose(run(model, x=x)["y"], one.round_trip(x), atol=one.scale * 1.01)
    assert np.mean(run(model, x=x)["y"] != one.round_trip(x)) < 0.002  # halves that 1 / scale rounds the other way


@pytest.mark.parametrize(("zero_point", "low"), [(SYMMETRIC, -5.0), (16, -0.17), (32, -0.17)])
def test_levels_of_a_token_leave_no_token_out(zero_point: int, low: float) -> None:
    """Whatever its size, a token is within half a level of what it was: of its own, or of the smallest there is."""
    levels = make_token_range(zero_point, low)
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(size=(50, 64)) * np.logspace(-2, 4, 50)[:, None], low).astype(np.float32)
    s = np.maximum((np.abs(x) if zero_point == SYMMETRIC else x).max(axis=1, keepdims=True), levels.least)
    assert (np.abs(levels.round_trip(x) - x) <= 0.501 * s / levels.top).all()
    assert not levels.round_trip(np.zeros((2, 8), np.float32)).any()
    assert levels.symmetric == (zero_point == SYMMETRIC)


def test_zero_is_exact_and_the_ends_are_covered() -> None:
    one = make_range(-1.0, 3.0)
    assert one.round_trip(np.zeros(1, np.float32))[0] == 0
    assert abs(one.round_trip(np.array([3.0], np.float32))[0] - 3) <= one.scale
    assert abs(one.round_trip(np.array([-1.0], np.float32))[0] + 1) <= one.scale


def test_a_range_of_nothing_has_a_scale() -> None:
    assert make_range(0.0, 0.0).scale > 0
    assert make_range(0.0, 0.0).round_trip(np.zeros(3, np.float32)).tolist() == [0, 0, 0]

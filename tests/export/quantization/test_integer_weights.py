"""Integer weights: limits, rounding to the nearest, and rounding that keeps the layer's output."""

from __future__ import annotations

import numpy as np
import pytest

from export.quantization.integer_weights import round_by_output, round_nearest


def _weight(rows: int = 48, columns: int = 20) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)


@pytest.mark.parametrize("limit", [127, 63, 7])
def test_nearest_is_within_half_a_step_and_uses_every_level(limit: int) -> None:
    weight = _weight()
    found = round_nearest(weight, limit)
    assert found.values.dtype == np.int8
    assert (np.abs(found.values).max(axis=0) == limit).all()
    assert (np.abs(found.dequantize() - weight) <= found.scales / 2 * 1.001).all()


def test_each_column_has_its_own_scale() -> None:
    weight = _weight()
    weight[:, 4] *= 1000
    found = round_nearest(weight, 127)
    assert found.scales[4] == pytest.approx(np.abs(weight[:, 4]).max() / 127, rel=1e-6)
    np.testing.assert_array_equal(np.delete(found.values, 4, 1), round_nearest(np.delete(weight, 4, 1), 127).values)


def test_a_column_of_zeros_stays_zero() -> None:
    weight = _weight()
    weight[:, 2] = 0
    found = round_nearest(weight, 127)
    assert np.isfinite(found.dequantize()).all()
    assert not found.dequantize()[:, 2].any()


@pytest.mark.parametrize("limit", [127, 63, 7])
def test_rounding_by_output_keeps_the_output_better(limit: int) -> None:
    rng = np.random.default_rng(3)
    weight = _weight(96, 24)
    inputs = rng.normal(size=(600, 12)) @ rng.normal(size=(12, 96)) + 0.1 * rng.normal(size=(600, 96))
    unseen = rng.normal(size=(600, 12)) @ np.linalg.lstsq(rng.normal(size=(600, 12)), inputs, rcond=None)[0]
    found, nearest = round_by_output(weight, inputs.T @ inputs, limit), round_nearest(weight, limit)
    np.testing.assert_array_equal(found.scales, nearest.scales)
    assert np.abs(found.values).max() <= limit
    for x in (inputs, unseen):
        errors = [float(np.mean((x @ (one.dequantize() - weight)) ** 2)) for one in (found, nearest)]
        assert errors[0] < 0.5 * errors[1]


def test_channels_that_never_fire_do_no_harm() -> None:
    weight = _weight()
    inputs = np.random.default_rng(4).normal(size=(300, 48))
    inputs[:, 10:14] = 0
    found = round_by_output(weight, inputs.T @ inputs, 127)
    assert (np.abs(found.dequantize() - weight) <= 3 * found.scales).all()


def test_more_rows_than_a_block() -> None:
    rng = np.random.default_rng(5)
    weight, inputs = _weight(300, 8), rng.normal(size=(900, 300))
    found = round_by_output(weight, inputs.T @ inputs, 127)
    errors = [np.mean((inputs @ (one.dequantize() - weight)) ** 2) for one in (found, round_nearest(weight, 127))]
    assert errors[0] <= errors[1]

"""The figures of MLPerf's scenarios, on latencies that are known."""

from __future__ import annotations

import numpy as np
import pytest

from bert_onnx.errors import UsageError
from runtimes.bench.compare import mean_interval, ratio
from runtimes.bench.scenarios import SCENARIOS, Probe, find_scenario


def _probe(rate: float, latency: float) -> Probe:
    return Probe((latency,) * 50, rate=rate)


def test_single_stream_is_the_90th_percentile() -> None:
    latencies = tuple(float(n) for n in range(1, 101))
    assert SCENARIOS["single-stream"].figure([Probe(latencies)], 0) == pytest.approx(90.1)


def test_turns_count_together() -> None:
    halves = [Probe(tuple(map(float, range(1, 51)))), Probe(tuple(map(float, range(51, 101))))]
    assert SCENARIOS["single-stream"].figure(halves, 0) == pytest.approx(90.1)


def test_offline_is_samples_a_second() -> None:
    assert SCENARIOS["offline"].figure([Probe((500.0, 1500.0), samples=32)], 0) == pytest.approx(32.0)


def test_server_lies_between_the_rates_that_enclose_the_bound() -> None:
    probes = [_probe(200, 30), _probe(50, 10), _probe(100, 20)]
    assert SCENARIOS["server"].figure(probes, 25) == pytest.approx(150)
    assert SCENARIOS["server"].figure(probes, 20) == pytest.approx(100)


@pytest.mark.parametrize(("bound", "figure"), [(5, 0), (1000, 200)])
def test_a_server_outside_what_was_tried(bound: float, figure: float) -> None:
    assert SCENARIOS["server"].figure([_probe(50, 10), _probe(200, 30)], bound) == figure


def test_a_rate_above_one_that_failed_does_not_count() -> None:
    assert SCENARIOS["server"].figure([_probe(50, 10), _probe(100, 40), _probe(200, 15)], 20) < 100


def test_an_unknown_scenario() -> None:
    with pytest.raises(UsageError, match="choose single-stream, offline, server"):
        find_scenario("multi-stream")


@pytest.mark.parametrize("name", ["single-stream", "offline"])
def test_intervals_hold_the_true_ratio_as_often_as_they_say(name: str) -> None:
    true = 0.8 if SCENARIOS[name].lower_is_better else 1.25
    held = 0
    for seed in range(40):
        random = np.random.default_rng(seed + 100)
        first, second = (Probe(tuple(scale * random.lognormal(0, 0.2, 400))) for scale in (10.0, 8.0))
        found = ratio(SCENARIOS[name], [first], [second], 0, resamples=100)
        held += found.low < true < found.high
        assert found.is_clear
    assert held >= 34


def test_equal_ones_are_not_told_apart() -> None:
    random = np.random.default_rng(2)
    first, second = (Probe(tuple(random.lognormal(0, 0.2, 200))) for _ in range(2))
    assert not ratio(SCENARIOS["single-stream"], [first], [second], 0).is_clear


def test_short_turns_still_make_an_interval() -> None:
    turns = [[Probe((1.0,)), Probe((2.0,)), Probe((3.0,))], [Probe((2.0,)), Probe((1.5,)), Probe((4.0,))]]
    found = ratio(SCENARIOS["offline"], *turns, 0)
    assert found.low < found.high


def test_no_rate_within_the_bound_is_refused() -> None:
    with pytest.raises(UsageError, match="--latency-bound"):
        ratio(SCENARIOS["server"], [_probe(10, 50)], [_probe(10, 5)], 20)


def test_neighbours_are_drawn_together() -> None:
    """A slow drift makes single draws too sure; blocks see it."""
    drift = Probe(tuple(10 + np.sin(np.arange(512) / 80) * 5))
    flat = Probe((10.0,) * 512)
    found = ratio(SCENARIOS["offline"], [flat], [drift], 0)
    plain = mean_interval(list(drift.latencies))
    assert found.high / found.low > 1.5 * plain.high / plain.low - 0.5


def test_the_interval_of_a_mean() -> None:
    found = mean_interval([0.0] * 90 + [1.0] * 10)
    assert found.value == pytest.approx(0.1)
    assert 0.03 < found.low < 0.1 < found.high < 0.18

"""Two measurements: the ratio of their figures, with a confidence interval by the bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bert_onnx.errors import UsageError
from runtimes.bench.scenarios import Probe, Scenario, merged

_RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate, and the interval that holds it with `CONFIDENCE`."""

    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """A ratio of 1 is outside: the two differ."""
        return not self.low <= 1 <= self.high


def ratio(
    scenario: Scenario, first: Sequence[Probe], second: Sequence[Probe], bound: float, resamples: int = _RESAMPLES
) -> Interval:
    """The figure of `second` divided by that of `first`.

    Queries that follow each other share the machine's weather and a queue, so that blocks of neighbours are drawn and
    not single queries: the circular block bootstrap of Politis and Romano (1992), in blocks of the cube root of the
    length.

    Raises:
        UsageError: a figure is 0: no rate kept the bound.
    """
    random = np.random.default_rng(0)
    figures = scenario.figure(first, bound), scenario.figure(second, bound)
    if min(figures) <= 0:
        raise UsageError(f"no rate kept the 99th percentile within {bound:g} ms; give a larger --latency-bound.")
    # Turns of one variant are one run: a turn of three offline queries alone would never look different.
    first, second = (probes if probes[0].rate is not None else [merged(probes)] for probes in (first, second))
    drawn = []
    for _ in range(resamples):
        a, b = (scenario.figure([_resampled(probe, random) for probe in probes], bound) for probes in (first, second))
        if a > 0:
            drawn.append(b / a)
    low, high = np.percentile(drawn, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return Interval(figures[1] / figures[0], float(low), float(high))


def mean_interval(differences: Sequence[float], resamples: int = 5000) -> Interval:
    """The mean of independent differences, such as those of two variants query by query, by the plain bootstrap."""
    values = np.asarray(differences, np.float64)
    random = np.random.default_rng(0)
    means = values[random.integers(0, len(values), (resamples, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return Interval(float(values.mean()), float(low), float(high))


def _resampled(probe: Probe, random: np.random.Generator) -> Probe:
    latencies = np.asarray(probe.latencies)
    count = len(latencies)
    block = max(1, round(count ** (1 / 3)))
    starts = random.integers(0, count, -(-count // block))
    places = (starts[:, None] + np.arange(block)).ravel()[:count] % count
    return Probe(tuple(latencies[places]), probe.samples, probe.rate)

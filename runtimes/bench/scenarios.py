"""The scenarios of MLPerf inference: how queries come, and the one figure of each.

Source: MLPerf inference rules, "Scenarios" (mlcommons/inference_policies): single stream is the 90th percentile of the
latency of queries of one sample, each sent when the one before is done; offline is samples a second of one query that
holds all samples; server is the highest rate of queries of one sample, sent by a Poisson process, whose 99th percentile
of latency is within a bound. Runs here are shorter than the ten minutes that a submission needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bert_onnx.errors import UsageError

#: Percentiles that are told beside the figure.
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True)
class Probe:
    """What one run of queries gave.

    Args:
        latencies: milliseconds of each query, in the order in which they were sent; from the time at which it should
            have been sent, so that a queue counts.
        samples: how many samples a query has.
        rate: queries a second that were sent; None where each waited for the one before.
    """

    latencies: tuple[float, ...]
    samples: int = 1
    rate: float | None = None

    def percentile(self, share: float) -> float:
        """Milliseconds that `share` percent of the queries stay within."""
        return float(np.percentile(self.latencies, share))


@dataclass(frozen=True)
class Scenario:
    """One scenario.

    Args:
        title: the figure in words.
        unit: what the figure counts.
        lower_is_better: as times are.
        figure: the figure of probes, with the bound in milliseconds.
    """

    title: str
    unit: str
    lower_is_better: bool
    figure: Callable[[Sequence[Probe], float], float]


def find_scenario(name: str) -> Scenario:
    """The row called `name`.

    Raises:
        UsageError: there is none.
    """
    if name not in SCENARIOS:
        raise UsageError(f"scenario {name!r} is unknown; choose {', '.join(SCENARIOS)}.")
    return SCENARIOS[name]


def merged(probes: Sequence[Probe]) -> Probe:
    """All queries of `probes`, which are alike, as one run."""
    return Probe(tuple(one for probe in probes for one in probe.latencies), probes[0].samples, probes[0].rate)


def _single_stream(probes: Sequence[Probe], bound: float) -> float:
    return merged(probes).percentile(90)


def _offline(probes: Sequence[Probe], bound: float) -> float:
    run = merged(probes)
    return run.samples * len(run.latencies) / (sum(run.latencies) / 1000)


def _server(probes: Sequence[Probe], bound: float) -> float:
    """The rate at which the 99th percentile meets the bound, on the line between the highest rate that keeps it, below
    any that does not, and the next; 0 where the lowest does not."""
    kept, latency = 0.0, 0.0
    for probe in sorted(probes, key=lambda probe: probe.rate or 0.0):
        rate, reached = probe.rate or 0.0, probe.percentile(99)
        if reached > bound:
            share = (bound - latency) / (reached - latency)
            return kept + share * (rate - kept) if kept else 0.0
        kept, latency = rate, reached
    return kept


SCENARIOS: dict[str, Scenario] = {
    "single-stream": Scenario("90th percentile of latency", "ms", True, _single_stream),
    "offline": Scenario("throughput", "samples/s", False, _offline),
    "server": Scenario("highest rate within the bound", "queries/s", False, _server),
}

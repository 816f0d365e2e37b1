"""Sends queries to one variant on one runtime, as each scenario says, and takes their times."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from bert_onnx.artifact import Manifest
from runtimes.bench.scenarios import Probe
from runtimes.engines.base import Runtime
from runtimes.pipelines.batches import BatchOptions, token_batches
from runtimes.selection.tune import WORKLOADS, workload

Progress = Callable[[str, float], None]

#: Samples of an offline query: the lengths of `WORKLOADS["throughput"]`, two of each.
_OFFLINE = WORKLOADS["throughput"] * 2
#: Offline queries of a run at least, so that they can be resampled.
_FEWEST_OFFLINE = 3
_BATCHES = BatchOptions()
#: How the search for the highest rate goes on: wide steps until it is enclosed, then halves, until within this factor.
_WIDE, _CLOSE = 1.6, 1.05
_MOST_PROBES = 10
#: Queries that a 99th percentile needs, if they take no more than this many times the seconds of a probe.
_ENOUGH, _LONGEST = 100, 3.0
#: The least queries of a probe; and how far below what one query at a time would make the search gives up.
_FEWEST, _LOWEST = 10, 1 / 16


class Subject:
    """What takes queries: rows of random tokens, of lengths that texts have."""

    def __init__(self, runtime: Runtime, manifest: Manifest) -> None:
        self._runtime = runtime
        self._manifest = manifest
        self._random = np.random.default_rng(0)

    def run(self, lengths: Sequence[int]) -> None:
        """One call of rows of `lengths` tokens."""
        self._runtime.run(workload(self._manifest, lengths))

    def seconds(self, lengths: Sequence[int]) -> float:
        """How long one call takes."""
        begun = time.perf_counter()
        self.run(lengths)
        return time.perf_counter() - begun

    def lengths(self, count: int) -> list[int]:
        """Tokens of `count` samples, drawn anew."""
        return [int(one) for one in self._random.choice(WORKLOADS["throughput"], count)]

    def arrivals(self, rate: float, count: int) -> np.ndarray:
        """Seconds at which a Poisson process of `rate` a second sends `count` queries, float64 [count]."""
        times: np.ndarray = np.cumsum(self._random.exponential(1 / rate, count))
        return times


def single_stream(subject: Subject, seconds: float, bound: float, progress: Progress) -> list[Probe]:
    """Queries of one sample, one after the other."""
    latencies: list[float] = []
    begun = time.perf_counter()
    while (passed := time.perf_counter() - begun) < seconds or not latencies:
        progress("single-stream", min(1.0, passed / seconds))
        latencies += [subject.seconds([length]) * 1000 for length in subject.lengths(16)]
    return [Probe(tuple(latencies))]


def offline(subject: Subject, seconds: float, bound: float, progress: Progress) -> list[Probe]:
    """Queries of all samples at once, which run in batches of like length."""
    batches = [[_OFFLINE[i] for i in batch] for batch in token_batches(_OFFLINE, _BATCHES.tokens, _BATCHES.rows)]
    latencies: list[float] = []
    begun = time.perf_counter()
    while (passed := time.perf_counter() - begun) < seconds or len(latencies) < _FEWEST_OFFLINE:
        progress("offline", min(1.0, passed / seconds))
        latencies.append(1000 * sum(subject.seconds(batch) for batch in batches))
    return [Probe(tuple(latencies), samples=len(_OFFLINE))]


def server(subject: Subject, seconds: float, bound: float, progress: Progress) -> list[Probe]:
    """Runs at several rates, which enclose the highest one that keeps the 99th percentile within `bound` ms."""
    probes: list[Probe] = []
    low: float | None = None
    high: float | None = None
    rate = alone = len(WORKLOADS["throughput"]) / sum(subject.seconds([length]) for length in WORKLOADS["throughput"])
    while len(probes) < _MOST_PROBES and rate > alone * _LOWEST and not (low and high and high / low < _CLOSE):
        progress(f"server, {rate:.0f} queries a second", len(probes) / _MOST_PROBES)
        probes.append(at_rate(subject, rate, seconds / _MOST_PROBES))
        if probes[-1].percentile(99) <= bound:
            low = max(low or 0.0, rate)
        else:
            high = min(high or rate, rate)
        rate = math.sqrt(low * high) if low and high else rate * _WIDE if low else rate / _WIDE
    return probes


def at_rate(subject: Subject, rate: float, seconds: float) -> Probe:
    """Queries of one sample at `rate` a second. What waits while a batch runs is the next batch, up to the tokens and
    rows that pipelines put together."""
    count = max(_FEWEST, min(max(_ENOUGH, int(rate * seconds)), int(rate * seconds * _LONGEST)))
    due, lengths = subject.arrivals(rate, count), subject.lengths(count)
    latencies: list[float] = []
    begun = time.perf_counter()
    while len(latencies) < count:
        first, now = len(latencies), time.perf_counter() - begun
        if due[first] > now:
            time.sleep(due[first] - now)
            now = time.perf_counter() - begun
        waiting = max(1, int(np.searchsorted(due[first:], now, side="right")))
        batch = _that_fit(lengths[first : first + waiting])
        subject.run(batch)
        done = time.perf_counter() - begun
        latencies += [1000 * (done - due[first + index]) for index in range(len(batch))]
    return Probe(tuple(latencies), rate=rate)


def _that_fit(lengths: Sequence[int]) -> Sequence[int]:
    """The first of `lengths` that make one batch."""
    longest = 0
    for index, length in enumerate(lengths[: _BATCHES.rows]):
        longest = max(longest, length)
        if index and (index + 1) * longest > _BATCHES.tokens:
            return lengths[:index]
    return lengths[: _BATCHES.rows]


#: How queries are sent, by scenario.
SENDERS: dict[str, Callable[[Subject, float, float, Progress], list[Probe]]] = {
    "single-stream": single_stream,
    "offline": offline,
    "server": server,
}

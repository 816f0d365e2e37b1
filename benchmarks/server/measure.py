"""What is measured, a part a function; figures are plain numbers, so that parts of several runs make one page."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.measure import Report
from benchmarks.server.load import Load, closed_loop, open_loop
from benchmarks.server.subjects import OURS, Running, Subject, free_port, start
from benchmarks.throughput import WORKLOADS, docstrings

#: Workload -> clients that ask in turn.
CLIENTS = {"short": 32, "mixed": 16}
#: Share of the best peer's throughput that all are offered alike.
OFFERED = 0.7
#: Times the capacity.
OVERLOADS = (0.5, 1.0, 2.0)
#: What may wait in the open loop: about a second's work.
QUEUE_TOKENS = 8192

Results = dict[str, Any]


def texts_of(workload: str) -> list[str]:
    """Docstrings, short ones or mixed ones."""
    return docstrings(*WORKLOADS[workload])


def _figures(load: Load) -> Results:
    return {
        "rate": load.rate,
        "p50": load.percentile(0.5),
        "p99": load.percentile(0.99),
        "statuses": {str(status): count for status, count in sorted(load.statuses.items())},
    }


def measure_closed(running: Sequence[Running], artifact: Path, rounds: int, seconds: float, report: Report) -> Results:
    """Clients that ask again once they have an answer: every server in turns, and `embed` offline beside ours."""
    import runtimes

    names = [made.subject.name for made in running]
    models = {
        name: runtimes.load(artifact, check_hashes=False, **OURS[name])  # type: ignore[arg-type]
        for name in names if name in OURS
    }  # fmt: skip
    results: Results = {}
    for workload, clients in CLIENTS.items():
        texts = texts_of(workload)
        found: Results = {name: [] for name in names}
        offline: Results = {name: [] for name in models}
        for number in range(rounds + 1):  # the first one warms up
            counted = seconds if number else 1.0
            for made in running if number % 2 else list(reversed(running)):
                name = made.subject.name
                with made.awake():
                    load = uvloop.run(closed_loop(made.subject.port, made.subject.requests(texts), clients, counted))
                rate = _offline(models[name].embed, texts, counted / 2) if name in models else 0.0
                if number:
                    found[name].append(_figures(load))
                    report(f"{workload}, {name}: {load.rate:.1f} texts/s, offline {rate:.1f}, {dict(load.statuses)}")
                    if name in models:
                        offline[name].append(rate)
        results[workload] = {"servers": found, "offline": offline}
    return results


def _offline(embed: Callable[[list[str]], Any], texts: list[str], seconds: float) -> float:
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        embed(texts)
        count += len(texts)
    return count / (time.perf_counter() - began)


def measure_offered(running: Sequence[Running], closed: Results, seconds: float, report: Report) -> Results:
    """The same requests a second for every server: a share of what the best peer can."""
    results: Results = {}
    for workload in CLIENTS:
        rate = OFFERED * best_peer(closed[workload]["servers"])[1]
        texts, found = texts_of(workload), {}
        for made in running:
            with made.awake():
                uvloop.run(open_loop(made.subject.port, made.subject.requests(texts), rate, 1.0))
                load = uvloop.run(open_loop(made.subject.port, made.subject.requests(texts), rate, seconds))
            found[made.subject.name] = _figures(load)
            report(f"{workload}, {rate:.1f} a second, {made.subject.name}: p99 {load.percentile(0.99):.3f} s")
        results[workload] = {"offered": rate, "servers": found}
    return results


def measure_open(ours: Subject, work: Path, seconds: float, report: Report) -> Results:
    """Ours at multiples of its capacity, with a queue of `QUEUE_TOKENS`."""
    port = free_port()
    command = (*ours.command[:-1], str(port), "--max-queue-tokens", str(QUEUE_TOKENS))
    requests = ours.requests(texts_of("short"))
    with start([Subject(ours.name, command, port)], work, report) as running, running[0].awake():
        uvloop.run(closed_loop(port, requests, CLIENTS["short"], 2.0))
        capacity = uvloop.run(closed_loop(port, requests, CLIENTS["short"], seconds)).rate
        found = {}
        for times in OVERLOADS:
            load = uvloop.run(open_loop(port, requests, times * capacity, seconds))
            found[str(times)] = _figures(load) | {"offered": times * capacity}
            report(f"{times} times {capacity:.0f}: {load.rate:.1f} texts/s, p99 {load.percentile(0.99):.2f} s")
    return {"server": ours.name, "capacity": capacity, "loads": found}


def best_peer(servers: Results) -> tuple[str, float]:
    """Name and median texts a second of the fastest of the others."""
    rates = {name: median(rounds) for name, rounds in servers.items() if name not in OURS and rounds}
    return max(rates.items(), key=lambda item: item[1])


def median(rounds: Sequence[Results], key: str = "rate") -> float:
    """Of a figure over rounds."""
    return statistics.median(figure[key] for figure in rounds)

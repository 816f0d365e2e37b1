"""Loads: clients that ask again as soon as they have an answer, and requests that come at a rate, whoever waits."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.server.client import Answer, Connection

_OK = 200


@dataclass
class Load:
    """What came of a load.

    Args:
        seconds: from its first request to its end.
        statuses: how many answers of each; 0 counts connections that ended, or requests without an answer at the end.
        latencies: seconds of those with status 200.
    """

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers with status 200 a second."""
        return self.statuses[_OK] / self.seconds

    def percentile(self, share: float) -> float:
        """Seconds that this share of the answers did not exceed; infinite where there are none."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")

    def note(self, answer: Answer, seconds: float) -> None:
        """Count an answer."""
        self.statuses[answer.status] += 1
        if answer.status == _OK:
            self.latencies.append(seconds)


async def closed_loop(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """`clients` clients, each of which asks again once it has an answer."""
    load, began = Load(), time.perf_counter()
    until = began + seconds

    async def ask(seed: int) -> None:
        connection, chosen = await Connection.open(port), random.Random(seed)
        while (now := time.perf_counter()) < until:
            load.note(await connection.ask(chosen.choice(requests)), time.perf_counter() - now)
        connection.close()

    await asyncio.gather(*map(ask, range(clients)))
    load.seconds = time.perf_counter() - began
    return load


async def open_loop(port: int, requests: Sequence[bytes], rate: float, seconds: float, patience: float = 30.0) -> Load:
    """Requests of a Poisson process of `rate` a second, each on a connection that nobody uses.

    Latency counts from when a request was due. `Load.seconds` is the time in which requests came, plus what their
    answers took beyond it.
    """
    load, chosen = Load(), random.Random(0)
    idle: list[Connection] = []
    running: set[asyncio.Task[None]] = set()
    began = due = time.perf_counter()

    async def ask(data: bytes, due: float) -> None:
        connection = idle.pop() if idle else None
        if connection is None or not connection.is_open:
            connection = await Connection.open(port)
        load.note(await connection.ask(data), time.perf_counter() - due)
        if connection.is_open:
            idle.append(connection)

    while due < began + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.ensure_future(ask(chosen.choice(requests), due))
        running.add(task)
        task.add_done_callback(running.discard)
        due += chosen.expovariate(rate)
    if running:
        _, late = await asyncio.wait(running, timeout=patience)
        load.statuses += Counter([0] * len(late))
    load.seconds = time.perf_counter() - began
    for connection in idle:
        connection.close()
    return load

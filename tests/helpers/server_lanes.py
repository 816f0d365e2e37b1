"""Schedulers with a clock that tests move, and graphs that answer by a rule and remember what they ran."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from runtimes.pipelines.encoding import Window
from runtimes.server.batching.batches import Budget
from runtimes.server.batching.ledger import Ledger
from runtimes.server.batching.scheduler import Lane, Scheduler
from runtimes.server.batching.work import Group, Ticket, Work

GROUP = Group(("out",))


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Recorder:
    """An observer, and a graph: `out` is the first id of each row, times ten. Each token takes a second."""

    def __init__(self, clock: Clock, fault: Callable[[list[Window]], None] = lambda windows: None) -> None:
        self.clock = clock
        self.batches: list[list[int]] = []  # the first id of each row
        self.shapes: list[list[int]] = []  # the length of each row
        self.drops: list[tuple[int, str]] = []
        self.faults: list[Exception] = []
        self._fault = fault

    def run(self, group: Group, windows: list[Window]) -> Mapping[str, Any]:
        self.batches.append([window.ids[0] for window in windows])
        self.shapes.append([len(window.ids) for window in windows])
        self.clock.now += sum(self.shapes[-1])
        self._fault(windows)
        return {"out": np.array([window.ids[0] * 10 for window in windows])}

    def ran(self, lengths: Sequence[int], seconds: float) -> None:
        assert seconds == sum(lengths) or self._fault is not None

    def dropped(self, rows: int, reason: str) -> None:
        self.drops.append((rows, reason))

    def fault(self, error: Exception) -> None:
        self.faults.append(error)


def window(name: int, length: int) -> Window:
    """A row of `length` tokens that begins with `name`."""
    return Window(0, [name] * length, [0] * length)


def lane(
    scheduler: Scheduler,
    recorder: Recorder,
    tokens: int = 100,
    pads: bool = False,
    limit: int = 100_000,
    name: str = "m",
    enough: int | None = None,
) -> Lane:
    made = Lane(name, recorder.run, Budget(tokens, pads, enough), Ledger(limit), recorder)
    scheduler.add(made)
    return made


def ask(
    scheduler: Scheduler,
    to: Lane,
    lengths: Mapping[int, int],
    client: str = "c",
    within: float = 1e9,
    group: Group = GROUP,
) -> Work:
    """Hand in one work: rows by their name, with their lengths."""
    ticket = Ticket(client, scheduler.clock() + within)
    work = Work(ticket, group, [window(name, length) for name, length in lengths.items()])
    scheduler.admit(to, ticket, sum(lengths.values()))
    scheduler.submit(to, work)
    return work


def run_all(scheduler: Scheduler) -> None:
    while scheduler.step():
        pass

"""Whose row is next: clients take turns by tokens, and within a client short work goes before long work.

Clients are served by start tags (start-time fair queueing, Goyal et al. 1996): a client that has been served moves back
by the tokens that it got, so that one with a single text waits for at most one row of each other client. Within a
client rows are served by finish tags (self-clocked fair queueing, Golestani 1994), a flow for each work: of works that
arrive together the shorter one is done first, and since tags only grow, the longer one is never starved.
"""

from __future__ import annotations

import heapq
from itertools import count

from runtimes.server.batching.work import Row

#: So many rows that nobody wants any more may stay before they are swept out.
_SWEEP = 1024


class _Client:
    """The rows of one client."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rows: list[tuple[float, int, Row]] = []

    def push(self, row: Row, number: int) -> None:
        row.work.finish = max(self.now, row.work.finish) + row.length
        heapq.heappush(self.rows, (row.work.finish, number, row))

    def pop(self) -> Row | None:
        while self.rows:
            self.now, _, row = heapq.heappop(self.rows)
            if row.window is not None:
                return row
        return None

    def sweep(self) -> None:
        self.rows = [entry for entry in self.rows if entry[2].window is not None]
        heapq.heapify(self.rows)


class FairQueue:
    """Rows in the order in which they are to be run. Not for several threads."""

    def __init__(self) -> None:
        self._clients: dict[str, _Client] = {}
        self._turns: list[tuple[float, int, str]] = []  # a heap of (start tag, number, client), one a client
        self._now = 0.0
        self._numbers = count()
        self._dead = 0

    def push(self, row: Row) -> None:
        """Queue a row."""
        name = row.work.ticket.client
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = _Client()
            heapq.heappush(self._turns, (self._now, next(self._numbers), name))
        client.push(row, next(self._numbers))

    def pop(self) -> Row | None:
        """The next row; None where there is none. A client stays known until the others have had as much as it."""
        while self._turns:
            start, _, name = self._turns[0]
            self._now = start
            row = self._clients[name].pop()
            if row is not None:
                heapq.heapreplace(self._turns, (start + row.length, next(self._numbers), name))
                return row
            heapq.heappop(self._turns)
            del self._clients[name]
        return None

    def discarded(self, rows: int) -> None:
        """So many of the queued rows have lost their window: they are swept out when there are many."""
        self._dead += rows
        if self._dead > _SWEEP and self._dead > sum(len(client.rows) for client in self._clients.values()) // 2:
            self._dead = 0
            for client in self._clients.values():
                client.sweep()

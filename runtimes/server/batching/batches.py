"""Which rows run together: continuous batches by a budget of tokens.

A batch begins with the row whose turn it is, and takes what may run beside it, in the order of turns:
* nothing that is more than twice as long as the first row (and longer than 64 tokens), so that a short text does not
  wait for a long one: that one is the first of the next batch;
* of a graph that pads, nothing that makes more than half of the batch padding;
* up to the budget. Padding counts where the graph computes it. Where it does not, only attention is padded, so rows
  times the longest may be four times the budget.
A row that is longer than the budget runs alone. What was passed over comes first next time, in its order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from runtimes.server.batching.fair_queue import FairQueue
from runtimes.server.batching.work import Row

#: Rows of up to this many tokens count as short.
_SHORT = 64
#: Largest share of a batch's tokens that may be padding is 1 - 1 / this.
_STRETCH = 2
_ATTENTION = 4
#: Rows that are passed over at most: since they come first afterwards, whoever comes newly waits for so many.
_PASSED = 16


@dataclass(frozen=True)
class Budget:
    """How large a batch may be.

    Args:
        tokens: most tokens; those of padding count where `pads`.
        pads: whether the graph computes padding.
    """

    tokens: int
    pads: bool

    def fits(self, rows: int, total: int, longest: int) -> bool:
        """Whether `rows` rows with `total` tokens, the longest of `longest`, are within the budget."""
        padded = rows * longest
        if self.pads:
            return padded <= self.tokens and padded <= total * _STRETCH
        return total <= self.tokens and padded <= self.tokens * _ATTENTION


class BatchQueue:
    """The queue of one model. Not for several threads."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._queue = FairQueue()
        self._passed: deque[Row] = deque()

    def push(self, row: Row) -> None:
        """Queue a row."""
        self._queue.push(row)

    def discarded(self, rows: int) -> None:
        """So many queued rows have lost their window."""
        self._queue.discarded(rows)

    def pop(self, now: float) -> tuple[list[Row], list[Row]]:
        """The rows of the next batch, and rows whose deadline is before `now`, which do not run. Both may be empty."""
        batch: list[Row] = []
        passed: list[Row] = []
        expired: list[Row] = []
        total = longest = 0
        while len(passed) < _PASSED and total < self.budget.tokens:
            row = self._next()
            if row is None:
                break
            if row.work.ticket.deadline <= now:
                expired.append(row)
            elif not batch or self._joins(row, batch, total, longest):
                batch.append(row)
                total, longest = total + row.length, max(longest, row.length)
            else:
                passed.append(row)
        self._passed.extendleft(reversed(passed))
        return batch, expired

    def _next(self) -> Row | None:
        while self._passed:
            row = self._passed.popleft()
            if row.window is not None:
                return row
        return self._queue.pop()

    def _joins(self, row: Row, batch: list[Row], total: int, longest: int) -> bool:
        first = batch[0]
        return (
            row.work.group == first.work.group
            and row.length <= max(_STRETCH * first.length, _SHORT)
            and self.budget.fits(len(batch) + 1, total + row.length, max(longest, row.length))
        )

"""Which rows run together: continuous batches by a budget of tokens.

A batch begins with the row whose turn it is, and takes what may run beside it, in the order of turns: rows of like
length, and where those are too few, the nearest of the others.
* It ends with enough tokens to keep the processor busy: beyond that, rows of other lengths cost attention over padding,
  which every graph computes, and gain nothing.
* Nothing is more than twice as long as the first row (and longer than 64 tokens), so that a short text does not wait
  for a long one: that one is the first of a later batch.
* Of a graph that pads, no more than half of the batch is padding.
* It stays within the budget. Padding counts where the graph computes it. Where it does not, only attention is padded,
  so rows times the longest may be four times the budget.
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
#: Lengths that differ by less than this share are alike.
_ALIKE = 0.3
#: Budgets of tokens that are looked at: since what is passed over comes first afterwards, a newcomer waits for it.
_AHEAD = 2


@dataclass(frozen=True)
class Budget:
    """How large a batch may be.

    Args:
        tokens: most tokens; those of padding count where `pads`.
        pads: whether the graph computes padding.
        enough: tokens with which a batch is as fast a token as a larger one; None for `tokens`.
    """

    tokens: int
    pads: bool
    enough: int | None = None

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
        batch = _Batch(self.budget)
        passed: list[Row] = []
        expired: list[Row] = []
        ahead = _AHEAD * self.budget.tokens
        while ahead > 0 and not batch.is_enough:
            row = self._next()
            if row is None:
                break
            if row.work.ticket.deadline <= now:
                expired.append(row)
                continue
            ahead -= row.length
            if not batch.take(row, _ALIKE):
                passed.append(row)
        if not batch.is_enough:
            for row in sorted(passed, key=batch.distance):
                batch.take(row)
        taken = set(map(id, batch.rows))
        self._passed.extendleft(row for row in reversed(passed) if id(row) not in taken)
        return batch.rows, expired

    def _next(self) -> Row | None:
        while self._passed:
            row = self._passed.popleft()
            if row.window is not None:
                return row
        return self._queue.pop()


class _Batch:
    """The rows that are taken."""

    def __init__(self, budget: Budget) -> None:
        self.rows: list[Row] = []
        self._budget = budget
        self._total = self._longest = 0

    @property
    def is_enough(self) -> bool:
        """Whether more rows would not make it faster a token."""
        return self._total >= (self._budget.enough or self._budget.tokens)

    def distance(self, row: Row) -> int:
        """Tokens between the lengths of `row` and of the first row."""
        return abs(row.length - self.rows[0].length)

    def take(self, row: Row, alike: float = 1.0) -> bool:
        """Take `row`, if it may run beside the others and its length is not another by this share; False if not."""
        longest = max(self._longest, row.length)
        if self.rows:
            first = self.rows[0]
            if (
                self.is_enough
                or row.work.group != first.work.group
                or self.distance(row) > alike * max(first.length, row.length)
                or row.length > max(_STRETCH * first.length, _SHORT)
                or not self._budget.fits(len(self.rows) + 1, self._total + row.length, longest)
            ):
                return False
        self.rows.append(row)
        self._total, self._longest = self._total + row.length, longest
        return True

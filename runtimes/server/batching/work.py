"""What is queued: a ticket a request, a work for rows that are handed in together, a row for each window."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtimes.pipelines.encoding import Window


@dataclass(frozen=True)
class Stage:
    """What rows of a request went through: `queue` or `batch`; times are of the scheduler's clock.

    Args:
        rows: how many rows, of whomever, were in the batch.
    """

    name: str
    began: float
    ended: float
    rows: int


@dataclass(eq=False)
class Ticket:
    """One request.

    Args:
        client: whose it is: rows of different clients take turns.
        deadline: seconds of the scheduler's clock after which nobody waits for it.
        held: tokens that the ledger counts for it.
        tokens: tokens that were handed in for it, special ones included.
        ended: why it ended early; nothing of it is run any more.
        works: what of it is queued.
        stages: what its rows went through.
    """

    client: str
    deadline: float
    held: int = 0
    tokens: int = 0
    ended: Exception | None = None
    works: list[Work] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)


@dataclass(frozen=True)
class Group:
    """Rows that may be run together: they ask for the same outputs and have the same further inputs.

    Args:
        outputs: names.
        further: inputs that are the same for every row, by name; values are whole numbers.
        kept: of outputs by token, those of tokens with this id alone are wanted; None for all.
    """

    outputs: tuple[str, ...]
    further: tuple[tuple[str, int], ...] = ()
    kept: int | None = None


@dataclass(eq=False, slots=True)
class Row:
    """One window; `window` is None once nobody wants it, `taken` says that it is in a batch."""

    work: Work
    index: int
    window: Window | None
    length: int
    taken: bool = False


class Work:
    """Rows that are handed in together, and what becomes of them.

    Args:
        ticket: the request that they are of.
        group: what they are run for.
        windows: the rows, at least one.
        done: called once, on whichever thread, when all rows have results or the work has failed.
    """

    def __init__(
        self, ticket: Ticket, group: Group, windows: Sequence[Window], done: Callable[[Work], None] = lambda work: None
    ) -> None:
        self.ticket = ticket
        self.group = group
        self.rows = [Row(self, index, window, len(window.ids)) for index, window in enumerate(windows)]
        #: For each row whether the end of its text is missing.
        self.truncated = [window.truncated for window in windows]
        self.results: list[Mapping[str, Any]] = [{}] * len(self.rows)
        self.error: Exception | None = None
        self.waiting = len(self.rows)
        #: When it was queued.
        self.queued = 0.0
        #: Finish tag of its last row; see `fair_queue`.
        self.finish = 0.0
        self._done = done

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is to be run any more."""
        return self.error is not None or self.waiting == 0

    def ran(self, began: float, ended: float, rows: int) -> None:
        """Some of it was in a batch of so many rows, which is not counted yet."""
        if self.waiting == len(self.rows):
            self.ticket.stages.append(Stage("queue", self.queued, began, rows))
        self.ticket.stages.append(Stage("batch", began, ended, rows))

    def settle(self) -> None:
        """Tell whoever waits for it."""
        self._done(self)

"""Runs the queued rows of several models, a batch at a time, each with all the threads of the machine.

A lane is one model. The lane that has used least time is next, so that models share the machine by time and not by
requests. A batch that fails is halved until the rows are found that fail alone: only those are at fault.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from bert_onnx.errors import InferenceError
from runtimes.server.batching.batches import BatchQueue, Budget
from runtimes.server.batching.ledger import Ledger
from runtimes.server.batching.work import Group, Row, Ticket, Work
from runtimes.server.refusals import ExpiredError

if TYPE_CHECKING:
    import numpy as np

    from runtimes.pipelines.encoding import Window

#: Outputs by name, [B, ...], for windows.
Run = Callable[[Group, list["Window"]], Mapping[str, "np.ndarray"]]


class Observer(Protocol):
    """Is told what a lane does."""

    def ran(self, lengths: Sequence[int], seconds: float) -> None: ...
    def dropped(self, rows: int, reason: str) -> None: ...
    def fault(self, error: Exception) -> None: ...


class Lane:
    """One model: its queue, its ledger, and what runs its graph."""

    def __init__(self, name: str, run: Run, budget: Budget, ledger: Ledger, observer: Observer) -> None:
        self.name = name
        self.run = run
        self.queue = BatchQueue(budget)
        self.ledger = ledger
        self.observer = observer
        self.rows = 0
        #: Seconds that it has computed, or that it has let pass while it had nothing to do.
        self.used = 0.0


class Scheduler:
    """The queues of all models and the one thread that computes.

    `submit`, `admit` and the like may be called by any thread; `step` by one.

    Args:
        clock: seconds; deadlines are of this clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._lanes: list[Lane] = []
        self._running: Lane | None = None
        self._used = 0.0
        self._changed = threading.Condition()
        self._stopped = False

    def add(self, lane: Lane) -> None:
        """A further model."""
        with self._changed:
            self._lanes.append(lane)

    def remove(self, lane: Lane) -> bool:
        """Forget `lane`, which gets no more work; False while something of it is queued or runs."""
        with self._changed:
            if lane.rows or self._running is lane:
                return False
            self._lanes.remove(lane)
            return True

    def admit(self, lane: Lane, ticket: Ticket, tokens: int) -> None:
        """Make room for about `tokens` tokens of `ticket`. Raises QueueFullError, TooLargeError."""
        with self._changed:
            lane.ledger.check_size(tokens)
            lane.ledger.admit(ticket, tokens)

    def release(self, lane: Lane, ticket: Ticket) -> None:
        """The request is over: what was counted for it is not any more."""
        with self._changed:
            lane.ledger.change(ticket, -ticket.held)

    def submit(self, lane: Lane, work: Work) -> None:
        """Queue the rows of `work`, whose ticket was admitted.

        Raises:
            TooLargeError: the ticket has too many tokens, now that they are counted.
            Exception: what the ticket ended with.
        """
        ticket, tokens = work.ticket, sum(row.length for row in work.rows)
        with self._changed:
            if ticket.ended is not None:
                raise ticket.ended
            lane.ledger.check_size(tokens)
            ticket.tokens += tokens
            lane.ledger.change(ticket, tokens - ticket.held)
            ticket.works.append(work)
            work.queued = self.clock()
            if lane.rows == 0:
                lane.used = max(lane.used, self._used)
            lane.rows += len(work.rows)
            for row in work.rows:
                lane.queue.push(row)
            self._changed.notify()

    def cancel(self, lane: Lane, ticket: Ticket, reason: Exception) -> None:
        """End `ticket`: rows that have not begun do not run, and works that wait fail with `reason`."""
        with self._changed:
            if ticket.ended is not None:
                return
            ticket.ended = reason
            over = [work for work in ticket.works if not work.is_over]
            dropped = sum(self._fail(lane, work, reason) for work in over)
            lane.ledger.change(ticket, -ticket.held)
        if dropped:
            lane.observer.dropped(dropped, type(reason).__name__.removesuffix("Error").lower())
        for work in over:
            work.settle()

    def step(self) -> bool:
        """Run one batch; False where nothing waits."""
        with self._changed:
            self._running = None
            lanes = [lane for lane in self._lanes if lane.rows]
            if not lanes:
                return False
            lane = min(lanes, key=lambda lane: lane.used)
            self._used = lane.used
            self._running = lane
            batch, expired = lane.queue.pop(self.clock())
            lane.rows -= len(batch)
            for row in batch:
                row.taken = True
            windows = [row.window for row in batch]
        for ticket in {id(row.work.ticket): row.work.ticket for row in expired}.values():
            self.cancel(lane, ticket, ExpiredError("the deadline passed before the texts were run; come again later."))
        if batch:
            self._run(lane, batch, windows)
        return True

    def work(self) -> None:
        """Run batches until `stop`: what the computing thread does."""
        while True:
            if not self.step():
                with self._changed:
                    if self._stopped:
                        return
                    if not any(lane.rows for lane in self._lanes):
                        self._changed.wait()

    def stop(self) -> None:
        """Let `work` return once nothing waits."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _run(self, lane: Lane, batch: list[Row], windows: list[Window | None]) -> None:
        began = self.clock()
        results = _results(lane, batch[0].work.group, [window for window in windows if window is not None])
        seconds = self.clock() - began
        lengths = [row.length for row in batch]
        with self._changed:
            lane.used += seconds
            lane.ledger.ran(sum(lengths), seconds)
            over: list[Work] = []
            for work in {id(row.work): row.work for row in batch}.values():
                work.ran(began, began + seconds, len(batch))
            for row, result in zip(batch, results, strict=True):
                work = row.work
                row.window = None
                if work.is_over:  # cancelled meanwhile
                    continue
                lane.ledger.change(work.ticket, -row.length)
                if isinstance(result, Exception):
                    self._fail(lane, work, result)
                else:
                    work.results[row.index] = result
                    work.waiting -= 1
                if work.is_over:
                    over.append(work)
        lane.observer.ran(lengths, seconds)
        for error in {id(result): result for result in results if isinstance(result, Exception)}.values():
            lane.observer.fault(error)
        for work in over:
            work.ticket.works.remove(work)
            work.settle()

    def _fail(self, lane: Lane, work: Work, reason: Exception) -> int:
        """Fail `work`; rows of it that are queued lose their windows. Returns their number."""
        work.error = reason
        queued = [row for row in work.rows if row.window is not None and not row.taken]
        for row in queued:
            row.window = None
        lane.rows -= len(queued)
        lane.queue.discarded(len(queued))
        return len(queued)


def _results(lane: Lane, group: Group, windows: Sequence[Window]) -> list[Mapping[str, np.ndarray] | Exception]:
    """What each of `windows` gives, or what it fails with."""
    try:
        outputs = lane.run(group, list(windows))
    except Exception as error:
        if len(windows) == 1:
            return [error]
        middle = (len(windows) + 1) // 2
        return [*_results(lane, group, windows[:middle]), *_results(lane, group, windows[middle:])]
    for name in group.outputs:
        if len(outputs[name]) != len(windows):
            return [InferenceError(f"{name} has {len(outputs[name])} rows for {len(windows)} texts.")] * len(windows)
    return [{name: array[index] for name, array in outputs.items()} for index in range(len(windows))]

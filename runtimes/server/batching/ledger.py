"""How much waits: tokens that were admitted and are not done, of one model."""

from __future__ import annotations

import math
from collections import defaultdict

from runtimes.server.batching.work import Ticket
from runtimes.server.refusals import QueueFullError, TooLargeError

#: This part of the queue is kept for clients who have nothing in it: one client alone cannot shut out the others.
_NEWCOMERS = 8
_LONGEST_WAIT = 60
#: How much the latest batch counts for the measured speed.
_WEIGHT = 0.2


class Ledger:
    """Counts tokens of tickets. Not for several threads.

    Args:
        limit: most tokens that may wait.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.tokens = 0
        self._clients: defaultdict[str, int] = defaultdict(int)
        self._speed = 0.0

    @property
    def largest(self) -> int:
        """Most tokens of one request."""
        return self.limit - self.limit // _NEWCOMERS

    def check_size(self, tokens: int) -> None:
        """Raises TooLargeError: a request of so many tokens is never admitted."""
        if tokens > self.largest:
            raise TooLargeError(
                f"the request has {tokens} tokens, and one may have {self.largest}; send fewer or shorter texts."
            )

    def admit(self, ticket: Ticket, tokens: int) -> None:
        """Count `tokens` for `ticket`.

        Raises:
            QueueFullError: too many tokens wait already, or too many for a client who has some of them.
        """
        room = self.limit if not self._clients.get(ticket.client) else self.largest
        if self.tokens + tokens > room:
            raise QueueFullError(
                f"{self.tokens} tokens wait, and {tokens} more do not fit into the queue; come again later.",
                self.wait_seconds(),
            )
        self.change(ticket, tokens)

    def change(self, ticket: Ticket, tokens: int) -> None:
        """Count `tokens` more for `ticket`; fewer where it is negative, and never less than none."""
        tokens = max(tokens, -ticket.held)
        ticket.held += tokens
        self.tokens += tokens
        self._clients[ticket.client] += tokens
        if self._clients[ticket.client] <= 0:
            del self._clients[ticket.client]

    def ran(self, tokens: int, seconds: float) -> None:
        """A batch of `tokens` took `seconds`."""
        if seconds > 0:
            speed = tokens / seconds
            self._speed += (speed - self._speed) * (_WEIGHT if self._speed else 1.0)

    def wait_seconds(self) -> int:
        """About how long what waits will take, from 1 to 60."""
        seconds = self.tokens / self._speed if self._speed else 1.0
        return min(_LONGEST_WAIT, max(1, math.ceil(seconds)))

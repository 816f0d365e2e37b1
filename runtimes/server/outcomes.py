"""Brings outcomes from other threads to the event loop, those of a batch with one wake-up of the loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any


class Outcomes:
    """For futures of one event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[asyncio.Future[Any], Exception | None, Any]] = []

    def put(self, future: asyncio.Future[Any], error: Exception | None, value: Any) -> None:
        """Have `future` fail with `error`, or be `value`, unless it is over; may be called by any thread."""
        with self._lock:
            self._waiting.append((future, error, value))
            is_first = len(self._waiting) == 1
        if is_first:
            future.get_loop().call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        with self._lock:
            outcomes, self._waiting = self._waiting, []
        for future, error, value in outcomes:
            if future.done():
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

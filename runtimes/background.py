"""One call on a thread of its own, whose result is fetched later."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Background(Generic[Value]):
    """Runs `function` at once; `result` waits for it. concurrent.futures does the same and takes longer to import.

    The thread is no daemon: a process that exits while a library is being imported would crash.
    """

    def __init__(self, function: Callable[[], Value]) -> None:
        self._function = function
        self._values: list[Value] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._values.append(self._function())
        except BaseException as error:
            self._error = error

    def result(self) -> Value:
        """What the function returned, or the exception that it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._values[0]

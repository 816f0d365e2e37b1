"""Structured logs: one JSON object a line on standard error, without any text of a user."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Any, TextIO

import msgspec

LOGGER = logging.getLogger("bert_onnx.server")

#: Seconds for which lines may wait for others.
_GATHER = 0.05
#: Lines that wait at most while nobody reads the stream; what comes beyond them is dropped, and counted.
_WAITING = 10_000


class JsonLines(logging.Formatter):
    """A record as one line of JSON; `extra={"fields": {...}}` adds to it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(fields).decode()


class GatheredLines(logging.Handler):
    """Writes on a thread of its own, lines that come together at once: a stream that blocks does not hold requests up.

    Args:
        stream: where lines go.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: list[str] = []
        self._dropped = 0
        self._taking, self._writing = threading.Lock(), threading.Lock()
        self._come = threading.Event()
        threading.Thread(target=self._work, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line."""
        line = self.format(record)
        with self._taking:
            if len(self._lines) < _WAITING:
                self._lines.append(line)
            else:
                self._dropped += 1
        if not self._come.is_set():
            self._come.set()

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            with self._taking:
                lines, self._lines = self._lines, []
                dropped, self._dropped = self._dropped, 0
            if dropped:
                lines.append(f'{{"level":"warning","message":"{dropped} lines of the log were dropped"}}')
            if lines:
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()

    def _work(self) -> None:
        while True:
            self._come.wait()
            time.sleep(_GATHER)
            self._come.clear()
            self.flush()


def log_to_stderr() -> GatheredLines:
    """Send records of the server, uvicorn and OpenTelemetry to standard error; flush what this returns at the end."""
    handler = GatheredLines(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in ((LOGGER.name, logging.INFO), ("uvicorn", logging.WARNING), ("opentelemetry", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level)
    return handler


def log(level: int, message: str, error: BaseException | None = None, **fields: Any) -> None:
    """One line with `fields`."""
    LOGGER.log(level, message, exc_info=error, extra={"fields": fields})

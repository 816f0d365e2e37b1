"""The log is written by a thread of its own: whoever reads it slowly does not hold requests up."""

from __future__ import annotations

import io
import json
import logging
import threading
import time

import pytest

from runtimes.server import logs


class _Stuck(io.StringIO):
    """A stream that blocks until a test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        assert self.open.wait(10)
        return super().write(text)


@pytest.fixture
def stream() -> _Stuck:
    return _Stuck()


@pytest.fixture
def handler(stream: _Stuck) -> logs.GatheredLines:
    made = logs.GatheredLines(stream)
    made.setFormatter(logs.JsonLines())
    return made


def _record(message: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, "x", 1, message, None, None)


def _messages(stream: _Stuck) -> list[str]:
    return [json.loads(line)["message"] for line in stream.getvalue().splitlines()]


def test_lines_that_come_together_are_written_together(stream: _Stuck, handler: logs.GatheredLines) -> None:
    stream.open.set()
    for number in range(20):
        handler.emit(_record(str(number)))
    deadline = time.monotonic() + 5
    while len(_messages(stream)) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _messages(stream) == [str(number) for number in range(20)]
    assert stream.writes <= 3


def test_a_stream_that_blocks_holds_nobody_up(
    stream: _Stuck, handler: logs.GatheredLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_WAITING", 5)
    handler.emit(_record("first"))
    deadline = time.monotonic() + 5
    while not stream.writes and time.monotonic() < deadline:
        time.sleep(0.01)
    for number in range(8):  # nobody reads: these return at once, and five are kept
        handler.emit(_record(str(number)))
    stream.open.set()
    handler.flush()
    assert _messages(stream) == ["first", "0", "1", "2", "3", "4", "3 lines of the log were dropped"]

"""A client that costs little: it shares the machine with the server that it measures, whoever's that is.

Requests are bytes that were made beforehand; of an answer only the status and the end are looked for.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(frozen=True)
class Answer:
    """Status and body of an answer; status 0 where the connection ended before it."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Connection(asyncio.Protocol):
    """A connection that stays, with one request at a time."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._size = -1
        self._head = 0
        self._waiting: asyncio.Future[Answer] | None = None
        self.transport: Any = None

    @classmethod
    async def open(cls, port: int) -> Connection:
        """To a port of loopback. Raises OSError."""
        _, made = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return made

    @property
    def is_open(self) -> bool:
        """Whether it can be asked."""
        return self.transport is not None and not self.transport.is_closing()

    def ask(self, data: bytes) -> asyncio.Future[Answer]:
        """Send a request; the future is its answer."""
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return self._waiting

    def close(self) -> None:
        """Leave, whether or not something is under way."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._size < 0:
            end = self._received.find(_END)
            if end < 0:
                return
            self._head = end + len(_END)
            self._size = _content_length(bytes(self._received[:end]))
        if len(self._received) >= self._head + self._size:
            self._finish(Answer(int(self._received[9:12]), bytes(self._received[self._head :])))

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(Answer(0, b""))

    def _finish(self, answer: Answer) -> None:
        waiting, self._waiting = self._waiting, None
        self._received.clear()
        self._size = -1
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)


def _content_length(head: bytes) -> int:
    at = head.lower().index(_LENGTH) + len(_LENGTH)
    return int(head[at:].split(b"\r\n", 1)[0])


def post(path: str, body: Any, *headers: str) -> bytes:
    """A request as bytes; `body` is sent as JSON unless it is bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json", *headers]
    return "\r\n".join([*lines, f"content-length: {len(data)}", "", ""]).encode() + data

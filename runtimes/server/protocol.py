"""uvicorn's protocol with what it leaves open: how large headers may be, and how long they may take."""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runtimes.server.settings import Limits

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)  # fmt: skip
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def limited_protocol(limits: Limits) -> type[HttpToolsProtocol]:
    """The class for `limits`."""

    class Limited(HttpToolsProtocol):
        """A connection. Headers are under way from its first byte, or the first after a request, to their end."""

        _timer: TimerHandle | None = None
        _header_bytes = 0
        _in_headers = True

        def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait_for_headers()

        def data_received(self, data: bytes) -> None:
            if self._in_headers:
                if self._timer is None:
                    self._wait_for_headers()
                self._header_bytes += len(data)
            super().data_received(data)
            # Data that ends the headers may hold some of the body, so it is counted only while they have not ended.
            if self._in_headers and self._header_bytes > limits.header_bytes and self.parser is not None:
                self._refuse(_TOO_LARGE)

        def on_headers_complete(self) -> None:
            self._stop_waiting()
            self._in_headers = False
            if sum(len(name) + len(value) for name, value in self.headers) + len(self.url) > limits.header_bytes:
                self._refuse(_TOO_LARGE)
                return
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            super().on_message_complete()
            self._in_headers, self._header_bytes = True, 0

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _wait_for_headers(self) -> None:
            self._timer = self.loop.call_later(limits.header_seconds, self._refuse, _TOO_SLOW)

        def _stop_waiting(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _refuse(self, answer: bytes) -> None:
            self._stop_waiting()
            if not self.transport.is_closing():
                self.transport.write(answer)
                self.transport.close()

    return Limited


def uvicorn_options(limits: Limits) -> dict[str, Any]:
    """The options of a uvicorn server that keeps `limits`."""
    return {
        "http": limited_protocol(limits),
        "loop": "uvloop",
        "ws": "none",
        "lifespan": "off",
        "log_config": None,
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "limit_concurrency": limits.connections,
    }

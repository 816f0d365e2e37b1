"""A server on a free port of loopback, in threads of the test's process, and sockets to talk to it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtimes.server.model import ServedModel
from runtimes.server.serve import GracefulServer, open_service
from runtimes.server.settings import Limits, ServerSettings

#: What tests serve with: everything small and quick.
LIMITS = Limits(
    timeout=20.0, body_bytes=1 << 20, header_bytes=16 << 10, header_seconds=1.0, body_seconds=1.5, connections=50
)


class GatedRuntime:
    """The runtime of a model, which waits where a test says so, and counts what it was asked."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.rows = 0
        self.fault: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def run(self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None) -> Any:
        self.rows += len(inputs["input_ids"])
        self.entered.set()
        assert self.open.wait(30)
        if self.fault is not None:
            raise self.fault
        return self._runtime.run(inputs, outputs)


class Served:
    """What a test sees of a server."""

    def __init__(self, service: Any, ports: list[int], server: GracefulServer) -> None:
        self.service = service
        self.port = ports[0]
        self.metrics_port = ports[-1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.server = server

    def gate(self, model: str | None = None) -> GatedRuntime:
        """Puts a gate before a model's graph."""
        served = self.service.models[model] if model else next(iter(self.service.models.values()))
        gated = GatedRuntime(served._runtime)
        served._runtime = served._probe._runtime = gated
        return gated

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any, Any]:
        """Status, answer and headers of a POST; `body` is JSON, or bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._ask("POST", path, data, {"content-type": "application/json", **headers})

    def get(self, path: str, **headers: str) -> tuple[int, Any, Any]:
        """Status, answer and headers of a GET."""
        return self._ask("GET", path, None, headers)

    def _ask(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> tuple[int, Any, Any]:
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, raw, found = answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            status, raw, found = error.code, error.read(), error.headers
        return status, json.loads(raw) if "json" in found.get("content-type", "") else raw.decode(), found

    def connect(self) -> socket.socket:
        """A socket; whoever waits on it gives up after 20 seconds."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def raw(self, *parts: bytes, pause: float = 0.0) -> bytes:
        """What comes back for bytes as they are, until the server closes or nothing comes for long."""
        with self.connect() as sock:
            with contextlib.suppress(OSError):
                for part in parts:
                    sock.sendall(part)
                    time.sleep(pause)
            answer = b""
            with contextlib.suppress(OSError):
                while piece := sock.recv(65536):
                    answer += piece
                    if complete(answer):
                        break
        return answer


def complete(answer: bytes) -> bool:
    """Whether an answer with a content-length has all of it."""
    head, end, body = answer.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(end) and bool(lengths) and len(body) >= int(lengths[0])


def status(answer: bytes) -> int:
    """Of a raw answer; 0 where there is none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def request(path: str, body: bytes, *headers: bytes, method: bytes = b"POST") -> bytes:
    """A request as bytes, with a content-length unless `headers` say how long it is."""
    lines = [method + b" " + path.encode() + b" HTTP/1.1", b"host: localhost", b"content-type: application/json"]
    if not any(header.lower().startswith((b"content-length", b"transfer-encoding")) for header in headers):
        lines.append(b"content-length: " + str(len(body)).encode())
    return b"\r\n".join([*lines, *headers, b"", body])


@contextlib.contextmanager
def serving(
    *folders: Path, limits: Limits = LIMITS, pipelines: Mapping[str, Any] | None = None, **settings: Any
) -> Iterator[Served]:
    """A server of the artifacts in `folders`, and of `pipelines` by name, until the block ends: it drains and stops, or
    the test fails."""
    sockets = [socket.create_server(("127.0.0.1", 0))]
    if settings.get("metrics_port") is not None:
        sockets.append(socket.create_server(("127.0.0.1", 0)))
    service = open_service(ServerSettings(tuple(folders), port=0, limits=limits, **settings))
    for name, pipeline in (pipelines or {}).items():
        model = ServedModel(name, Path(name), pipeline, True, service.scheduler, limits, service.metrics)
        service.scheduler.add(model.lane)
        service.models[name] = model
    server = GracefulServer(service, sockets)
    ports = [sock.getsockname()[1] for sock in sockets]
    thread = threading.Thread(target=server.run, name="server", daemon=True)
    thread.start()
    try:
        yield Served(service, ports, server)
    finally:
        for model in service.models.values():
            if isinstance(model._runtime, GatedRuntime):
                model._runtime.open.set()
        server.stop()
        thread.join(30)
        assert not thread.is_alive(), "the server does not stop"
        service.close()

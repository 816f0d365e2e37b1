"""A server from its start to its end: models are opened, requests answered, and what was taken is finished."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
import uvloop

from bert_onnx.errors import UsageError
from runtimes.server.app import make_app, make_metrics_app
from runtimes.server.batching.scheduler import Scheduler
from runtimes.server.logs import log, log_to_stderr
from runtimes.server.metrics import Metrics
from runtimes.server.model import open_model
from runtimes.server.protocol import uvicorn_options
from runtimes.server.reload import reload_models
from runtimes.server.service import Service
from runtimes.server.settings import LOOPBACK, ServerSettings
from runtimes.server.tracing import open_tracing

_INTERRUPTED = 130
#: How often a draining server looks whether it is done, in seconds.
_TICK = 0.05


def serve(settings: ServerSettings) -> None:
    """Serve until SIGINT or SIGTERM: then /health/ready is off, new work is refused, what was taken is finished.

    A second signal exits at once. SIGHUP opens artifacts that were published meanwhile; see `reload`.

    Raises:
        UsageError: an address cannot be had, or a model's task is not served.
        ArtifactError, RuntimeUnavailableError, InferenceError: as `open_model`.
    """
    sockets = [_listen(settings.host, settings.port)]
    if settings.metrics_port is not None:
        sockets.append(_listen(settings.host, settings.metrics_port))
    lines = log_to_stderr()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the models are open; else it would end the process
    try:
        _serve(settings, sockets)
    finally:
        lines.flush()


def _serve(settings: ServerSettings, sockets: list[socket.socket]) -> None:
    if len(settings.folders) > 1:
        _share_threads()
    service = open_service(settings)
    if settings.host not in LOOPBACK and not settings.keys:
        log(logging.WARNING, "everybody who reaches this address can use it; --api-key-file asks for keys")
    for sock in sockets:
        log(logging.INFO, "listening", address=f"http://{settings.host}:{sock.getsockname()[1]}")
    try:
        GracefulServer(service, sockets).run()
    finally:
        service.close()
    log(logging.INFO, "stopped")


def open_service(settings: ServerSettings) -> Service:
    """All models, open and probed. Raises as `open_model` and `open_tracing`."""
    metrics, scheduler = Metrics(), Scheduler()
    tracing = open_tracing(scheduler.clock)
    models = []
    for folder in settings.folders:
        model = open_model(folder, settings, scheduler, metrics)
        models.append(model)
        about = model.description
        log(
            logging.INFO, "model", model=model.name, task=model.task, variant=about.variant,
            precision=about.precision, runtime=about.runtime.name, threads=about.runtime.threads,
        )  # fmt: skip
    return Service(settings, metrics, scheduler, models, tracing)


def _share_threads() -> None:
    """One pool for the sessions of all models, where ONNX Runtime is here."""
    from runtimes.engines.ort.shared_pool import share_threads
    from runtimes.engines.table import find_runtime

    if not find_runtime("onnxruntime-cpu").missing_modules():
        share_threads()


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises UsageError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise UsageError(f"{host}:{port} cannot be listened on: {error.strerror}; choose another --port.") from None


class GracefulServer:
    """Runs the applications of `service`, and ends them as `serve` says."""

    def __init__(self, service: Service, sockets: list[socket.socket]) -> None:
        self._service = service
        self._sockets = sockets
        self._reload = False
        apps = [make_app(service), make_metrics_app(service)][: len(sockets)]
        options = uvicorn_options(service.settings.limits)
        self.servers = [_Server(uvicorn.Config(app, **options)) for app in apps]

    def run(self) -> None:
        """Until a signal, or `stop`."""
        uvloop.run(self._run())

    def reload(self) -> None:
        """Look for newly published artifacts; may be called by any thread."""
        self._reload = True

    def stop(self) -> None:
        """Begin to end; may be called by any thread."""
        self._service.draining = True

    async def _run(self) -> None:
        before = {number: signal.signal(number, handler) for number, handler in self._handlers().items()}
        running = [
            asyncio.ensure_future(server.serve([sock]))
            for server, sock in zip(self.servers, self._sockets, strict=True)
        ]
        reloading: asyncio.Future[None] | None = None
        try:
            while not all(task.done() for task in running):
                if self._reload and (reloading is None or reloading.done()):
                    self._reload = False
                    reloading = asyncio.ensure_future(reload_models(self._service))
                if self._service.draining and not self._service.busy:
                    for server in self.servers:
                        server.should_exit = True
                await asyncio.sleep(_TICK)
            for task in running:
                task.result()
        finally:
            if reloading is not None:
                reloading.cancel()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handlers(self) -> dict[signal.Signals, Callable[[int, FrameType | None], None]]:
        """By signal; none where this is not the main thread, which alone may have them."""
        if threading.current_thread() is not threading.main_thread():
            return {}

        def end(number: int, frame: FrameType | None) -> None:
            if self._service.draining:
                os._exit(_INTERRUPTED)
            self.stop()

        return {signal.SIGINT: end, signal.SIGTERM: end, signal.SIGHUP: lambda number, frame: self.reload()}


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None."""
        yield

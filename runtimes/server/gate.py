"""What every request passes first and last: its id, its key, draining, log, metrics, and the table of errors."""

from __future__ import annotations

import hashlib
import hmac
import logging
import random
import re
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from runtimes.server.answers import error_answer
from runtimes.server.exchange import Exchange, Record
from runtimes.server.logs import log
from runtimes.server.refusals import FAULT, DrainingError, UnauthorizedError, status_of
from runtimes.server.route import Route
from runtimes.server.service import Service

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: Ids must differ, not be secret: the system is asked for randomness once, not for every request.
_IDS = random.Random()


class Keys:
    """Compares keys in constant time: by their hashes, and with every one of them."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._hashes = [hashlib.sha256(key.encode()).digest() for key in keys]

    def client(self, header: str) -> str | None:
        """A name for whoever sends `Authorization: Bearer KEY`; None where keys are not asked for.

        Raises:
            UnauthorizedError: the key is missing or wrong.
        """
        if not self._hashes:
            return None
        scheme, _, key = header.partition(" ")
        given = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).digest()
        found = [index for index, known in enumerate(self._hashes) if hmac.compare_digest(given, known)]
        if scheme.lower() != "bearer" or not found:
            raise UnauthorizedError("a key is needed: send the header Authorization: Bearer KEY.")
        return f"key {found[0]}"


class Gate:
    """Makes endpoints of handlers.

    Args:
        service: that they get.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._keys = Keys(service.settings.keys)

    def endpoint(self, route: Route) -> Callable[[Request], Awaitable[Response]]:
        """What Starlette calls for `route`."""

        async def call(request: Request) -> Response:
            return await self._call(route, request)

        return call

    async def _call(self, route: Route, request: Request) -> Response:
        service, record = self._service, Record(route.path)
        began = service.scheduler.clock()
        given = request.headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else f"{_IDS.getrandbits(128):032x}"
        service.busy += 1
        try:
            if not route.is_open:
                request.scope["bert_onnx.key"] = self._keys.client(request.headers.get("authorization", ""))
                if service.draining:
                    raise DrainingError("the server is about to stop; ask another one.", 1)
            answer = await route.handler(Exchange(request, service, record, began))
        except Exception as error:
            record.error = error
            answer = error_answer(error, request.url.path)
        finally:
            service.busy -= 1
            record.leave()
        answer.headers["x-request-id"] = request_id
        if record.items:
            answer.headers["x-compute-tokens"] = str(record.tokens)
            answer.headers["x-truncated"] = str(record.truncated)
        if service.draining or (request.method == "POST" and not record.body_read):
            answer.headers["connection"] = "close"  # else the rest of the body would be read as it comes
        seconds = service.scheduler.clock() - began
        answer.headers["server-timing"] = f"total;dur={seconds * 1000:.2f}"
        self._note(record, request_id, answer.status_code, seconds, route.is_open)
        if service.tracing is not None and not route.is_open:
            about = {
                "http.request.method": request.method,
                "http.response.status_code": answer.status_code,
                "bert_onnx.request_id": request_id,
            }
            service.tracing.note(record, request.headers, about, began, began + seconds)
        return answer

    def _note(self, record: Record, request_id: str, status: int, seconds: float, is_open: bool) -> None:
        metrics = self._service.metrics
        metrics.requests.labels(record.route, record.model, str(status)).inc()
        metrics.seconds.labels(record.route, record.model).observe(seconds)
        fault = record.error is not None and status_of(record.error) is FAULT
        if is_open and not fault:
            return
        log(
            logging.ERROR if fault else logging.INFO,
            "request",
            record.error if fault else None,
            request_id=request_id,
            route=record.route,
            model=record.model,
            status=status,
            milliseconds=round(seconds * 1000, 2),
            items=record.items,
            tokens=record.tokens,
            truncated=record.truncated,
            **({} if record.error is None else {"refused": type(record.error).__name__}),
        )

"""Answers: JSON, and errors in the shape that the clients of a route expect."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from runtimes.server.refusals import RefusalError, public_message, status_of

_ENCODER = msgspec.json.Encoder()


def json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`value` as JSON."""
    return Response(_ENCODER.encode(value), status, headers, "application/json")


def encode(value: Any) -> bytes:
    """`value` as JSON, for answers that take long: any thread may do it."""
    return _ENCODER.encode(value)


def error_answer(error: BaseException, path: str) -> Response:
    """What is wrong: as OpenAI says it below /v1, as text-embeddings-inference does elsewhere."""
    status, message = status_of(error), public_message(error)
    headers = {}
    if isinstance(error, RefusalError) and error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if status.code == 401:
        headers["www-authenticate"] = "Bearer"
    if path.startswith("/v1/"):
        body: Any = {"error": {"message": message, "type": status.openai, "param": None, "code": status.code}}
    else:
        body = {"error": message, "error_type": status.tei}
    return json_answer(body, status.code, headers)

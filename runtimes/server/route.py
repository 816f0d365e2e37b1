"""One row of the table of routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from runtimes.server.exchange import Exchange

Handler = Callable[[Exchange], Awaitable[Response]]


@dataclass(frozen=True)
class Route:
    """A route.

    Args:
        method, path: where it is.
        handler: what answers.
        answer: the types that its JSON may have; none leaves it out of the OpenAPI document.
        body: the type of the body that it reads; None for none.
        is_open: it needs no key, is there while the server drains, and is not logged.
        takes_bytes: body and answer may be JSON with bytes behind it.
    """

    method: str
    path: str
    handler: Handler
    answer: tuple[Any, ...] = ()
    body: Any = None
    is_open: bool = False
    takes_bytes: bool = False

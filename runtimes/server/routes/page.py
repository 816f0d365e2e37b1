"""The page for a browser: files of this package, and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from starlette.responses import Response

from runtimes.server.exchange import Exchange
from runtimes.server.refusals import NotFoundError

_FOLDER = Path(__file__).parent.parent / "page"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
#: Name -> content and its type. Only these are ever sent, so that no name leads anywhere else.
FILES: Mapping[str, tuple[bytes, str]] = {
    path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in sorted(_FOLDER.iterdir())
}
#: The page loads and calls this server alone; no script or style stands in its HTML.
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


async def index(exchange: Exchange) -> Response:
    """GET /: the page."""
    return _file("index.html")


async def file(exchange: Exchange) -> Response:
    """GET /page/NAME: a file of the page."""
    return _file(exchange.request.path_params["name"])


def _file(name: str) -> Response:
    if name not in FILES:
        raise NotFoundError("the page has no such file.")
    content, kind = FILES[name]
    return Response(content, headers=_HEADERS, media_type=kind)

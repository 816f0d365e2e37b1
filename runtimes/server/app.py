"""The routes of a server, in one table, as a Starlette application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtimes.server.exchange import Exchange
from runtimes.server.gate import Gate, Handler
from runtimes.server.refusals import MethodError, NotFoundError
from runtimes.server.routes import judgements, kserve, openai, operations, page, rerank, tasks, tei, tei_vectors, tokens
from runtimes.server.service import Service

#: Method, path, handler.
ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/", page.index),
    ("GET", "/page/{name}", page.file),
    ("GET", "/health/live", operations.live),
    ("GET", "/health/ready", operations.ready),
    ("POST", "/v1/embeddings", openai.embeddings),
    ("GET", "/v1/models", openai.models),
    ("GET", "/v1/models/{name:path}", openai.model),
    ("POST", "/v1/rerank", rerank.rerank),
    ("POST", "/embed", tei_vectors.embed),
    ("POST", "/embed_all", tei_vectors.embed_all),
    ("POST", "/embed_sparse", tei_vectors.embed_sparse),
    ("POST", "/similarity", tei_vectors.similar),
    ("POST", "/predict", tei.predict),
    ("POST", "/rerank", tei.rerank),
    ("POST", "/tokenize", tokens.tokenize),
    ("POST", "/decode", tokens.decode),
    ("GET", "/info", tei.info),
    ("POST", "/fill-mask", tasks.fill_mask),
    ("POST", "/entities", tasks.entities),
    ("POST", "/answers", tasks.answers),
    ("GET", "/v2", kserve.server),
    ("GET", "/v2/health/live", kserve.live),
    ("GET", "/v2/health/ready", kserve.ready),
    ("GET", "/v2/models/{name}", kserve.model),
    ("GET", "/v2/models/{name}/ready", kserve.model_ready),
    ("POST", "/v2/models/{name}/infer", kserve.infer),
    ("GET", "/v2/models/{name}/versions/{version}", kserve.model),
    ("GET", "/v2/models/{name}/versions/{version}/ready", kserve.model_ready),
    ("POST", "/v2/models/{name}/versions/{version}/infer", kserve.infer),
    ("POST", "/next-sentence", judgements.next_sentence),
    ("POST", "/choices", judgements.choices),
    ("POST", "/zero-shot", judgements.zero_shot),
)
_METRICS = ("GET", "/metrics", operations.metrics)
#: Balancers ask the first four without a key; the page has a field for it.
_OPEN = frozenset(("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/", "/page/{name}"))


def make_app(service: Service) -> Starlette:
    """The application; /metrics is part of it where it has no port of its own."""
    shown = ROUTES if service.settings.metrics_port is not None else (*ROUTES, _METRICS)
    return _application(service, shown, _OPEN)


def make_metrics_app(service: Service) -> Starlette:
    """/metrics alone, for a port of its own; it needs no key."""
    return _application(service, (_METRICS,), frozenset(("/metrics",)))


def _application(
    service: Service, routes: tuple[tuple[str, str, Handler], ...], open_paths: frozenset[str]
) -> Starlette:
    gate = Gate(service, open_paths)

    async def refuse(request: Request, error: Exception) -> Response:
        """No such route, or not with this method."""
        status = error.status_code if isinstance(error, HTTPException) else 500

        async def handler(exchange: Exchange) -> Response:
            if status == 405:
                raise MethodError("this route does not have the method.")
            raise NotFoundError("there is no such route; the page docs/server.md lists those that there are.")

        return await gate.endpoint("none", handler)(request)

    made = [Route(path, gate.endpoint(path, handler), methods=[method]) for method, path, handler in routes]
    app = Starlette(routes=made, exception_handlers={HTTPException: refuse})
    app.router.redirect_slashes = False
    return app

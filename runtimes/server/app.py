"""The routes of a server, in one table, as a Starlette application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette import routing
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from runtimes.pipelines.answer_spans import Answer
from runtimes.pipelines.classification import Label
from runtimes.pipelines.fill_mask import TokenGuess
from runtimes.pipelines.multiple_choice import Choice
from runtimes.pipelines.sentence_pair import NextSentence
from runtimes.pipelines.zero_shot import ZeroShot
from runtimes.server import shapes
from runtimes.server.exchange import Exchange
from runtimes.server.gate import Gate
from runtimes.server.openapi import openapi
from runtimes.server.refusals import MethodError, NotFoundError
from runtimes.server.route import Route
from runtimes.server.routes import (
    judgements,
    kserve,
    openai,
    operations,
    page,
    rerank,
    tasks,
    tei,
    tei_vectors,
    tokens,
)
from runtimes.server.service import Service

#: THE table. Balancers ask for the health without a key; the page has a field for it.
ROUTES: tuple[Route, ...] = (
    Route("GET", "/", page.index, is_open=True),
    Route("GET", "/page/{name}", page.file, is_open=True),
    Route("GET", "/health/live", operations.live, (dict[str, str],), is_open=True),
    Route("GET", "/health/ready", operations.ready, (dict[str, str],), is_open=True),
    Route("POST", "/v1/embeddings", openai.embeddings, (shapes.EmbeddingAnswer,), openai.EmbeddingRequest),
    Route("GET", "/v1/models", openai.models, (shapes.ModelList,)),
    Route("GET", "/v1/models/{name:path}", openai.model, (shapes.ModelRow,)),
    Route("POST", "/v1/rerank", rerank.rerank, (shapes.RankedAnswer,), rerank.RerankRequest),
    Route("POST", "/embed", tei_vectors.embed, (shapes.Vectors,), tei_vectors.EmbedRequest),
    Route("POST", "/embed_all", tei_vectors.embed_all, (list[shapes.Vectors],), tei_vectors.EmbedAllRequest),
    Route(
        "POST", "/embed_sparse", tei_vectors.embed_sparse,
        (list[list[shapes.Weight]],), tei_vectors.EmbedSparseRequest,
    ),
    Route("POST", "/similarity", tei_vectors.similar, (list[float],), tei_vectors.SimilarityRequest),
    Route("POST", "/predict", tei.predict, (list[Label], list[list[Label]]), tei.PredictRequest),
    Route("POST", "/rerank", tei.rerank, (list[shapes.ScoredText],), tei.RerankRequest),
    Route("POST", "/tokenize", tokens.tokenize, (list[list[shapes.TokenRow]],), tokens.TokenizeRequest),
    Route("POST", "/decode", tokens.decode, (list[str],), tokens.DecodeRequest),
    Route("GET", "/info", tei.info, (shapes.Info,)),
    Route(
        "POST", "/fill-mask", tasks.fill_mask,
        (list[TokenGuess], list[list[TokenGuess | list[TokenGuess]]]), tasks.FillMaskRequest,
    ),
    Route(
        "POST", "/entities", tasks.entities,
        (list[shapes.EntityRow], list[list[shapes.EntityRow]]), tasks.EntitiesRequest,
    ),
    Route("POST", "/answers", tasks.answers, (Answer, list[Answer | list[Answer]]), tasks.AnswersRequest),
    Route(
        "POST", "/next-sentence", judgements.next_sentence,
        (NextSentence, list[NextSentence]), judgements.NextSentenceRequest,
    ),
    Route("POST", "/choices", judgements.choices, (Choice, list[Choice]), judgements.ChoicesRequest),
    Route("POST", "/zero-shot", judgements.zero_shot, (ZeroShot, list[ZeroShot]), judgements.ZeroShotRequest),
    Route("GET", "/v2", kserve.server, (dict[str, Any],)),
    Route("GET", "/v2/health/live", kserve.live, (dict[str, bool],), is_open=True),
    Route("GET", "/v2/health/ready", kserve.ready, (dict[str, bool],), is_open=True),
    Route("GET", "/v2/models/{name}", kserve.model, (shapes.ModelTensors,)),
    Route("GET", "/v2/models/{name}/ready", kserve.model_ready, (dict[str, Any],)),
    Route(
        "POST", "/v2/models/{name}/infer", kserve.infer,
        (shapes.InferAnswer,), kserve.InferRequest, takes_bytes=True,
    ),
    Route("GET", "/v2/models/{name}/versions/{version}", kserve.model, (shapes.ModelTensors,)),
    Route("GET", "/v2/models/{name}/versions/{version}/ready", kserve.model_ready, (dict[str, Any],)),
    Route(
        "POST", "/v2/models/{name}/versions/{version}/infer", kserve.infer, (shapes.InferAnswer,), kserve.InferRequest,
        takes_bytes=True,
    ),
)  # fmt: skip
_METRICS = Route("GET", "/metrics", operations.metrics)


def make_app(service: Service) -> Starlette:
    """The application; /metrics is part of it where it has no port of its own."""
    document = openapi(ROUTES, service)

    async def described(exchange: Exchange) -> Response:
        """GET /openapi.json: what routes take and answer."""
        return Response(document, media_type="application/json")

    shown = (*ROUTES, Route("GET", "/openapi.json", described))
    return _application(service, shown if service.settings.metrics_port is not None else (*shown, _METRICS))


def make_metrics_app(service: Service) -> Starlette:
    """/metrics alone, for a port of its own; it needs no key."""
    return _application(service, (Route("GET", "/metrics", operations.metrics, is_open=True),))


def _application(service: Service, routes: Sequence[Route]) -> Starlette:
    gate = Gate(service)

    async def refuse(request: Request, error: Exception) -> Response:
        """No such route, or not with this method."""
        status = error.status_code if isinstance(error, HTTPException) else 500

        async def handler(exchange: Exchange) -> Response:
            if status == 405:
                raise MethodError("this route does not have the method.")
            raise NotFoundError("there is no such route; the page docs/server.md lists those that there are.")

        answer = await gate.endpoint(Route("", "none", handler))(request)
        if isinstance(error, HTTPException) and error.headers:
            answer.headers.update(error.headers)  # which methods there are
        return answer

    made = [routing.Route(route.path, gate.endpoint(route), methods=[route.method]) for route in routes]
    app = Starlette(routes=made, exception_handlers={HTTPException: refuse})
    app.router.redirect_slashes = False
    return app

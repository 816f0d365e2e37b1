"""/v1/rerank as Cohere, Jina and Infinity have it."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from runtimes.server.answers import json_answer
from runtimes.server.exchange import Exchange
from runtimes.server.inputs import Count
from runtimes.server.ranks import TASKS, WHAT, rank


class Document(msgspec.Struct):
    """A document; what else stands in it is not read."""

    text: str


class RerankRequest(msgspec.Struct):
    """The body."""

    query: str
    documents: list[str | Document]
    model: str | None = None
    top_n: Count | None = None
    return_documents: bool = False
    raw_scores: bool = False
    truncate: bool = True


async def rerank(exchange: Exchange) -> Response:
    """POST /v1/rerank. Documents are texts, or objects with a `text`."""
    body = await exchange.body(RerankRequest)
    model = await exchange.choose(body.model, TASKS, WHAT)
    activation = "Identity" if body.raw_scores else None
    texts = [one if isinstance(one, str) else one.text for one in body.documents]
    ranked = await rank(exchange, model, body.query, texts, activation, body.truncate)
    results = [
        {
            "index": one.corpus_id,
            "relevance_score": one.score,
            "truncated": one.truncated,
            **({"document": {"text": one.text}} if body.return_documents else {}),
        }
        for one in ranked[: body.top_n]
    ]
    usage = {"prompt_tokens": exchange.record.tokens, "total_tokens": exchange.record.tokens}
    return json_answer({"object": "rerank", "model": model.name, "results": results, "usage": usage})

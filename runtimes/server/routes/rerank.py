"""/v1/rerank as Cohere, Jina and Infinity have it."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from runtimes.server.answers import json_answer
from runtimes.server.exchange import Exchange
from runtimes.server.ranks import TASKS, WHAT, rank
from runtimes.server.refusals import BadRequestError


class RerankRequest(msgspec.Struct):
    """The body."""

    query: str
    documents: list[Any]
    model: str | None = None
    top_n: int | None = None
    return_documents: bool = False
    raw_scores: bool = False
    truncate: bool = True


async def rerank(exchange: Exchange) -> Response:
    """POST /v1/rerank. Documents are texts, or objects with a `text`."""
    body = await exchange.body(RerankRequest)
    model = exchange.choose(body.model, TASKS, WHAT)
    if body.top_n is not None and body.top_n < 1:
        raise BadRequestError(f"top_n is {body.top_n}; it must be at least 1.")
    activation = "Identity" if body.raw_scores else None
    ranked = await rank(exchange, model, body.query, list(map(_text, body.documents)), activation, body.truncate)
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


def _text(document: Any) -> str:
    text = document.get("text") if isinstance(document, dict) else document
    if not isinstance(text, str):
        raise BadRequestError("a document must be a string, or an object with a string `text`.")
    return text

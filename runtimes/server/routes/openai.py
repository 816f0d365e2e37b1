"""OpenAI's API: /v1/embeddings and /v1/models, as its client expects them; and what it lacks, beside it.

Beyond OpenAI: `input_type` chooses a prompt (`query`, `document`, or a name that the model has); `truncate: false`
refuses what is too long; each item says whether it was `truncated`. Token ids are those of the model's own tokenizer.
"""

from __future__ import annotations

import base64
from typing import Any, Literal

import msgspec
import numpy as np
from starlette.responses import Response

from runtimes.server.answers import encode, json_answer
from runtimes.server.exchange import Exchange
from runtimes.server.inputs import Dimensions, Inputs, read_inputs
from runtimes.server.refusals import NotFoundError
from runtimes.server.vectors import TASKS, WHAT, Choices, Embedded, embed

#: Answers with more numbers than this are written on another thread.
_LARGE = 1 << 14
#: Names that other APIs have for the two sides of a search.
_DOCUMENT = ("document", "passage", "search_document")
_QUERY = ("query", "search_query")


class EmbeddingRequest(msgspec.Struct):
    """The body of /v1/embeddings."""

    input: Inputs
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Dimensions | None = None
    user: str | None = None
    input_type: str | None = None
    truncate: bool = True


async def embeddings(exchange: Exchange) -> Response:
    """POST /v1/embeddings. Vectors that are shortened are scaled to length 1 again, as OpenAI's are."""
    body = await exchange.body(EmbeddingRequest)
    model = await exchange.choose(body.model, TASKS, WHAT)
    sentence = model.sentence
    name = body.input_type
    if name not in sentence.prompts:
        name = "query" if name in _QUERY else sentence.document_name if name in _DOCUMENT else name
    choices = Choices(sentence.resolve(name), body.dimensions, body.dimensions is not None, body.truncate)
    embedded = await embed(exchange, model, read_inputs(body.input), choices)

    def write() -> bytes:
        return encode(_answer(model.name, embedded, body.encoding_format))

    large = embedded.vectors.size > _LARGE
    return Response(await exchange.service.aside(write) if large else write(), media_type="application/json")


def _answer(model: str, embedded: Embedded, form: str) -> dict[str, Any]:
    vectors: Any = embedded.vectors.tolist() if form == "float" else map(_base64, embedded.vectors)
    data = [
        {"object": "embedding", "index": index, "embedding": vector, "truncated": cut}
        for index, (vector, cut) in enumerate(zip(vectors, embedded.truncated, strict=True))
    ]
    tokens = sum(embedded.tokens)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _base64(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")


async def models(exchange: Exchange) -> Response:
    """GET /v1/models."""
    return json_answer({"object": "list", "data": [_row(name, exchange) for name in exchange.service.cards]})


async def model(exchange: Exchange) -> Response:
    """GET /v1/models/NAME."""
    name = exchange.request.path_params["name"]
    if name not in exchange.service.cards:
        raise NotFoundError(f"there is no model {name[:100]!r} here; GET /v1/models lists those that there are.")
    return json_answer(_row(name, exchange))


def _row(name: str, exchange: Exchange) -> dict[str, Any]:
    """Beyond OpenAI: what a page for people has to know."""
    card = exchange.service.cards[name]
    return {
        "id": name, "object": "model", "created": exchange.service.started, "owned_by": "bert-onnx",
        "task": card.task, "max_length": card.max_length, **card.further,
    }  # fmt: skip

"""text-embeddings-inference's routes for vectors: /embed, /embed_all, /embed_sparse and /similarity."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
from starlette.responses import Response

from bert_onnx.sentence_modules import SPARSE
from runtimes.pipelines.scores import best
from runtimes.pipelines.similarity import similarity
from runtimes.server.answers import encode, json_answer
from runtimes.server.exchange import Exchange
from runtimes.server.inputs import Count, Dimensions, Inputs, read_inputs
from runtimes.server.model import ServedModel
from runtimes.server.refusals import BadRequestError
from runtimes.server.routes.tei import Common
from runtimes.server.sparse_rows import SparseRow
from runtimes.server.token_vectors import TASKS as TOKEN_TASKS
from runtimes.server.token_vectors import WHAT as GIVES_TOKENS
from runtimes.server.token_vectors import embed_tokens
from runtimes.server.vectors import TASKS, WHAT, Choices, read
from runtimes.server.vectors import embed as embed_inputs

_SPARSE = "sparse-embedding"


class EmbedRequest(Common):
    """The body of /embed."""

    inputs: Inputs
    normalize: bool = True
    prompt_name: str | None = None
    dimensions: Dimensions | None = None


async def embed(exchange: Exchange) -> Response:
    """POST /embed."""
    body = await exchange.options(EmbedRequest)
    model = await exchange.choose(body.model, TASKS, WHAT)
    prompt = model.sentence.resolve(body.prompt_name)
    choices = Choices(prompt, body.dimensions, body.normalize, body.truncate, body.side)
    embedded = await embed_inputs(exchange, model, read_inputs(body.inputs), choices)
    written = await exchange.service.aside(lambda: encode(embedded.vectors.tolist()))
    return Response(written, media_type="application/json")


class EmbedSparseRequest(Common):
    """The body of /embed_sparse; beyond text-embeddings-inference: the heaviest `top_k` alone, with their tokens."""

    inputs: Inputs
    prompt_name: str | None = None
    top_k: Count | None = None
    return_tokens: bool = False


async def embed_sparse(exchange: Exchange) -> Response:
    """POST /embed_sparse: for each text its tokens whose weight is not zero, by their ids."""
    body = await exchange.options(EmbedSparseRequest)
    model = await exchange.choose(body.model, (_SPARSE,), "makes sparse embeddings")
    choices = Choices(model.sentence.resolve(body.prompt_name), truncate=body.truncate, side=body.side)
    work = await read(exchange, model, read_inputs(body.inputs), choices, SPARSE)

    def write() -> bytes:
        return encode([_weights(model, result[SPARSE], body) for result in work.results])

    return Response(await exchange.service.aside(write), media_type="application/json")


def _weights(model: ServedModel, row: SparseRow, body: EmbedSparseRequest) -> list[dict[str, Any]]:
    kept = np.sort(best(row.weights, len(row.weights) if body.top_k is None else body.top_k))
    ids = row.indices[kept].tolist()
    weights = zip(ids, row.weights[kept].tolist(), strict=True)
    found: list[dict[str, Any]] = [{"index": index, "value": value} for index, value in weights]
    if body.return_tokens:
        for one, token in zip(found, model.tokenizer.convert_ids_to_tokens(ids), strict=True):
            one["token"] = token
    return found


class EmbedAllRequest(Common):
    """The body of /embed_all; beyond text-embeddings-inference: `input_type: query` for late interaction."""

    inputs: Inputs
    prompt_name: str | None = None
    input_type: Literal["query", "document"] = "document"


async def embed_all(exchange: Exchange) -> Response:
    """POST /embed_all: for each text the vectors of its tokens, special ones included; of late interaction those that
    count in MaxSim."""
    body = await exchange.options(EmbedAllRequest)
    model = await exchange.choose(body.model, TOKEN_TASKS, GIVES_TOKENS)
    prompt = model.sentence.resolve(body.prompt_name)
    choices = Choices(prompt, truncate=body.truncate, side=body.side)
    found = await embed_tokens(exchange, model, read_inputs(body.inputs), choices, body.input_type == "query")
    written = await exchange.service.aside(lambda: encode([vectors.tolist() for vectors in found]))
    return Response(written, media_type="application/json")


class Compared(msgspec.Struct):
    """A sentence, and those that it is compared with."""

    source_sentence: str
    sentences: list[str]


class SimilarityRequest(Common):
    """The body of /similarity."""

    inputs: Compared
    prompt_name: str | None = None


async def similar(exchange: Exchange) -> Response:
    """POST /similarity: cosines."""
    body = await exchange.options(SimilarityRequest)
    model = await exchange.choose(body.model, TASKS, WHAT)
    if not body.inputs.sentences:
        raise BadRequestError("there are no sentences; send at least one.")
    choices = Choices(model.sentence.resolve(body.prompt_name), truncate=body.truncate, side=body.side)
    embedded = await embed_inputs(exchange, model, [body.inputs.source_sentence, *body.inputs.sentences], choices)
    return json_answer(similarity(embedded.vectors[0], embedded.vectors[1:], "cosine")[0].tolist())

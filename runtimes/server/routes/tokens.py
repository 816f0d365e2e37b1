"""text-embeddings-inference's /tokenize and /decode: a model's tokenizer alone."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from runtimes.server.answers import encode
from runtimes.server.exchange import Exchange
from runtimes.server.inputs import Ids, Inputs, read_inputs
from runtimes.server.model import ServedModel
from runtimes.server.model_card import TASKS
from runtimes.server.refusals import BadRequestError

_WHAT = "has a tokenizer"


class TokenizeRequest(msgspec.Struct):
    """The body of /tokenize."""

    inputs: Inputs
    model: str | None = None
    add_special_tokens: bool = True


async def tokenize(exchange: Exchange) -> Response:
    """POST /tokenize: for each text its tokens, whole; `start` and `stop` are characters."""
    body = await exchange.options(TokenizeRequest)
    model = await exchange.choose(body.model, TASKS, _WHAT)
    texts = [text for text in read_inputs(body.inputs) if isinstance(text, str)]
    exchange.check_inputs(texts)

    def write() -> bytes:
        return encode([_tokens(model, text, body.add_special_tokens) for text in texts])

    return Response(await exchange.service.aside(write), media_type="application/json")


def _tokens(model: ServedModel, text: str, special: bool) -> list[dict[str, Any]]:
    """Raises TooLargeError: there are more than a request may have."""
    row: Any = model.tokenizer(
        text, add_special_tokens=special, truncation=False, return_offsets_mapping=True, return_special_tokens_mask=True
    )
    ids = row["input_ids"]
    model.lane.ledger.check_size(len(ids))
    names = model.tokenizer.convert_ids_to_tokens(ids)
    return [
        {"id": index, "text": name, "special": True, "start": None, "stop": None}
        if added
        else {"id": index, "text": text[start:stop], "special": False, "start": start, "stop": stop}
        for index, name, added, (start, stop) in zip(
            ids, names, row["special_tokens_mask"], row["offset_mapping"], strict=True
        )
    ]


class DecodeRequest(msgspec.Struct):
    """The body of /decode."""

    ids: Ids
    model: str | None = None
    skip_special_tokens: bool = True


async def decode(exchange: Exchange) -> Response:
    """POST /decode: the texts of ids."""
    body = await exchange.options(DecodeRequest)
    model = await exchange.choose(body.model, TASKS, _WHAT)
    rows = read_inputs(body.ids)
    exchange.check_inputs(rows)
    for row in rows:
        if isinstance(row, str) or not all(0 <= index < len(model.tokenizer) for index in row):
            raise BadRequestError(f"ids must be lists of numbers from 0 to {len(model.tokenizer) - 1}.")

    def write() -> bytes:
        return encode([model.tokenizer.decode(row, skip_special_tokens=body.skip_special_tokens) for row in rows])

    return Response(await exchange.service.aside(write), media_type="application/json")

"""For operators: is it alive, is it ready, what does it do."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from bert_onnx.errors import BertOnnxError
from runtimes.server.answers import json_answer
from runtimes.server.exchange import Exchange
from runtimes.server.refusals import DrainingError

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
#: A probe that takes longer counts as failed.
_PROBE_SECONDS = 10.0


async def live(exchange: Exchange) -> Response:
    """GET /health/live: the process answers."""
    return json_answer({"status": "live"})


async def ready(exchange: Exchange) -> Response:
    """GET /health/ready: it takes work. After a fault, the model has to pass its probe first."""
    service = exchange.service
    if service.draining:
        raise DrainingError("the server is about to stop.")
    for model in service.models.values():
        if not model.is_suspect:
            continue
        try:
            await asyncio.wait_for(service.probe(model), _PROBE_SECONDS)
        except (BertOnnxError, asyncio.TimeoutError):
            raise DrainingError(f"the model {model.name} failed, and its probe fails too.") from None
    return json_answer({"status": "ready"})


async def metrics(exchange: Exchange) -> Response:
    """GET /metrics."""
    return Response(exchange.service.metrics.text(), media_type=_PROMETHEUS)

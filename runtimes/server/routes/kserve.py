"""The KServe v2 protocol (Open Inference Protocol) over HTTP, with its binary extension: tensors in, tensors out.

The tensors are those of the graph, as the artifact's manifest has them. Rows of all callers run together without their
padding, which must be on the right; its outputs are zeros.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from starlette.responses import Response

from bert_onnx.errors import InputError
from bert_onnx.tasks import Port
from runtimes.engines.base import chosen_outputs
from runtimes.engines.inputs import check_inputs, check_right_padding
from runtimes.pipelines.encoding import Window
from runtimes.server.answers import encode, json_answer
from runtimes.server.batching.work import Group
from runtimes.server.exchange import Exchange, read_json
from runtimes.server.model import ServedModel
from runtimes.server.model_card import TASKS
from runtimes.server.queued_runtime import group_of, outputs_of, rows_of
from runtimes.server.refusals import BadRequestError, DrainingError, NotFoundError
from runtimes.server.routes import operations
from runtimes.server.tensors import DATATYPES, TensorIn, read_tensors, write_tensors
from runtimes.server.token_vectors import LATE

#: Of every model.
VERSION = "1"
_HEADER_LENGTH = "inference-header-content-length"


async def server(exchange: Exchange) -> Response:
    """GET /v2: the server and its extensions."""
    version = exchange.service.version
    return json_answer({"name": "bert-onnx", "version": version, "extensions": ["binary_tensor_data"]})


async def live(exchange: Exchange) -> Response:
    """GET /v2/health/live."""
    return json_answer({"live": True})


async def ready(exchange: Exchange) -> Response:
    """GET /v2/health/ready: as /health/ready."""
    await operations.ready(exchange)
    return json_answer({"ready": True})


async def model(exchange: Exchange) -> Response:
    """GET /v2/models/NAME: its tensors; -1 is any length."""
    chosen = await _choose(exchange)
    return json_answer(
        {
            "name": chosen.name,
            "versions": [VERSION],
            "platform": f"bert-onnx_{chosen.description.runtime.name}",
            "inputs": [_described(port) for port in chosen.pipeline.runtime.inputs],
            "outputs": [_described(port) for port in chosen.pipeline.runtime.outputs],
        }
    )


def _described(port: Port) -> dict[str, Any]:
    shape = [axis if isinstance(axis, int) else -1 for axis in port.axes]
    return {"name": port.name, "datatype": DATATYPES[port.dtype], "shape": shape}


async def model_ready(exchange: Exchange) -> Response:
    """GET /v2/models/NAME/ready."""
    chosen = await _choose(exchange)
    if chosen.is_suspect:
        raise DrainingError(f"the model {chosen.name} failed, and has not passed its probe since.")
    return json_answer({"name": chosen.name, "ready": True})


async def _choose(exchange: Exchange) -> ServedModel:
    """Raises NotFoundError: there is no such model, or no such version of it."""
    path = exchange.request.path_params
    if path.get("version", VERSION) != VERSION:
        raise NotFoundError(f"models have the version {VERSION} alone.")
    return await exchange.choose(path["name"], TASKS, "takes tensors")


class TensorOut(msgspec.Struct):
    """An output that is wanted; `parameters.binary_data` for its bytes."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """The body of infer."""

    inputs: list[TensorIn]
    id: str | None = None
    outputs: list[TensorOut] = []
    parameters: dict[str, Any] = {}


async def infer(exchange: Exchange) -> Response:
    """POST /v2/models/NAME/infer."""
    chosen = await _choose(exchange)
    runtime = chosen.pipeline.runtime
    body, rest = await _read(exchange)
    names = tuple(chosen_outputs(runtime.outputs, [one.name for one in body.outputs] or None))

    def prepare() -> tuple[dict[str, np.ndarray], list[Window]]:
        inputs = check_inputs(read_tensors(body.inputs, rest), runtime.inputs, chosen.pipeline.config)
        try:
            check_right_padding(inputs)
        except InputError:
            raise BadRequestError(
                "the padding must stand on the right of each row: the rows of all callers run together, without it."
            ) from None
        rows = rows_of(inputs, hidden_counts=chosen.task == LATE)
        chosen.check_answer(names, [inputs["input_ids"].shape[-1]] * len(rows))
        return inputs, rows

    inputs, rows = await exchange.service.aside(prepare)
    exchange.check_size(len(rows), 0)
    ticket = exchange.ticket(chosen, [row.ids for row in rows])

    def queued() -> tuple[Group, list[Window]]:
        return group_of(names, inputs), rows

    work = await exchange.attend(chosen, ticket, exchange.service.rows(chosen, ticket, queued))
    outputs = outputs_of(work, runtime.outputs, inputs["input_ids"].shape)
    return await exchange.service.aside(lambda: _answer(chosen.name, body, outputs))


async def _read(exchange: Exchange) -> tuple[InferRequest, memoryview]:
    """The JSON of the body, and the bytes behind it. Raises BadRequestError."""
    stated = exchange.request.headers.get(_HEADER_LENGTH)
    raw = memoryview(await exchange.raw_body())
    if stated is None:
        return read_json(raw, InferRequest), memoryview(b"")
    if not stated.isascii() or not stated.isdigit() or len(stated) > 9 or int(stated) > len(raw):
        raise BadRequestError(f"{_HEADER_LENGTH} must be the length of the JSON, a number up to that of the body.")
    return read_json(raw[: int(stated)], InferRequest), raw[int(stated) :]


def _answer(name: str, body: InferRequest, outputs: dict[str, np.ndarray]) -> Response:
    wanted = {one.name: one.parameters for one in body.outputs}
    whole = bool(body.parameters.get("binary_data_output", False))
    binary = {one for one in outputs if wanted.get(one, {}).get("binary_data", whole)}
    described, raw = write_tensors(outputs, binary)
    given = {} if body.id is None else {"id": body.id}
    written = encode({"model_name": name, "model_version": VERSION, **given, "outputs": described})
    if not raw:
        return Response(written, media_type="application/json")
    return Response(written + raw, 200, {_HEADER_LENGTH: str(len(written))}, "application/octet-stream")

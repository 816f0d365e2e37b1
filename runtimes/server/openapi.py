"""The OpenAPI document, made from the table of routes: bodies are the types that handlers decode."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from runtimes.server.refusals import FAULT, STATUSES
from runtimes.server.route import Route
from runtimes.server.routes.kserve import VERSION
from runtimes.server.service import Service
from runtimes.server.shapes import OpenAIError, PlainError

_REFERENCE = "#/components/schemas/{name}"
_HEADERS = {
    "x-request-id": ("the caller's, or a new one", "string"),
    "server-timing": ("`total;dur=` and milliseconds", "string"),
    "x-compute-tokens": ("tokens that were read, where texts were", "integer"),
    "x-truncated": ("how many texts were cut", "integer"),
}
#: Statuses that only routes with a body have, and those that no caller of a described route sees.
_OF_BODIES = frozenset((408, 413, 415, 422, 429, 504))
_UNSEEN = frozenset((405, 499))


def openapi(routes: Sequence[Route], service: Service) -> bytes:
    """The document in JSON."""
    shown = [route for route in routes if route.answer]
    types: list[Any] = [OpenAIError, PlainError]
    types += [kind for route in shown for kind in (route.body, *route.answer) if kind is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    found = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in shown:
        path = route.path.replace(":path}", "}")
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, path, found, list(service.cards))
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "bert-onnx",
            "version": service.version,
            "description": "Artifacts over HTTP: docs/server.md.",
        },
        "paths": paths,
        "components": {"schemas": components},
    }
    if service.settings.keys:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return msgspec.json.encode(document)


def _operation(route: Route, path: str, schemas: dict[str, Any], models: list[str]) -> dict[str, Any]:
    about: str = " ".join((route.handler.__doc__ or "").split()).partition(": ")[2] or route.path
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{re.sub(r'[^a-z0-9]+', '_', path.lower())}".rstrip("_"),
        "summary": about,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "enum": values}}
            for name, values in (("name", models), ("version", [VERSION]))
            if f"{{{name}}}" in path
        ],
        "responses": _responses(route, path, schemas),
    }
    if route.body is not None:
        content = {"application/json": {"schema": schemas[repr(route.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _responses(route: Route, path: str, schemas: dict[str, Any]) -> dict[str, Any]:
    """By status."""
    answers = [schemas[repr(kind)] for kind in route.answer]
    contents = {"application/json": {"schema": answers[0] if len(answers) == 1 else {"anyOf": answers}}}
    if route.takes_bytes:
        contents["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    headers = {name: {"description": about, "schema": {"type": kind}} for name, (about, kind) in _HEADERS.items()}
    responses: dict[str, Any] = {"200": {"description": "done", "headers": headers, "content": contents}}
    error = schemas[repr(OpenAIError if path.startswith("/v1/") else PlainError)]
    for status in (*STATUSES.values(), FAULT):
        if status.code not in _UNSEEN and (route.body is not None or status.code not in _OF_BODIES):
            responses[str(status.code)] = {
                "description": status.openai.replace("_", " "),
                "content": {"application/json": {"schema": error}},
            }
    return responses

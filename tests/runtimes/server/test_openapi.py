"""The OpenAPI document: every route is in it, and schemathesis finds no body that makes a route break its word."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from served import Served, serving

from runtimes.server.app import ROUTES

#: Those of what a request says. Valid bodies may be refused: a text without a mask has none to fill.
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance, negative_data_rejection, unsupported_method,
]  # fmt: skip

DESCRIBED = [(route.method, route.path.replace(":path", "")) for route in ROUTES if route.answer]
#: What a schema cannot say, by route: which models are for the task, and what a text must have.
_TENSORS = {
    "inputs": [
        {"name": name, "shape": [1, 2], "datatype": "INT64", "data": [[value, value]]}
        for name, value in (("input_ids", 2), ("attention_mask", 1), ("token_type_ids", 0))
    ],
    "outputs": [],
}
FITTING: dict[str, dict[str, Any]] = {
    "/v1/embeddings": {"model": "toy", "input_type": None, "dimensions": 2},
    "/v1/rerank": {"model": "text-ranking", "documents": ["a", {"text": "b"}]},
    "/embed": {"model": "toy", "prompt_name": None, "dimensions": 2},
    "/embed_all": {"model": "toy", "prompt_name": None},
    "/embed_sparse": {"model": "sparse-embedding", "prompt_name": None},
    "/similarity": {"model": "toy", "inputs": {"source_sentence": "a", "sentences": ["b"]}, "prompt_name": None},
    "/predict": {"model": "text-classification"},
    "/rerank": {"model": "text-ranking", "texts": ["a"]},
    "/tokenize": {"model": "toy", "inputs": ["hello"]},
    "/decode": {"model": "toy", "ids": [[2, 5, 3]]},
    "/fill-mask": {"model": "fill-mask", "inputs": ["a [MASK]", "[MASK] b [MASK]"], "targets": None},
    "/entities": {"model": "token-classification", "stride": None},
    "/answers": {
        "model": "question-answering", "inputs": [{"question": "a", "context": "b c"}], "max_seq_len": None,
        "doc_stride": None,
    },
    "/next-sentence": {"model": "next-sentence-prediction"},
    "/choices": {"model": "multiple-choice", "inputs": {"text": "a", "choices": ["b", "c"]}},
    "/zero-shot": {
        "model": "text-classification", "inputs": ["a"], "candidate_labels": ["b", "c"], "hypothesis_template": "is {}",
    },
    "/v2/models/{name}/infer": _TENSORS,
    "/v2/models/{name}/versions/{version}/infer": _TENSORS,
}  # fmt: skip


@pytest.fixture(scope="module")
def document(all_tasks: Served) -> Any:
    """The document, loaded."""
    return schemathesis.openapi.from_url(f"{all_tasks.url}/openapi.json")


def _answers(operation: Any, mode: GenerationMode, changes: dict[str, Any] | None = None) -> Counter[int]:
    """How often which status; `changes` are made to every body."""
    found: Counter[int] = Counter()

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=8, deadline=None, database=None, phases=[Phase.generate], derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    def check(case: schemathesis.Case) -> None:
        if changes:
            case.body = {**case.body, **changes}
            case.path_parameters = {name: "toy" if name == "name" else "1" for name in case.path_parameters}
        found[case.call_and_validate(checks=CHECKS).status_code] += 1

    check()
    return found


@pytest.mark.parametrize(("method", "path"), DESCRIBED, ids=lambda part: part.lower())
def test_routes_keep_their_word(document: Any, method: str, path: str) -> None:
    """Bodies that fit the document, bodies that fit the model as well, and bodies that do not fit."""
    operation = document[path][method]
    found = _answers(operation, GenerationMode.POSITIVE)
    if method == "GET":
        assert set(found) == {200}
    else:
        assert 200 in _answers(operation, GenerationMode.POSITIVE, FITTING[path])
        assert not _answers(operation, GenerationMode.NEGATIVE).keys() & {200, 500}


def test_every_route_is_in_it(all_tasks: Served) -> None:
    code, found, _ = all_tasks.get("/openapi.json")
    assert code == 200
    described = [(method.upper(), path) for path, row in found["paths"].items() for method in row]
    assert sorted(described) == sorted(DESCRIBED)
    assert {route.path for route in ROUTES if not route.answer} == {"/", "/page/{name}"}
    operations = [row[method] for row in found["paths"].values() for method in row]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["summary"] for operation in operations)
    assert "security" not in found


def test_keys_are_in_it_and_asked_for(artifact: Path) -> None:
    with serving(artifact, keys=("secret",)) as server:
        assert server.get("/openapi.json")[0] == 401
        found = server.get("/openapi.json", authorization="Bearer secret")[1]
    assert found["security"] == [{"key": []}]
    assert "secret" not in str(found)

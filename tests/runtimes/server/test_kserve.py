"""KServe v2 through Triton's own client: tensors as JSON and as bytes, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from late_checkpoints import QUERIES
from served import Served
from tritonclient.utils import InferenceServerException

import runtimes

IDS = np.array([[2, 5, 6, 3], [2, 5, 3, 0]], np.int64)
MASK = (IDS > 0).astype(np.int64)


@pytest.fixture
def client(all_tasks: Served) -> Iterator[triton.InferenceServerClient]:
    made = triton.InferenceServerClient(f"127.0.0.1:{all_tasks.port}")
    yield made
    made.close()


def _inputs(binary: bool = True, **tensors: np.ndarray) -> list[triton.InferInput]:
    made = []
    for name, array in tensors.items():
        one = triton.InferInput(name, list(array.shape), "INT32" if array.dtype == np.int32 else "INT64")
        one.set_data_from_numpy(array, binary_data=binary)
        made.append(one)
    return made


def _toy(**changes: np.ndarray) -> dict[str, np.ndarray]:
    return {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": IDS * 0, **changes}


def test_server_and_models(client: triton.InferenceServerClient, all_tasks: Served) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert client.is_model_ready("toy")
    assert client.is_model_ready("toy", "1")
    assert not client.is_model_ready("nothing")
    assert not client.is_model_ready("toy", "2")
    model = client.get_model_metadata("toy")
    assert (model["name"], model["versions"]) == ("toy", ["1"])
    assert model["inputs"][0] == {"name": "input_ids", "datatype": "INT64", "shape": [-1, -1]}
    assert model["outputs"][-1] == {"name": "sentence_embedding", "datatype": "FP32", "shape": [-1, 4]}
    assert all_tasks.get("/v2/health/live")[1] == {"live": True}


@pytest.mark.parametrize("binary", [True, False], ids=["bytes", "JSON"])
def test_vectors(client: triton.InferenceServerClient, artifact: Path, binary: bool) -> None:
    with runtimes.load(artifact) as model:
        expected = model.embed(["hello world", "hello"])
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("sentence_embedding",)]
    answer = client.infer("toy", _inputs(binary, **_toy()), outputs=wanted, request_id="mine")
    np.testing.assert_allclose(answer.as_numpy("sentence_embedding"), expected, rtol=1e-6)
    assert answer.get_response()["id"] == "mine"
    assert (answer.get_response()["model_name"], answer.get_response()["model_version"]) == ("toy", "1")


def test_all_outputs_and_other_widths(client: triton.InferenceServerClient) -> None:
    answer = client.infer("toy", _inputs(**_toy(input_ids=IDS.astype(np.int32))), model_version="1")
    hidden = answer.as_numpy("last_hidden_state")
    assert hidden.shape == (2, 4, 4)
    assert not hidden[1, 3].any()  # padding is not computed
    np.testing.assert_allclose(hidden[1, :3].mean(axis=0), answer.as_numpy("sentence_embedding")[1], rtol=1e-5)


def test_choices_and_sparse_vectors(
    client: triton.InferenceServerClient, offline: dict[str, Any], all_tasks: Served
) -> None:
    ids = np.random.default_rng(0).integers(1000, 2000, (2, 3, 7))
    feeds = {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}
    expected = offline["multiple-choice"].runtime.run(feeds)["logits"]
    np.testing.assert_allclose(
        client.infer("multiple-choice", _inputs(**feeds)).as_numpy("logits"), expected, rtol=1e-4
    )
    text = offline["sparse-embedding"].tokenizer("c a b")
    feeds = {name: np.array([text[name]]) for name in ("input_ids", "attention_mask", "token_type_ids")}
    dense = client.infer("sparse-embedding", _inputs(**feeds)).as_numpy("sparse_embedding")
    np.testing.assert_array_equal(dense, offline["sparse-embedding"].embed("c a b"))


def test_hidden_tokens_of_queries_count(client: triton.InferenceServerClient, late: Path) -> None:
    with runtimes.load(late) as model:
        (expected,) = model.encode_query(QUERIES[:1])
        (window,) = model.reader.rows(QUERIES[:1], True)
    ids = np.array([window.ids])
    assert window.seen is not None
    feeds = {"input_ids": ids, "attention_mask": (np.arange(ids.shape[1]) < window.seen)[None].astype(np.int64)}
    answer = client.infer("late", _inputs(**feeds, token_type_ids=np.array([window.type_ids])))
    np.testing.assert_allclose(answer.as_numpy("token_embeddings")[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_ids": IDS + 100}, r"input_ids\[0, 0\] is 102"),
        ({"input_ids": -IDS}, "run from 0 to 11"),
        ({"attention_mask": MASK[:, ::-1].copy()}, "padding must stand on the right"),
        ({"attention_mask": MASK * 0}, "is all 0"),
        ({"attention_mask": MASK[:1]}, "they must agree"),
        (dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), IDS[:, :0]), "has length 0"),
        ({"more": IDS}, "unknown more"),
        (
            {name: np.ones((1, 40), np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")},
            "16 positions",
        ),
    ],
)
def test_tensors_that_do_not_fit(client: triton.InferenceServerClient, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InferenceServerException, match=message) as refused:
        client.infer("toy", _inputs(**_toy(**changes)))
    assert refused.value.status() == "422"


def _body(**changes: Any) -> dict[str, Any]:
    tensors = [
        {"name": name, "shape": [2, 4], "datatype": "INT64", "data": array.tolist()} for name, array in _toy().items()
    ]
    return {"inputs": [{**tensors[0], **changes}, *tensors[1:]]}


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (200, {}),
        (200, {"data": IDS.ravel().tolist()}),
        (422, {"data": None}),
        (422, {"data": [1, 2]}),
        (422, {"data": [[1], [2, 3]]}),
        (422, {"data": ["a"] * 8}),
        (422, {"data": [1.5] * 8}),
        (422, {"data": [2**70] * 8}),
        (422, {"data": [300] * 8, "datatype": "INT8"}),
        (422, {"data": [[[[[[[[[1]]]]]]]]]}),
        (422, {"shape": [-2, -4]}),
        (422, {"shape": [2**62, 2**62]}),
        (422, {"shape": [1] * 40}),
        (422, {"datatype": "FP32"}),
        (422, {"datatype": "BYTES"}),
        (422, {"name": "attention_mask"}),
        (422, {"parameters": {"binary_data_size": 64}}),
        (422, {"parameters": {"binary_data_size": -1}}),
        (422, {"parameters": {"shared_memory_region": "x"}, "data": None}),
    ],
)
def test_bodies(all_tasks: Served, status: int, changes: dict[str, Any]) -> None:
    code, answer, headers = all_tasks.post("/v2/models/toy/infer", _body(**changes))
    assert code == status, answer
    assert ("error" in answer) == (status != 200)
    if status == 200:
        assert headers["x-compute-tokens"] == "7"


@pytest.mark.parametrize("length", ["99999", "-1", "x", "1e3", "9" * 40, "0"])
def test_wrong_lengths_of_the_json(all_tasks: Served, length: str) -> None:
    raw = json.dumps(_body()).encode()
    assert all_tasks.post("/v2/models/toy/infer", raw, **{"inference-header-content-length": length})[0] == 422


def test_bytes_that_belong_to_nobody(all_tasks: Served) -> None:
    raw = json.dumps(_body()).encode()
    headers = {"inference-header-content-length": str(len(raw)), "content-type": "application/octet-stream"}
    assert all_tasks.post("/v2/models/toy/infer", raw, **headers)[0] == 200
    code, answer, _ = all_tasks.post("/v2/models/toy/infer", raw + b"1234", **headers)
    assert (code, answer["error"]) == (422, "4 bytes belong to no tensor; give each its binary_data_size.")


def test_outputs_that_there_are_not_and_answers_that_are_too_large(all_tasks: Served) -> None:
    body = {**_body(), "outputs": [{"name": "pooler"}]}
    assert all_tasks.post("/v2/models/toy/infer", body)[0] == 422
    ones = {"shape": [2, 90], "datatype": "INT64", "data": [[1] * 90] * 2}
    names = ("input_ids", "attention_mask", "token_type_ids")
    large = {"inputs": [{"name": name, **ones} for name in names]}
    assert all_tasks.post("/v2/models/fill-mask/infer", large)[0] == 413  # 180 tokens times 30,522 words

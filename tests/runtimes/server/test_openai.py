"""/v1/embeddings and /v1/models, through OpenAI's own client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from served import LIMITS, Served, serving
from toy_artifacts import CONFIG, publish_toy, table

import runtimes

TEXTS = ["hello world", "good night .", "my world", "hello", "goodbye"]


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="unused", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def expected(artifact: Path) -> np.ndarray:
    with runtimes.load(artifact) as model:
        return model.embed(TEXTS)


@pytest.mark.parametrize("form", ["float", "base64", openai.NOT_GIVEN])
def test_vectors_are_those_of_the_library(client: openai.OpenAI, expected: np.ndarray, form: Any) -> None:
    answer = client.embeddings.create(model="toy", input=TEXTS, encoding_format=form)
    vectors = [row.embedding for row in answer.data]
    if form == "base64":
        import base64

        vectors = [np.frombuffer(base64.b64decode(str(vector)), "<f4").tolist() for vector in vectors]
    np.testing.assert_allclose(np.array(vectors, np.float32), expected, rtol=1e-6)
    assert [row.index for row in answer.data] == [0, 1, 2, 3, 4]
    assert answer.model == "toy"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 4 + 5 + 4 + 3 + 4


def test_one_text(client: openai.OpenAI, expected: np.ndarray) -> None:
    answer = client.embeddings.create(model="toy", input=TEXTS[0])
    np.testing.assert_allclose(answer.data[0].embedding, expected[0], rtol=1e-6)


@pytest.mark.parametrize("ids", [[5, 6], [[5, 6]], [[2, 5, 6, 3]]], ids=["one", "a list", "with special tokens"])
def test_token_ids(client: openai.OpenAI, expected: np.ndarray, ids: Any) -> None:
    answer = client.embeddings.create(model="toy", input=ids)
    np.testing.assert_allclose(answer.data[0].embedding, expected[0], rtol=1e-6)
    assert answer.usage.prompt_tokens == 4


def test_dimensions_are_cut_and_scaled(client: openai.OpenAI, expected: np.ndarray) -> None:
    answer = client.embeddings.create(model="toy", input=TEXTS, dimensions=2)
    cut = expected[:, :2] / np.linalg.norm(expected[:, :2], axis=1, keepdims=True)
    np.testing.assert_allclose([row.embedding for row in answer.data], cut, rtol=1e-5)


@pytest.mark.parametrize("dimensions", [0, -1, CONFIG.hidden_size + 1])
def test_dimensions_that_there_are_not(client: openai.OpenAI, dimensions: int) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="vectors have 1 to 4"):
        client.embeddings.create(model="toy", input="hello", dimensions=dimensions)


def test_a_long_text_is_cut_and_said_to_be(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="toy", input=["hello " * 50, "hello"])
    assert [row.model_extra["truncated"] for row in answer.data] == [True, False]
    assert answer.usage.prompt_tokens == 12 + 3
    with pytest.raises(openai.UnprocessableEntityError, match="input 0 is longer than the 12 tokens"):
        client.embeddings.create(model="toy", input=["hello " * 50], extra_body={"truncate": False})


def test_ids_out_of_range(client: openai.OpenAI) -> None:
    for ids in ([5, 12], [-1], [2**40]):
        with pytest.raises(openai.UnprocessableEntityError, match="there is no token"):
            client.embeddings.create(model="toy", input=ids)


def test_an_unknown_prompt(client: openai.OpenAI) -> None:
    client.embeddings.create(model="toy", input="hello", extra_body={"input_type": "search_query"})
    with pytest.raises(openai.UnprocessableEntityError, match="there is no prompt 'poem'"):
        client.embeddings.create(model="toy", input="hello", extra_body={"input_type": "poem"})


def test_models(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.object, model.owned_by) == ("toy", "model", "bert-onnx")
    assert client.models.retrieve("toy").id == "toy"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")
    with pytest.raises(openai.NotFoundError) as refused:
        client.embeddings.create(model="nothing", input="hello")
    assert refused.value.type == "not_found_error"


def test_many_texts_are_written_on_another_thread(client: openai.OpenAI, expected: np.ndarray) -> None:
    many = client.embeddings.create(model="toy", input=["hello world"] * 1000, encoding_format="float")
    assert len(many.data) == 1000
    np.testing.assert_allclose([row.embedding for row in many.data[::100]], expected[[0] * 10], rtol=1e-6)


def test_two_models_and_prompts(tmp_path: Path) -> None:
    first, second = publish_toy(tmp_path / "first"), publish_toy(tmp_path / "second", table() * 3)
    with serving(first, second) as served, openai.OpenAI(base_url=f"{served.url}/v1", api_key="x") as client:
        assert [model.id for model in client.models.list()] == ["first", "second"]
        one, three = (
            client.embeddings.create(model=name, input="hello").data[0].embedding for name in ("first", "second")
        )
        np.testing.assert_allclose(np.array(one) * 3, three, rtol=1e-5)


def test_keys(artifact: Path) -> None:
    with serving(artifact, keys=("right", "other")) as served:
        url = f"{served.url}/v1"
        with openai.OpenAI(base_url=url, api_key="right") as client:
            assert client.embeddings.create(model="toy", input="hello").data
        for key in ("wrong", "righ", "right2", "", "é"):
            status, answer, headers = served.post(
                "/v1/embeddings", {"input": "hello"}, authorization=f"Bearer {key}".encode().decode("latin-1")
            )
            assert status == 401
            assert answer["error"]["type"] == "authentication_error"
            assert headers["www-authenticate"] == "Bearer"
        with openai.OpenAI(base_url=url, api_key="wrong") as client, pytest.raises(openai.AuthenticationError):
            client.models.list()
        assert served.get("/metrics")[0] == 401
        assert served.get("/health/ready")[0] == 200


def test_a_fault_is_an_error_and_its_neighbours_are_answered(tmp_path: Path) -> None:
    """A vector that is not a number, or zero, is never an answer."""
    poisoned = publish_toy(tmp_path / "toy", table("night"))
    with serving(poisoned) as served, openai.OpenAI(base_url=f"{served.url}/v1", api_key="x", max_retries=0) as client:
        gate = served.gate()
        gate.open.clear()
        import concurrent.futures as futures

        with futures.ThreadPoolExecutor(8) as pool:
            asked = [
                pool.submit(client.embeddings.create, model="toy", input=text)
                for text in ["hello"] * 4 + ["night"] + ["world"] * 3
            ]
            assert gate.entered.wait(10)
            gate.open.set()
            outcomes = [one.exception() for one in asked]
        assert [type(error) for error in outcomes] == [type(None)] * 4 + [openai.InternalServerError] + [type(None)] * 3
        assert "onnx" not in str(outcomes[4])
        assert str(tmp_path) not in str(outcomes[4])


def test_zero_vectors_are_a_fault(tmp_path: Path) -> None:
    zeros = publish_toy(tmp_path / "toy", table() * 0)
    with serving(zeros, limits=LIMITS) as served:
        assert served.post("/v1/embeddings", {"input": "hello"})[0] == 500

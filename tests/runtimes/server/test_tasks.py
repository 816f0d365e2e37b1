"""Every task over HTTP, from tiny random models: what the routes answer is what the pipelines give."""

from __future__ import annotations

import concurrent.futures as futures
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import InferenceClient
from served import Served

import runtimes

DOCUMENTS = ["Paris is the capital of France.", "A cat.", "The river rises in the hills. " * 30, "A dog ran off."]


@pytest.fixture
def served(all_tasks: Served) -> Served:
    return all_tasks


@pytest.fixture
def client() -> InferenceClient:
    return InferenceClient(token="unused")


def test_embed(served: Served, client: InferenceClient, artifact: Path) -> None:
    with runtimes.load(artifact) as model:
        expected = model.embed(["hello world", "my world"], normalize_embeddings=True)
        raw = model.embed(["hello world"])
    found = client.feature_extraction(["hello world", "my world"], model=f"{served.url}/embed")
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(
        client.feature_extraction("hello world", model=f"{served.url}/embed", normalize=False), raw, rtol=1e-6
    )
    code, answer, _ = served.post("/embed", {"inputs": "hello world", "dimensions": 2})
    assert code == 200
    np.testing.assert_allclose(answer[0], raw[0, :2] / np.linalg.norm(raw[0, :2]), rtol=1e-5)
    assert served.post("/embed", {"inputs": "hello", "prompt_name": "poem"})[0] == 422


def test_the_side_that_is_cut(served: Served) -> None:
    text = "hello " + "world " * 10 + "night"  # of 12 tokens the model reads 10
    right, left, ids = (
        served.post("/embed", {"inputs": given, **more})[1]
        for given, more in (
            (text, {}),
            (text, {"truncation_direction": "Left"}),
            ([*[6] * 9, 9], {}),
        )
    )
    assert left == ids
    assert right != left
    code, answer, _ = served.post("/embed", {"inputs": [[5, *[6] * 10, 9]], "truncation_direction": "left"})
    assert (code, answer) == (200, ids)
    code, answer, _ = served.post("/embed", {"inputs": text, "truncate": False})
    assert code == 422
    assert answer["error_type"] == "Validation"


def test_similarity(served: Served, client: InferenceClient) -> None:
    sentences = ["hello world", "good night .", "hello"]
    found = client.sentence_similarity("hello world", other_sentences=sentences, model=f"{served.url}/similarity")
    vectors = np.array(served.post("/embed", {"inputs": ["hello world", *sentences]})[1])
    np.testing.assert_allclose(found, vectors[1:] @ vectors[0], rtol=1e-4)
    assert served.post("/similarity", {"inputs": {"source_sentence": "a", "sentences": []}})[0] == 422


def test_predict(served: Served, offline: dict[str, Any]) -> None:
    pipeline = offline["text-classification"]
    (expected,) = pipeline(["A cat."])
    code, answer, headers = served.post("/predict", {"inputs": "A cat."})
    assert code == 200
    assert [row["label"] for row in answer] == [label.label for label in expected.labels]
    np.testing.assert_allclose([row["score"] for row in answer], [label.score for label in expected.labels], rtol=1e-4)
    assert headers["x-compute-tokens"] == "5"
    (pair,) = pipeline(["A cat."], ["A dog."])
    answer = served.post("/predict", {"inputs": ["A cat.", "A dog."]})[1]
    assert answer[0]["label"] == pair.best.label
    assert answer[0]["score"] == pytest.approx(pair.score, rel=1e-4)
    several = served.post("/predict", {"inputs": [["A cat."], ["A cat.", "A dog."], ["x " * 500]], "raw_scores": True})
    assert several[2]["x-truncated"] == "1"
    raw = pipeline([{"text": "A cat."}, {"text": "A cat.", "text_pair": "A dog."}], function_to_apply="none")
    for row, one in zip(several[1], raw, strict=False):
        assert [label["score"] for label in row] == pytest.approx([label.score for label in one.labels], rel=1e-4)
    for wrong in (1, [], [["a", "b", "c"]], [[1]], ["a", "b", "c"], {"text": "a"}):
        assert served.post("/predict", {"inputs": wrong})[0] == 422
    assert served.post("/predict", {"inputs": "x " * 500, "truncate": False})[0] == 422


def test_rerank(served: Served, offline: dict[str, Any]) -> None:
    expected = offline["text-ranking"].rank("Where is Paris?", DOCUMENTS, activation_fn="Sigmoid")
    code, answer, headers = served.post(
        "/rerank", {"model": "text-ranking", "query": "Where is Paris?", "texts": DOCUMENTS}
    )
    assert code == 200
    assert [row["index"] for row in answer] == [one.corpus_id for one in expected]
    assert [row["score"] for row in answer] == pytest.approx([one.score for one in expected], rel=1e-4)
    assert "text" not in answer[0]
    assert headers["x-truncated"] == "1"
    raw = served.post(
        "/rerank",
        {
            "model": "text-ranking",
            "query": "Where is Paris?",
            "texts": DOCUMENTS,
            "raw_scores": True,
            "return_text": True,
        },
    )
    logits = offline["text-ranking"].rank("Where is Paris?", DOCUMENTS, activation_fn="Identity")
    assert [row["score"] for row in raw[1]] == pytest.approx([one.score for one in logits], rel=1e-4, abs=1e-5)
    assert raw[1][0]["text"] == DOCUMENTS[raw[1][0]["index"]]
    assert served.post("/rerank", {"model": "text-ranking", "query": "a", "texts": []})[0] == 422
    assert served.post("/rerank", {"model": "text-ranking", "query": "a" * 10_000, "texts": ["b"] * 1000})[0] == 413
    assert (
        served.post("/rerank", {"model": "text-ranking", "query": "a", "texts": DOCUMENTS, "truncate": False})[0] == 422
    )


def test_v1_rerank(served: Served, offline: dict[str, Any]) -> None:
    expected = offline["text-ranking"].rank("Where is Paris?", DOCUMENTS)
    documents = [DOCUMENTS[0], {"text": DOCUMENTS[1]}, *DOCUMENTS[2:]]
    body = {"model": "text-ranking", "query": "Where is Paris?", "documents": documents, "top_n": 2}
    code, answer, _ = served.post("/v1/rerank", {**body, "return_documents": True})
    assert code == 200
    assert [row["index"] for row in answer["results"]] == [one.corpus_id for one in expected[:2]]
    assert [row["relevance_score"] for row in answer["results"]] == pytest.approx(
        [one.score for one in expected[:2]], rel=1e-4
    )
    assert answer["results"][0]["document"] == {"text": DOCUMENTS[expected[0].corpus_id]}
    assert answer["usage"]["total_tokens"] > 100
    assert "document" not in served.post("/v1/rerank", body)[1]["results"][0]
    for change in ({"top_n": 0}, {"documents": [1]}, {"documents": [{"title": "a"}]}, {"query": None}):
        assert served.post("/v1/rerank", {**body, **change})[0] == 422


def test_tokenize_and_decode(served: Served) -> None:
    code, answer, _ = served.post("/tokenize", {"inputs": ["hello World", "goodbye"]})
    assert code == 200
    assert [row["id"] for row in answer[0]] == [2, 5, 6, 3]
    assert answer[0][2] == {"id": 6, "text": "World", "special": False, "start": 6, "stop": 11}
    assert answer[0][0] == {"id": 2, "text": "[CLS]", "special": True, "start": None, "stop": None}
    bare = served.post("/tokenize", {"inputs": "hello", "add_special_tokens": False})[1]
    assert [row["id"] for row in bare[0]] == [5]
    assert served.post("/decode", {"ids": [2, 5, 6, 3]})[1] == ["hello world"]
    assert served.post("/decode", {"ids": [[2, 5], [7, 8]], "skip_special_tokens": False})[1] == [
        "[CLS] hello",
        "goodbye",
    ]
    assert served.post("/decode", {"ids": [99]})[0] == 422
    assert served.post("/decode", {"ids": ["a"]})[0] == 422
    assert served.post("/tokenize", {"inputs": ". " * 400_000})[0] == 413


def test_info(served: Served) -> None:
    code, answer, _ = served.get("/info")
    assert code == 200
    assert (answer["model_id"], answer["max_input_length"], answer["auto_truncate"]) == ("toy", 12, True)


def test_fill_mask(served: Served, client: InferenceClient, offline: dict[str, Any]) -> None:
    text = "Paris is the [MASK] of France."
    (expected,) = offline["fill-mask"]([text], top_k=3)
    found = client.fill_mask(text, model=f"{served.url}/fill-mask", top_k=3)
    assert [one.token_str for one in found] == [guess.token_str for guess in expected.masks[0]]
    assert [one.score for one in found] == pytest.approx([guess.score for guess in expected.masks[0]], rel=1e-3)
    targets = client.fill_mask(text, model=f"{served.url}/fill-mask", targets=["cat", "dog"])
    assert {one.token_str for one in targets} == {"cat", "dog"}
    several = served.post("/fill-mask", {"inputs": [text, "[MASK] and [MASK]"], "top_k": 2})[1]
    assert [len(several[0]), len(several[1]), len(several[1][0])] == [2, 2, 2]
    assert served.post("/fill-mask", {"inputs": "no mask"})[0] == 422


def test_entities(served: Served, client: InferenceClient, offline: dict[str, Any]) -> None:
    text = "Angela Merkel lives in Berlin and the cat sat on the mat."
    (expected,) = offline["token-classification"]([text])
    found = client.token_classification(text, model=f"{served.url}/entities")
    assert [(one.entity_group, one.word, one.start, one.end) for one in found] == [
        (one.label, one.word, one.start, one.end) for one in expected.entities
    ]
    assert found
    long = " ".join([text] * 20)
    (whole,) = offline["token-classification"]([long], stride=10)
    assert len(served.post("/entities", {"inputs": long, "stride": 10})[1]) == len(whole.entities)
    assert served.post("/entities", {"inputs": long})[2]["x-truncated"] == "1"
    tokens = served.post("/entities", {"inputs": text, "aggregation_strategy": "none"})[1]
    assert {"entity", "index"} <= set(tokens[0])
    assert served.post("/entities", {"inputs": text, "aggregation_strategy": "magic"})[0] == 422


def test_answers(served: Served, client: InferenceClient, offline: dict[str, Any]) -> None:
    question, context = "Where does Angela live?", "Angela lives in Berlin, and the cat sat on the mat. " * 20
    (expected,) = offline["question-answering"]([question], [context])
    found = client.question_answering(question, context, model=f"{served.url}/answers")
    assert (found.answer, found.start, found.end) == (expected.best.answer, expected.best.start, expected.best.end)
    assert found.score == pytest.approx(expected.best.score, rel=1e-3)
    three = served.post("/answers", {"inputs": [{"question": question, "context": context}], "top_k": 3})[1]
    assert len(three[0]) == 3
    for wrong in ({"question": "", "context": "a"}, {"question": "a"}, []):
        assert served.post("/answers", {"inputs": wrong})[0] == 422


def test_a_model_for_another_task(served: Served) -> None:
    code, answer, _ = served.post("/rerank", {"model": "toy", "query": "a", "texts": ["b"]})
    assert code == 404
    assert "the model 'toy' does not" in answer["error"]


def test_rows_of_many_requests_share_batches_and_stay_apart(served: Served, offline: dict[str, Any]) -> None:
    texts = [f"The cat number {n} sat on the mat {'again ' * (n % 7)}." for n in range(40)]
    expected = [one.score for one in offline["text-classification"](texts)]
    gate = served.gate("text-classification")
    gate.open.clear()
    with futures.ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(served.post, "/predict", {"inputs": text}) for text in texts]
        assert gate.entered.wait(10)
        gate.open.set()
        found = [one.result()[1][0]["score"] for one in asked]
    assert found == pytest.approx(expected, rel=1e-4)

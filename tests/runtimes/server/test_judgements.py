"""Routes for tokens, sparse vectors, pairs and labels of a caller: what they answer is what the pipelines give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import InferenceClient
from late_checkpoints import DOCUMENTS, QUERIES
from served import Served

import runtimes

TEXT = "Paris is the capital of France."
LABELS = ["politics", "sports", "weather"]


def test_embed_sparse(all_tasks: Served, offline: dict[str, Any]) -> None:
    texts = ["c a b a", "b"]
    expected = offline["sparse-embedding"].embed_sparse(texts)
    code, answer, headers = all_tasks.post("/embed_sparse", {"inputs": texts})
    assert code == 200
    assert [[row["index"] for row in one] for one in answer] == [one.indices.tolist() for one in expected]
    assert [[row["value"] for row in one] for one in answer] == [one.weights.tolist() for one in expected]
    assert set(answer[0][0]) == {"index", "value"}
    assert (headers["x-compute-tokens"], headers["x-truncated"]) == ("9", "0")
    (top,) = all_tasks.post("/embed_sparse", {"inputs": "c a b a", "top_k": 2, "return_tokens": True})[1]
    (kept,) = offline["sparse-embedding"].embed_sparse("c a b a", max_active_dims=2)
    assert [(row["token"], row["value"]) for row in top] == list(zip(kept.tokens, kept.weights.tolist(), strict=True))
    for wrong in ({"inputs": 1}, {"inputs": "a", "top_k": 0}, {"inputs": "a " * 40, "truncate": False}):
        assert all_tasks.post("/embed_sparse", wrong)[0] == 422


def test_embed_all(all_tasks: Served, artifact: Path, offline: dict[str, Any]) -> None:
    texts = ["A cat sat on the mat.", "Dogs."]
    expected = offline["feature-extraction"](texts)
    code, answer, headers = all_tasks.post("/embed_all", {"inputs": texts, "model": "feature-extraction"})
    assert code == 200
    for found, one in zip(answer, expected, strict=True):
        np.testing.assert_allclose(found, one.vectors, rtol=1e-4, atol=1e-5)
    assert headers["x-compute-tokens"] == str(sum(len(one.tokens) for one in expected))
    (found,) = all_tasks.post("/embed_all", {"inputs": "hello world", "model": "toy"})[1]
    with runtimes.load(artifact) as model:
        np.testing.assert_allclose(np.mean(found, axis=0), model.embed("hello world")[0], rtol=1e-5)
    cut = all_tasks.post("/embed_all", {"inputs": "a " * 500, "model": "feature-extraction"})
    assert (len(cut[1][0]), cut[2]["x-truncated"]) == (96, "1")
    assert all_tasks.post("/embed_all", {"inputs": "a " * 500, "model": "toy", "truncate": False})[0] == 422


def test_tokens_of_late_interaction(all_tasks: Served, late: Path) -> None:
    """Queries have vectors of expansion tokens, which nothing attends to; documents lack punctuation."""
    with runtimes.load(late) as model:
        assert model.describe().variant.endswith("unpadded")
        documents, queries = model.encode_document(DOCUMENTS), model.encode_query(QUERIES)
    for kind, texts, expected in (("document", DOCUMENTS, documents), ("query", QUERIES, queries)):
        code, answer, _ = all_tasks.post("/embed_all", {"inputs": texts, "input_type": kind, "model": "late"})
        assert code == 200
        for found, one in zip(answer, expected, strict=True):
            np.testing.assert_allclose(found, one, rtol=1e-4, atol=1e-6)
    code, answer, _ = all_tasks.post("/embed_all", {"inputs": [5, 6], "model": "late"})
    assert (code, "does not take token ids" in answer["error"]) == (422, True)


@pytest.mark.parametrize("truncate", [True, False])
def test_late_interaction_ranks(all_tasks: Served, late: Path, truncate: bool) -> None:
    documents = [text for text in DOCUMENTS if truncate or len(text) < 40]
    with runtimes.load(late) as model:
        expected = model.rank(QUERIES[1], documents)
    body = {"model": "late", "query": QUERIES[1], "truncate": truncate}
    code, answer, headers = all_tasks.post("/v1/rerank", {**body, "documents": documents, "return_documents": True})
    assert code == 200
    rows = [(row["index"], row["truncated"], row["document"]["text"]) for row in answer["results"]]
    assert rows == [(one.corpus_id, one.truncated, documents[one.corpus_id]) for one in expected]
    scores = [row["relevance_score"] for row in answer["results"]]
    assert scores == pytest.approx([one.score for one in expected], rel=1e-5)
    assert int(headers["x-truncated"]) == sum(one.truncated for one in expected)
    assert answer["usage"]["total_tokens"] > 16
    plain = all_tasks.post("/rerank", {**body, "texts": documents})[1]
    assert [row["score"] for row in plain] == scores
    if not truncate:
        code, answer, _ = all_tasks.post("/rerank", {**body, "texts": DOCUMENTS})
        assert (code, "longer than the 20 tokens" in answer["error"]) == (422, True)


def test_next_sentence(all_tasks: Served, offline: dict[str, Any]) -> None:
    pairs = [{"text": TEXT, "text_pair": "It lies on the Seine."}, {"text": "A cat.", "text_pair": "b " * 500}]
    expected = offline["next-sentence-prediction"](*zip(*(pair.values() for pair in pairs), strict=True))
    code, answer, headers = all_tasks.post("/next-sentence", {"inputs": pairs})
    assert code == 200
    for found, one in zip(answer, expected, strict=True):
        assert found == {**one.to_dict(), "score": pytest.approx(one.score, rel=1e-4)}
    assert headers["x-truncated"] == "1"
    assert all_tasks.post("/next-sentence", {"inputs": pairs[0]})[1] == answer[0]
    for wrong in ({"inputs": pairs, "truncate": False}, {"inputs": []}, {"inputs": {"text": "a"}}, {"inputs": "a"}):
        assert all_tasks.post("/next-sentence", wrong)[0] == 422


def test_choices(all_tasks: Served, offline: dict[str, Any]) -> None:
    asked = [{"text": TEXT, "choices": ["yes", "no", "it rains " * 9]}, {"text": "A cat", "choices": ["ran", "sat"]}]
    expected = offline["multiple-choice"]([one["text"] for one in asked], [one["choices"] for one in asked])
    code, answer, headers = all_tasks.post("/choices", {"inputs": asked})
    assert code == 200
    for found, one in zip(answer, expected, strict=True):
        assert (found["index"], found["choice"], found["truncated"]) == (one.index, one.choice, one.truncated)
        assert found["scores"] == pytest.approx(one.scores, rel=1e-4)
    assert int(headers["x-compute-tokens"]) > 30
    assert all_tasks.post("/choices", {"inputs": asked[1]})[1] == answer[1]
    long = {"text": "a", "choices": ["a " * 500, "b"]}
    assert all_tasks.post("/choices", {"inputs": long})[1]["truncated"]
    for wrong in ({"inputs": long, "truncate": False}, {"inputs": {"text": "a", "choices": []}}, {"inputs": []}):
        assert all_tasks.post("/choices", wrong)[0] == 422
    large = {"text": "a" * 500_000, "choices": ["b"] * 1000}
    assert all_tasks.post("/choices", {"inputs": large})[0] == 413


def test_zero_shot(all_tasks: Served, offline: dict[str, Any]) -> None:
    url = f"{all_tasks.url}/zero-shot"
    (expected,) = offline["text-classification"].zero_shot(TEXT, LABELS)
    found = InferenceClient(token="unused").zero_shot_classification(TEXT, LABELS, model=url)
    assert [one.label for one in found] == list(expected.labels)
    assert [one.score for one in found] == pytest.approx(expected.scores, rel=1e-4)
    several = {"inputs": [TEXT, "x " * 500], "candidate_labels": "politics, sports", "multi_label": True}
    code, answer, headers = all_tasks.post("/zero-shot", several)
    both = offline["text-classification"].zero_shot([TEXT, "x " * 500], ["politics", "sports"], multi_label=True)
    assert (code, headers["x-truncated"]) == (200, "1")
    for one, row in zip(both, answer, strict=True):
        assert row == {**one.to_dict(), "scores": pytest.approx(one.scores, rel=1e-4)}


@pytest.mark.parametrize(
    ("status", "change"),
    [
        (422, {"candidate_labels": []}),
        (422, {"candidate_labels": " , "}),
        (422, {"hypothesis_template": "no place"}),
        (422, {"hypothesis_template": "{0.__class__}"}),
        (422, {"hypothesis_template": "{:>9999999999}"}),
        (422, {"hypothesis_template": "{} {}"}),
        (422, {"inputs": "x " * 500, "truncate": False}),
        (413, {"inputs": ["a"] * 100, "candidate_labels": ["b"] * 100}),
        (413, {"inputs": "a" * 400_000, "candidate_labels": ["b"] * 1000}),
    ],
)
def test_zero_shot_refuses(all_tasks: Served, status: int, change: dict[str, Any]) -> None:
    assert all_tasks.post("/zero-shot", {"inputs": TEXT, "candidate_labels": LABELS, **change})[0] == status

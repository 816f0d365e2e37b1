"""Sparse embeddings without a model: what is kept, how it is shown and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runtimes import VOCABULARY, rule_pipeline

from bert_onnx.errors import InputError, UsageError
from bert_onnx.sentence_settings import SentenceSettings
from runtimes.pipelines.sparse import SparseEmbedding


def by_letters(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A weight for each letter of a text: its place in the vocabulary, twice where it stands twice."""
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    weights = np.zeros((len(ids), len(VOCABULARY)), np.float32)
    for row, (tokens, real) in enumerate(zip(ids, mask, strict=True)):
        for token in tokens[real > 0]:
            weights[row, token] += token if token >= VOCABULARY.index("a") else 0
    return {"sparse_embedding": weights, "logits": np.zeros((*ids.shape, len(VOCABULARY)), np.float32)}


@pytest.fixture
def model(tmp_path: Path) -> Any:
    made = rule_pipeline(tmp_path, "sparse-embedding", by_letters)
    made.sentence = SentenceSettings(similarity_fn_name="dot")
    return made


A, B, C = (VOCABULARY.index(letter) for letter in "abc")


def test_what_is_not_zero_with_its_tokens(model: Any) -> None:
    first, second = model(["c a", "b"])
    assert first.indices.tolist() == [A, C]
    assert first.weights.tolist() == [A, C]
    assert first.tokens == ("a", "c")
    assert first.top() == [("c", C), ("a", A)]
    assert first.top(1) == [("c", C)]
    assert second.to_dict() == {"indices": [B], "weights": [B], "tokens": ["b"], "truncated": False}
    assert first.for_people()["tokens"] == [{"token": "c", "weight": C}, {"token": "a", "weight": A}]
    with pytest.raises(UsageError, match="count is 0"):
        first.top(0)


def test_the_heaviest_are_kept(model: Any) -> None:
    (one,) = model.embed_sparse("a b c", max_active_dims=2)
    assert one.tokens == ("b", "c")
    (row,) = model.embed(["a b c"], max_active_dims=2)
    assert np.flatnonzero(row).tolist() == [B, C]
    (cut,) = model.embed_sparse(["a " * 40])
    assert cut.truncated
    for wrong in (0, -1, True, 1.5):
        with pytest.raises(UsageError, match="max_active_dims"):
            model.embed("a", max_active_dims=wrong)


def test_embeddings_are_compared_by_dot_products_of_either_form(model: Any) -> None:
    texts = ["a b", "b c", "c"]
    rows = model.embed(iter(texts))
    expected = rows @ rows.T
    for first in (rows, model.embed_sparse(texts)):
        np.testing.assert_allclose(model.similarity(first, model.embed_sparse(texts)), expected)
    np.testing.assert_allclose(model.similarity(rows[0], rows), expected[:1])
    with pytest.raises(InputError, match="cannot be compared"):
        model.similarity(rows, rows[:, :3])


def test_prompts_and_wrong_texts(model: Any) -> None:
    np.testing.assert_allclose(model.embed(["b"], prompt="a "), model.embed(["a b"]))
    np.testing.assert_allclose(model.encode_query(["b"]), model.embed(["b"]))
    with pytest.raises(UsageError, match="no prompt 'corpus'"):
        model.embed(["b"], prompt_name="corpus")
    with pytest.raises(InputError, match="text 1 is a int"):
        model(["a", 3])
    for wrong in (None, 3, {"a": 1}, b"a"):
        for method in (model, model.embed, model.embed_sparse):
            with pytest.raises(InputError, match="a text is a string"):
                method(wrong)


def test_an_id_without_a_token_is_none() -> None:
    one = SparseEmbedding(np.array([1, 9]), np.array([0.5, 2.0], np.float32), ("a", None), False)
    assert one.top() == [(None, 2.0), ("a", 0.5)]
    assert one.for_people()["tokens"][0] == {"token": "None", "weight": 2.0}

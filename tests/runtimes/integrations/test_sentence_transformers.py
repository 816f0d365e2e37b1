"""SentenceTransformer, SparseEncoder and CrossEncoder of sentence-transformers 5.7 and 6 over artifacts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bert_onnx
from bert_onnx.errors import UsageError

TEXTS = ["hello world", "good night .", "my world"]
DOCUMENTS = ["a b", "z z", "z"]


def test_a_sentence_transformer(folder: Path, vectors: np.ndarray) -> None:
    pytest.importorskip("sentence_transformers")
    from runtimes.integrations.sentence_transformers import sentence_transformer

    model = sentence_transformer(folder)
    np.testing.assert_allclose(model.encode(TEXTS, batch_size=2), vectors, atol=1e-6)
    np.testing.assert_allclose(model.encode(TEXTS[0]), vectors[0], atol=1e-6)
    assert (model.get_embedding_dimension(), model.max_seq_length, model.similarity_fn_name) == (4, 12, "cosine")
    lengths = np.linalg.norm(model.encode(TEXTS, normalize_embeddings=True, truncate_dim=3), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)
    expected = bert_onnx.load(folder).similarity(vectors, vectors)
    np.testing.assert_allclose(model.similarity(vectors, vectors), expected, atol=1e-6)


def test_prompts_are_those_of_the_artifact(folder: Path) -> None:
    pytest.importorskip("sentence_transformers")
    from runtimes.integrations.sentence_transformers import sentence_transformer

    pipeline = bert_onnx.load(folder)
    pipeline.sentence = replace(pipeline.sentence, prompts={"query": "good ", "document": ""})
    model = sentence_transformer(pipeline)
    np.testing.assert_allclose(model.encode_query(["night"]), pipeline.embed(["good night"]), atol=1e-6)
    np.testing.assert_allclose(model.encode_document(["night"]), pipeline.embed(["night"]), atol=1e-6)
    np.testing.assert_allclose(model.encode(["night"], prompt="my "), pipeline.embed(["my night"]), atol=1e-6)


def test_a_cross_encoder(folder: Path, ranker: Any) -> None:
    pytest.importorskip("sentence_transformers")
    from runtimes.integrations.sentence_transformers import cross_encoder

    model = cross_encoder(ranker)
    np.testing.assert_allclose(model.predict([("a", text) for text in DOCUMENTS], batch_size=2), [0, 2, 1])
    assert [found["corpus_id"] for found in model.rank("a", DOCUMENTS)] == [1, 2, 0]
    with pytest.raises(UsageError, match="does not score pairs"):
        cross_encoder(folder)


def test_a_sparse_encoder(sparse: Any) -> None:
    pytest.importorskip("sentence_transformers")
    from runtimes.integrations.sentence_transformers import sparse_encoder

    made = sparse_encoder(sparse).encode(["a z z", "b"], convert_to_sparse_tensor=False)
    np.testing.assert_allclose(np.asarray(made), sparse.embed(["a z z", "b"]))


def test_saving_is_refused(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    from runtimes.integrations.sentence_transformers import sentence_transformer

    with pytest.raises(UsageError, match="copying its folder"):
        sentence_transformer(folder)[0].save(str(tmp_path))

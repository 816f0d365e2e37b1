"""LangChain, LlamaIndex, Haystack, Chroma and Qdrant, each with the real library: `make integrations` installs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from fake_runtimes import VOCABULARY

from bert_onnx.errors import ArtifactError, UsageError

TEXTS = ["hello world", "good night .", "my world"]
DOCUMENTS = ["a b", "z z", "z"]


def test_langchain(folder: Path, vectors: np.ndarray, ranker: Any) -> None:
    core = pytest.importorskip("langchain_core.documents")
    from runtimes.integrations.langchain import BertOnnxCrossEncoder, BertOnnxEmbeddings

    embeddings = BertOnnxEmbeddings(folder)
    np.testing.assert_allclose(embeddings.embed_documents(TEXTS), vectors, atol=1e-6)
    np.testing.assert_allclose(embeddings.embed_query(TEXTS[0]), vectors[0], atol=1e-6)
    assert embeddings.embed_documents([]) == []
    store = pytest.importorskip("langchain_core.vectorstores").InMemoryVectorStore.from_texts(TEXTS, embeddings)
    assert store.similarity_search(TEXTS[1], k=1)[0].page_content == TEXTS[1]
    compressors = pytest.importorskip("langchain_classic.retrievers.document_compressors")
    reranker = compressors.CrossEncoderReranker(model=BertOnnxCrossEncoder(ranker), top_n=2)
    found = reranker.compress_documents([core.Document(page_content=text) for text in DOCUMENTS], "a")
    assert [one.page_content for one in found] == ["z z", "z"]
    with pytest.raises(UsageError, match="of sentence-similarity, which does not score pairs"):
        BertOnnxCrossEncoder(folder)
    with pytest.raises(UsageError, match="of text-ranking, which does not make one vector"):
        BertOnnxEmbeddings(ranker)
    with pytest.raises(ArtifactError):
        BertOnnxEmbeddings(folder / "none")


def test_llama_index(folder: Path, vectors: np.ndarray, ranker: Any) -> None:
    schema = pytest.importorskip("llama_index.core.schema")
    from runtimes.integrations.llama_index import BertOnnxEmbedding, BertOnnxRerank

    embedding = BertOnnxEmbedding(folder, embed_batch_size=2)
    np.testing.assert_allclose(embedding.get_text_embedding_batch(TEXTS), vectors, atol=1e-6)
    np.testing.assert_allclose(embedding.get_query_embedding(TEXTS[2]), vectors[2], atol=1e-6)
    assert embedding.model_name == str(folder)
    nodes = [schema.NodeWithScore(node=schema.TextNode(text=text)) for text in DOCUMENTS]
    found = BertOnnxRerank(ranker, top_n=2).postprocess_nodes(nodes, query_str="a")
    assert [(one.node.text, one.score) for one in found] == [("z z", 2.0), ("z", 1.0)]
    assert BertOnnxRerank(ranker).postprocess_nodes([], query_str="a") == []
    with pytest.raises(ValueError, match="needs the query"):
        BertOnnxRerank(ranker).postprocess_nodes(nodes)


def test_haystack(folder: Path, vectors: np.ndarray, ranker: Any) -> None:
    haystack = pytest.importorskip("haystack")
    from runtimes.integrations.haystack import BertOnnxDocumentEmbedder, BertOnnxRanker, BertOnnxTextEmbedder

    pipeline = haystack.Pipeline()
    pipeline.add_component("embedder", BertOnnxDocumentEmbedder(str(folder), meta_fields_to_embed=["title"]))
    try:
        again = haystack.Pipeline.loads(pipeline.dumps(), allowed_modules=["runtimes.integrations.haystack"])
    except TypeError:  # before Haystack 3 every module is allowed
        again = haystack.Pipeline.loads(pipeline.dumps())
    documents = [haystack.Document(content="world", meta={"title": "hello"}), haystack.Document(content=TEXTS[1])]
    found = again.run({"embedder": {"documents": documents}})["embedder"]["documents"]
    np.testing.assert_allclose([one.embedding for one in found], vectors[:2], atol=1e-6)
    assert documents[0].embedding is None
    np.testing.assert_allclose(BertOnnxTextEmbedder(str(folder)).run(TEXTS[0])["embedding"], vectors[0], atol=1e-6)
    with patch("runtimes.integrations.haystack.scores_of", return_value=ranker):
        best = BertOnnxRanker("ranker", top_k=2).run("a", [haystack.Document(content=text) for text in DOCUMENTS])
    assert [(one.content, one.score) for one in best["documents"]] == [("z z", 2.0), ("z", 1.0)]
    assert BertOnnxRanker("ranker").run("a", []) == {"documents": []}


def test_chroma(folder: Path, vectors: np.ndarray, tmp_path: Path) -> None:
    chromadb = pytest.importorskip("chromadb")
    from runtimes.integrations.chroma import BertOnnxEmbeddingFunction

    function = BertOnnxEmbeddingFunction(str(folder))
    np.testing.assert_allclose(function(TEXTS), vectors, atol=1e-6)
    assert function.default_space() == "cosine"
    client = chromadb.PersistentClient(str(tmp_path / "store"))
    client.create_collection("texts", embedding_function=function).add(ids=["0", "1", "2"], documents=TEXTS)
    stored = client.get_collection("texts")  # with the function that the collection remembers
    assert stored.query(query_texts=[TEXTS[1]], n_results=1)["documents"] == [[TEXTS[1]]]


def test_qdrant(folder: Path, vectors: np.ndarray, sparse: Any) -> None:
    qdrant = pytest.importorskip("qdrant_client")
    from runtimes.integrations.qdrant import BertOnnxDense, BertOnnxSparse

    dense, client = BertOnnxDense(folder), qdrant.QdrantClient(":memory:")
    weights = BertOnnxSparse(sparse)
    client.create_collection("texts", {"dense": dense.vector_params}, {"sparse": weights.vector_params})
    rows = zip(dense.documents(TEXTS), weights.documents(TEXTS), strict=True)
    points = [qdrant.models.PointStruct(id=i, vector={"dense": d, "sparse": s}) for i, (d, s) in enumerate(rows)]
    client.upsert("texts", points)
    np.testing.assert_allclose(dense.query(TEXTS[0]), vectors[0], atol=1e-6)
    assert client.query_points("texts", query=dense.query(TEXTS[1]), using="dense", limit=1).points[0].id == 1
    made = weights.query("a z z")
    assert (made.indices, made.values) == ([VOCABULARY.index("a"), VOCABULARY.index("z")], [1.0, 2.0])
    assert weights.documents([]) == []

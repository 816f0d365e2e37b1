"""Qdrant: vectors of documents and of queries in its own classes, dense or sparse, and the collection's parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qdrant_client.models import Distance, SparseVector, SparseVectorParams, VectorParams

from runtimes.integrations.opening import Model, opened, vectors_of
from runtimes.pipelines.sparse import SparseEncoding

_DISTANCES = {
    "cosine": Distance.COSINE,
    "dot": Distance.DOT,
    "euclidean": Distance.EUCLID,
    "manhattan": Distance.MANHATTAN,
}


class BertOnnxDense:
    """Sentence embeddings for a collection; queries and documents get the model's own prompts."""

    def __init__(self, model: Model) -> None:
        self.model = vectors_of(model)

    @property
    def vector_params(self) -> VectorParams:
        """Size and distance, as `create_collection(vectors_config=...)` takes them."""
        distance = _DISTANCES[self.model.sentence.similarity_fn_name or "cosine"]
        return VectorParams(size=self.model.width(), distance=distance)

    def documents(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text, as `PointStruct(vector=...)` takes it."""
        vectors: list[list[float]] = self.model.encode_document(texts, progress=False).tolist()
        return vectors

    def query(self, text: str) -> list[float]:
        """The vector of a query, as `query_points(query=...)` takes it."""
        vector: list[float] = self.model.encode_query([text], progress=False)[0].tolist()
        return vector


class BertOnnxSparse:
    """Sparse embeddings for a collection; queries and documents get the model's own prompts."""

    vector_params = SparseVectorParams()

    def __init__(self, model: Model) -> None:
        self.model: Any = opened(model, SparseEncoding, "make sparse embeddings")

    def documents(self, texts: Sequence[str]) -> list[SparseVector]:
        """A vector for each text, as `PointStruct(vector={name: ...})` takes it."""
        name = self.model.sentence.document_prompt(None, None)
        made = self.model.embed_sparse(texts, progress=False, prompt_name=name)
        return [SparseVector(indices=one.indices.tolist(), values=one.weights.tolist()) for one in made]

    def query(self, text: str) -> SparseVector:
        """The vector of a query, as `query_points(query=...)` takes it."""
        name = self.model.sentence.query_prompt(None, None)
        (made,) = self.model.embed_sparse([text], progress=False, prompt_name=name)
        return SparseVector(indices=made.indices.tolist(), values=made.weights.tolist())

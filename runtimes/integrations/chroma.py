"""Chroma: an embedding function, which a collection stores and opens again by the artifact's name."""

from __future__ import annotations

from typing import Any

from chromadb.api.types import Documents, EmbeddingFunction, Embeddings, Space
from chromadb.utils.embedding_functions import register_embedding_function

from runtimes.integrations.opening import vectors_of

#: Which of Chroma's spaces has the order of the model's own similarity.
_SPACES: dict[str, Space] = {"cosine": "cosine", "dot": "ip", "euclidean": "l2"}


@register_embedding_function
class BertOnnxEmbeddingFunction(EmbeddingFunction[Documents]):
    """Sentence embeddings; queries and documents get the model's own prompts."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._pipeline = vectors_of(model)

    def __call__(self, input: Documents) -> Embeddings:
        return list(self._pipeline.encode_document(input, progress=False))

    def embed_query(self, input: Documents) -> Embeddings:
        """The vectors of queries."""
        return list(self._pipeline.encode_query(input, progress=False))

    @staticmethod
    def name() -> str:
        """The name under which Chroma stores it."""
        return "bert_onnx"

    def default_space(self) -> Space:
        """The space of the model's own similarity."""
        return _SPACES.get(self._pipeline.sentence.similarity_fn_name, "cosine")

    def get_config(self) -> dict[str, Any]:
        """What a collection stores."""
        return {"model": self.model}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> BertOnnxEmbeddingFunction:
        """The function that a collection has stored."""
        return BertOnnxEmbeddingFunction(config["model"])

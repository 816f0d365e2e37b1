"""LangChain: `Embeddings`, and the cross-encoder that `CrossEncoderReranker` compresses documents with."""

from __future__ import annotations

from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.embeddings import Embeddings

from runtimes.integrations.opening import Model, scores_of, vectors_of


class BertOnnxEmbeddings(Embeddings):
    """Sentence embeddings; queries and documents get the model's own prompts."""

    def __init__(self, model: Model) -> None:
        self.model = vectors_of(model)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        vectors: list[list[float]] = self.model.encode_document(texts, progress=False).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query."""
        vector: list[float] = self.model.encode_query([text], progress=False)[0].tolist()
        return vector


class BertOnnxCrossEncoder(BaseCrossEncoder):
    """Scores of pairs, by the model's own activation."""

    def __init__(self, model: Model) -> None:
        self.model = scores_of(model)

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """A score for each (query, document)."""
        scores: list[float] = self.model.predict(text_pairs).tolist()
        return scores

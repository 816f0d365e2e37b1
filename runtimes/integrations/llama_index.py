"""LlamaIndex: an embedding, and a reranker of nodes."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from runtimes.integrations.opening import Model, scores_of, vectors_of


class BertOnnxEmbedding(BaseEmbedding):
    """Sentence embeddings; queries and documents get the model's own prompts."""

    _model: Any = PrivateAttr()

    def __init__(self, model: Model, embed_batch_size: int = 32) -> None:
        pipeline = vectors_of(model)
        super().__init__(model_name=str(pipeline.folder), embed_batch_size=embed_batch_size)
        self._model = pipeline

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex stores it."""
        return "BertOnnxEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self._model.encode_query([query], progress=False)[0].tolist()
        return vector

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._model.encode_document(texts, progress=False).tolist()
        return vectors


class BertOnnxRerank(BaseNodePostprocessor):
    """Keeps the `top_n` nodes that fit the query best, with the cross-encoder's scores."""

    top_n: int = Field(default=5, description="nodes to keep", gt=0)
    _model: Any = PrivateAttr()

    def __init__(self, model: Model, top_n: int = 5) -> None:
        super().__init__(top_n=top_n)
        self._model = scores_of(model)

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex stores it."""
        return "BertOnnxRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ValueError("a reranker needs the query.")
        texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
        ranked = self._model.rank(query_bundle.query_str, texts, top_k=self.top_n) if texts else []
        return [NodeWithScore(node=nodes[found.corpus_id].node, score=float(found.score)) for found in ranked]

"""Haystack: embedders of texts and of documents, and a ranker."""

from dataclasses import replace
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from runtimes.integrations.opening import scores_of, vectors_of


def _written(document: Document, fields: list[str], separator: str) -> str:
    """The text of a document, behind those of its meta fields that are named."""
    named = [str(document.meta[field]) for field in fields if document.meta.get(field) is not None]
    return separator.join([*named, document.content or ""])


class _Component:
    """A component that opens its model when the pipeline warms up."""

    model: str

    def to_dict(self) -> dict[str, Any]:
        """The component for a pipeline's file."""
        kept = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return default_to_dict(self, **kept)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Any:
        """The component of a pipeline's file."""
        return default_from_dict(cls, data)


@component
class BertOnnxTextEmbedder(_Component):
    """Embeds a query, with the model's prompt for queries."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._pipeline: Any = None

    def warm_up(self) -> None:
        """Open the model."""
        self._pipeline = self._pipeline or vectors_of(self.model)

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """`embedding`: the vector of `text`."""
        self.warm_up()
        return {"embedding": self._pipeline.encode_query([text], progress=False)[0].tolist()}


@component
class BertOnnxDocumentEmbedder(_Component):
    """Embeds documents, with the model's prompt for documents."""

    def __init__(
        self, model: str, meta_fields_to_embed: list[str] | None = None, embedding_separator: str = "\n"
    ) -> None:
        self.model = model
        self.meta_fields_to_embed = meta_fields_to_embed or []
        self.embedding_separator = embedding_separator
        self._pipeline: Any = None

    def warm_up(self) -> None:
        """Open the model."""
        self._pipeline = self._pipeline or vectors_of(self.model)

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """`documents`: copies with their vectors."""
        self.warm_up()
        texts = [_written(one, self.meta_fields_to_embed, self.embedding_separator) for one in documents]
        vectors = self._pipeline.encode_document(texts, progress=False).tolist()
        return {"documents": [replace(one, embedding=vector) for one, vector in zip(documents, vectors, strict=True)]}


@component
class BertOnnxRanker(_Component):
    """Orders documents by how well they fit a query, and keeps the best."""

    def __init__(
        self,
        model: str,
        top_k: int = 10,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
    ) -> None:
        self.model = model
        self.top_k = top_k
        self.meta_fields_to_embed = meta_fields_to_embed or []
        self.embedding_separator = embedding_separator
        self._pipeline: Any = None

    def warm_up(self) -> None:
        """Open the model."""
        self._pipeline = self._pipeline or scores_of(self.model)

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, Any]:
        """`documents`: the best, first, with their scores."""
        if not documents:
            return {"documents": []}
        self.warm_up()
        texts = [_written(one, self.meta_fields_to_embed, self.embedding_separator) for one in documents]
        ranked = self._pipeline.rank(query, texts, top_k=top_k or self.top_k)
        return {"documents": [replace(documents[found.corpus_id], score=float(found.score)) for found in ranked]}

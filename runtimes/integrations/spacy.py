"""spaCy: a component that sets `doc.vector` to the sentence embedding of the document's text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import minibatch

from runtimes.integrations.opening import vectors_of


@Language.factory("bert_onnx", default_config={"model": "", "batch_size": 32})
def make_vectors(nlp: Language, name: str, model: str, batch_size: int) -> BertOnnxVectors:
    """What `nlp.add_pipe("bert_onnx", config={"model": folder})` adds."""
    return BertOnnxVectors(model, batch_size)


class BertOnnxVectors:
    """Sets the vector of each document; `doc.similarity` is then the cosine of these vectors."""

    def __init__(self, model: str, batch_size: int = 32) -> None:
        self.model: Any = vectors_of(model)
        self.batch_size = batch_size

    def __call__(self, doc: Doc) -> Doc:
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], batch_size: int | None = None) -> Iterator[Doc]:
        """The documents of `stream` with their vectors, in batches."""
        for docs in minibatch(stream, batch_size or self.batch_size):
            for doc, vector in zip(docs, self.model.embed([doc.text for doc in docs], progress=False), strict=True):
                doc.vector = vector
                doc.user_hooks["similarity"] = _cosine
                yield doc


def _cosine(first: Doc, second: Any) -> float:
    lengths = first.vector_norm * second.vector_norm
    return float(first.vector @ second.vector / lengths) if lengths else 0.0

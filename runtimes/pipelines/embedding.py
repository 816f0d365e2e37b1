"""sentence-similarity and feature-extraction: one vector a text, or one a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtimes.pipelines.base import Parts, Pipeline
from runtimes.pipelines.batches import Row
from runtimes.pipelines.encoding import Window, check_texts
from runtimes.pipelines.results import Result


@dataclass(frozen=True, eq=False)
class Embedding(Result):
    """The vector of a text, float32 [D]; `truncated` where the end of the text is not in it."""

    vector: np.ndarray
    truncated: bool


@dataclass(frozen=True, eq=False)
class TokenVectors(Result):
    """The vectors of a text's tokens.

    Args:
        tokens: the tokens [S], special ones included.
        vectors: last hidden state, float32 [S, D].
        pooler_output: what the pooler makes of the first token, float32 [D], where the model has one.
        truncated: the end of the text is missing.
    """

    tokens: tuple[str, ...]
    vectors: np.ndarray
    pooler_output: np.ndarray | None
    truncated: bool


class SentenceEmbedding(Pipeline):
    """One vector a text, pooled (and normalised) inside the graph."""

    def __call__(self, texts: str | Sequence[str], batch_size: int = 32) -> list[Embedding]:
        """An embedding for each text, in their order.

        Raises:
            InputError: something among `texts` is not a text.
        """
        return self._run(
            self._encode(check_texts(texts)),
            ["sentence_embedding"],
            batch_size,
            lambda window, row: Embedding(row["sentence_embedding"], window.truncated),
        )

    def embed(self, texts: str | Sequence[str], batch_size: int = 32) -> np.ndarray:
        """The vectors alone, float32 [N, D]."""
        vectors = [embedding.vector for embedding in self(texts, batch_size)]
        return np.stack(vectors) if vectors else np.empty((0, self.config.hidden_size), np.float32)


class FeatureExtraction(Pipeline):
    """One vector a token."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        wanted = ("last_hidden_state", "pooler_output")
        self._outputs = [port.name for port in self.runtime.outputs if port.name in wanted]

    def __call__(self, texts: str | Sequence[str], batch_size: int = 32) -> list[TokenVectors]:
        """The vectors of the tokens of each text, in their order.

        Raises:
            InputError: something among `texts` is not a text.
        """
        return self._run(self._encode(check_texts(texts)), self._outputs, batch_size, self._finish)

    def _finish(self, window: Window, row: Row) -> TokenVectors:
        tokens = tuple(self.tokenizer.convert_ids_to_tokens(window.ids))
        vectors = row["last_hidden_state"][: len(tokens)]
        return TokenVectors(tokens, vectors, row.get("pooler_output"), window.truncated)

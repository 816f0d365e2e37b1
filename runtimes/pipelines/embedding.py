"""sentence-similarity and feature-extraction: one vector a text, or one a token."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass

import numpy as np

from runtimes.pipelines.base import PipelineParts, TokenizingPipeline
from runtimes.pipelines.batches import BatchInputs, BatchOptions, Row, stream_vectors, window_inputs
from runtimes.pipelines.encoding import Window, check_texts
from runtimes.pipelines.results import Result
from runtimes.progress import ProgressLine

_OUTPUT = "sentence_embedding"


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


class SentenceEmbedding(TokenizingPipeline):
    """One vector a text, pooled (and normalised) inside the graph."""

    def __call__(self, texts: str | Sequence[str], batch_size: int = 32) -> list[Embedding]:
        """An embedding for each text, in their order.

        Raises:
            InputError: something among `texts` is not a text.
        """
        return self._run(
            self._encode(check_texts(texts)),
            [_OUTPUT],
            batch_size,
            lambda window, row: Embedding(row[_OUTPUT], window.truncated),
        )

    def embed(
        self,
        texts: str | Iterable[str],
        batch_size: int | None = None,
        progress: bool | None = None,
    ) -> np.ndarray:
        """The vectors alone, float32 [N, D], in the order of `texts`, which may be any iterable.

        Args:
            batch_size: texts of one call; None puts texts of like length together up to a number of tokens.
            progress: show a line with the progress; None does where the work is long and standard error a terminal.

        Raises:
            InputError: something among `texts` is not a text.
            UsageError: `batch_size` is not a number of at least 1.
            InferenceError: the graph failed, or memory ran out for half a batch, too.
        """
        options = BatchOptions() if batch_size is None else BatchOptions.of_size(batch_size)
        given = [texts] if isinstance(texts, str) else texts
        line = ProgressLine("texts", len(given) if isinstance(given, Sized) else None, progress)
        try:
            vectors = list(self.embed_stream(given, options, line.update))
        finally:
            line.close()
        return np.concatenate(vectors) if vectors else np.empty((0, self.config.hidden_size), np.float32)

    def embed_stream(
        self,
        texts: Iterable[str],
        options: BatchOptions | None = None,
        done: Callable[[int], None] = lambda count: None,
    ) -> Iterator[np.ndarray]:
        """Vectors [n, D] of one piece of `texts` after the other, in their order; memory does not grow with their
        number. `done` is called with how many texts are done."""

        def prepare(piece: list[str]) -> BatchInputs:
            windows = self._encode(check_texts(piece))
            return window_inputs(self.runtime, windows, [_OUTPUT], self.tokenizer.padding_id)

        return stream_vectors(prepare, texts, _OUTPUT, options or BatchOptions(), done)


class FeatureExtraction(TokenizingPipeline):
    """One vector a token."""

    def __init__(self, parts: PipelineParts) -> None:
        super().__init__(parts)
        names = ("last_hidden_state", "pooler_output")
        self._outputs = [port.name for port in self.runtime.outputs if port.name in names]

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

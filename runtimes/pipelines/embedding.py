"""sentence-similarity and feature-extraction: one vector a text, or one a token."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bert_onnx.sentence_modules import SENTENCE
from bert_onnx.tasks import PROMPT_LENGTH
from runtimes.pipelines.base import PipelineParts, TokenizingPipeline
from runtimes.pipelines.batches import BatchInputs, BatchOptions, Row, run_rows, stream_vectors, window_inputs
from runtimes.pipelines.encoding import Window, check_texts, prompt_length
from runtimes.pipelines.results import Result
from runtimes.pipelines.sentences import DEFAULT_EMBEDDING, Embedding, EmbeddingOptions, SentencePipeline

__all__ = ["Embedding", "EmbeddingOptions", "FeatureExtraction", "SentenceEmbedding", "TokenVectors"]


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


class SentenceEmbedding(SentencePipeline, TokenizingPipeline):
    """One vector a text, made inside the graph."""

    def __call__(
        self,
        texts: str | Sequence[str],
        batch_size: int = 32,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
    ) -> list[Embedding]:
        """An embedding for each text, in their order; for the prompt and the length see `embed`.

        Raises:
            InputError: something among `texts` is not a text.
            UsageError: there is no such prompt.
        """
        chosen = self._chosen(EmbeddingOptions(prompt_name, prompt, truncate_dim))
        windows = self._prompted(check_texts(texts), chosen.prompt)
        return run_rows(
            self._inputs(windows, chosen.prompt),
            BatchOptions.of_size(batch_size),
            lambda index, row: Embedding(chosen.finish(row[SENTENCE]), windows[index].truncated),
        )

    def embed_stream(
        self,
        texts: Iterable[str],
        options: BatchOptions | None = None,
        done: Callable[[int], None] = lambda count: None,
        embedding: EmbeddingOptions = DEFAULT_EMBEDDING,
    ) -> Iterator[np.ndarray]:
        """Vectors [n, E] of one piece of `texts` after the other, in their order; memory does not grow with their
        number. `done` is called with how many texts are done."""
        chosen = self._chosen(embedding)

        def prepare(piece: list[str]) -> BatchInputs:
            return self._inputs(self._prompted(check_texts(piece), chosen.prompt), chosen.prompt)

        return map(chosen.finish, stream_vectors(prepare, texts, SENTENCE, options or BatchOptions(), done))

    def _prompted(self, texts: list[str], prompt: str) -> list[Window]:
        return self._encode([prompt + text for text in texts] if prompt else texts)

    def _inputs(self, windows: Sequence[Window], prompt: str) -> BatchInputs:
        further = {}
        if any(port.name == PROMPT_LENGTH for port in self.runtime.inputs):
            further[PROMPT_LENGTH] = np.array([prompt_length(self.tokenizer, prompt, self.max_length)], np.int64)
        return window_inputs(self.runtime, windows, [SENTENCE], self.tokenizer.padding_id, further)


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

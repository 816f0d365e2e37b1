"""sparse-embedding: a weight for each token of the vocabulary that a text is about, as SparseEncoder gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from bert_onnx.sentence_modules import SPARSE
from runtimes.pipelines.base import PipelineParts, TokenizingPipeline
from runtimes.pipelines.batches import BatchOptions, Row, run_rows, window_inputs
from runtimes.pipelines.encoding import Window, check_texts
from runtimes.pipelines.in_pieces import in_pieces
from runtimes.pipelines.options import check_count
from runtimes.pipelines.results import Result
from runtimes.pipelines.scores import best
from runtimes.pipelines.similarity import similarity

Made = TypeVar("Made")

#: Tokens that a person is shown.
_SHOWN = 20


@dataclass(frozen=True, eq=False)
class SparseEmbedding(Result):
    """What is not zero of the V weights of a text.

    Args:
        indices: ids of tokens of the vocabulary, int64 [N], rising.
        weights: their weights, float32 [N].
        tokens: the tokens themselves; None for an id that the tokenizer has no token for.
        truncated: the end of the text is not in it.
    """

    indices: np.ndarray
    weights: np.ndarray
    tokens: tuple[str | None, ...]
    truncated: bool

    def top(self, count: int | None = None) -> list[tuple[str | None, float]]:
        """The heaviest tokens and their weights, heaviest first; all of them for None."""
        count = len(self.indices) if count is None else check_count("count", count)
        return [(self.tokens[i], float(self.weights[i])) for i in best(self.weights, count)]

    def for_people(self) -> dict[str, Any]:
        """The heaviest tokens as a table."""
        shown = [{"token": str(token), "weight": weight} for token, weight in self.top(_SHOWN)]
        return {"tokens": shown, "weights": f"{len(self.indices)} are not 0", "truncated": self.truncated}


class SparseEncoding(TokenizingPipeline):
    """Weights of the vocabulary, made inside the graph."""

    def __init__(self, parts: PipelineParts) -> None:
        super().__init__(parts)
        self.sentence = parts.sentence

    def __call__(
        self,
        texts: str | Sequence[str],
        top_k: int | None = None,
        batch_size: int = 8,
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> list[SparseEmbedding]:
        """A sparse embedding for each text, in their order; `top_k` is what `embed_sparse` calls max_active_dims."""
        if top_k is not None:
            check_count("top_k", top_k)
        return self.embed_sparse(check_texts(texts), batch_size, False, prompt_name, prompt, top_k)

    def embed_sparse(
        self,
        texts: str | Iterable[str],
        batch_size: int | None = None,
        progress: bool | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        max_active_dims: int | None = None,
    ) -> list[SparseEmbedding]:
        """A sparse embedding for each of `texts`, which may be any iterable, in their order.

        Args:
            batch_size: texts of one call; None puts texts of like length together up to a number of tokens.
            progress: show a line with the progress; None does where the work is long and standard error a terminal.
            prompt_name: name of the prompt to put before each text; None for the model's default.
            prompt: the prompt itself; it counts before `prompt_name`.
            max_active_dims: the heaviest weights of a text that are kept; None for all.

        Raises:
            InputError: something among `texts` is not a text.
            UsageError: there is no such prompt; `batch_size` or `max_active_dims` is not a number of at least 1.
            InferenceError: the graph failed, or memory ran out for half a batch, too.
        """
        _check_kept(max_active_dims)

        def finish(window: Window, row: Row) -> SparseEmbedding:
            weights = row[SPARSE]
            indices = _kept(weights, max_active_dims)
            tokens = tuple(self.tokenizer.convert_ids_to_tokens(indices.tolist()))
            return SparseEmbedding(indices, weights[indices], tokens, window.truncated)

        return self._made(texts, batch_size, progress, self.sentence.resolve(prompt_name, prompt), finish)

    def embed(
        self,
        texts: str | Iterable[str],
        batch_size: int | None = None,
        progress: bool | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        max_active_dims: int | None = None,
    ) -> np.ndarray:
        """The same with their zeros, float32 [N, V]: 4 bytes for every token of the vocabulary and each text.

        Args and errors as for `embed_sparse`.
        """
        _check_kept(max_active_dims)

        def finish(window: Window, row: Row) -> np.ndarray:
            if max_active_dims is None:
                return row[SPARSE]
            dense = np.zeros_like(row[SPARSE])
            indices = _kept(row[SPARSE], max_active_dims)
            dense[indices] = row[SPARSE][indices]
            return dense

        rows = self._made(texts, batch_size, progress, self.sentence.resolve(prompt_name, prompt), finish)
        return np.stack(rows) if rows else np.empty((0, self.width), np.float32)

    def encode_query(
        self,
        texts: str | Iterable[str],
        batch_size: int | None = None,
        progress: bool | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        max_active_dims: int | None = None,
    ) -> np.ndarray:
        """`embed` with the prompt called `query` where neither `prompt_name` nor `prompt` is given."""
        name = self.sentence.query_prompt(prompt_name, prompt)
        return self.embed(texts, batch_size, progress, name, prompt, max_active_dims)

    def encode_document(
        self,
        texts: str | Iterable[str],
        batch_size: int | None = None,
        progress: bool | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        max_active_dims: int | None = None,
    ) -> np.ndarray:
        """`embed` with the prompt called `document`, `passage` or `corpus`, the first that the model has, where neither
        `prompt_name` nor `prompt` is given."""
        name = self.sentence.document_prompt(prompt_name, prompt)
        return self.embed(texts, batch_size, progress, name, prompt, max_active_dims)

    def similarity(
        self, first: np.ndarray | Sequence[SparseEmbedding], second: np.ndarray | Sequence[SparseEmbedding]
    ) -> np.ndarray:
        """How alike each of N and each of M embeddings are by the model's own measure, which is the dot product unless
        it says otherwise, float32 [N, M]; larger is more alike.

        Raises:
            InputError: arrays that are not vectors of one size.
        """
        return similarity(self._dense(first), self._dense(second), self.sentence.similarity_fn_name)

    @property
    def width(self) -> int:
        """Values of an embedding, zeros included."""
        (port,) = [port for port in self.runtime.outputs if port.name == SPARSE]
        return int(port.axes[-1])

    def _dense(self, embeddings: np.ndarray | Sequence[SparseEmbedding]) -> np.ndarray:
        if not isinstance(embeddings, Sequence) or not all(isinstance(one, SparseEmbedding) for one in embeddings):
            return np.asarray(embeddings)
        dense = np.zeros((len(embeddings), self.width), np.float32)
        for row, one in zip(dense, embeddings, strict=True):
            row[one.indices] = one.weights
        return dense

    def _made(
        self,
        texts: str | Iterable[str],
        batch_size: int | None,
        progress: bool | None,
        prompt: str,
        finish: Callable[[Window, Row], Made],
    ) -> list[Made]:
        """`finish(window, row)` for each text, in their order."""

        def make(piece: list[str], options: BatchOptions) -> list[Made]:
            windows = self._encode([prompt + text for text in piece])
            inputs = window_inputs(self.runtime, windows, [SPARSE], self.tokenizer.padding_id)
            return run_rows(inputs, options, lambda index, row: finish(windows[index], row))

        return in_pieces(texts, batch_size, progress, make)


def _check_kept(count: int | None) -> None:
    if count is not None:
        check_count("max_active_dims", count)


def _kept(weights: np.ndarray, most: int | None) -> np.ndarray:
    """Indices of what is not zero among `weights` [V], rising; of the `most` largest magnitudes alone."""
    indices = np.flatnonzero(weights)
    return indices if most is None else np.sort(indices[best(np.abs(weights[indices]), most)])

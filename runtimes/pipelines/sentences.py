"""What pipelines of sentence embeddings share: prompts, truncation, similarity, as sentence-transformers has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass

import numpy as np

from bert_onnx.sentence_modules import SENTENCE
from runtimes.pipelines.base import Pipeline, PipelineParts
from runtimes.pipelines.batches import BatchOptions
from runtimes.pipelines.encoding import iterable_texts
from runtimes.pipelines.options import check_count
from runtimes.pipelines.results import Result
from runtimes.pipelines.similarity import similarity
from runtimes.progress import ProgressLine

#: Vectors shorter than this are divided by it, as torch does.
_SHORTEST = 1e-12


@dataclass(frozen=True, eq=False)
class Embedding(Result):
    """The vector of a text, float32 [E]; `truncated` where the end of the text is not in it."""

    vector: np.ndarray
    truncated: bool


@dataclass(frozen=True)
class EmbeddingOptions:
    """What a caller may choose about embeddings.

    Args:
        prompt_name: name of the prompt to put before each text; None for the model's default.
        prompt: the prompt itself; it counts before `prompt_name`.
        truncate_dim: values to keep, the first ones; None for as many as the model's settings say.
        normalize_embeddings: scale the result to length 1, after it was cut.
    """

    prompt_name: str | None = None
    prompt: str | None = None
    truncate_dim: int | None = None
    normalize_embeddings: bool = False

    def __post_init__(self) -> None:
        if self.truncate_dim is not None:
            check_count("truncate_dim", self.truncate_dim)


#: What a caller chooses who says nothing.
DEFAULT_EMBEDDING = EmbeddingOptions()


@dataclass(frozen=True)
class ChosenEmbedding:
    """Options, with what the model says where a caller said nothing; for the fields see `EmbeddingOptions`."""

    prompt: str
    truncate_dim: int | None
    normalize_embeddings: bool

    def finish(self, vectors: np.ndarray) -> np.ndarray:
        """[..., E] cut, and then scaled where that was asked for: sentence-transformers' `encode` has this order."""
        if self.truncate_dim is not None:
            vectors = np.ascontiguousarray(vectors[..., : self.truncate_dim])
        if self.normalize_embeddings:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _SHORTEST)
        return vectors


class SentencePipeline(Pipeline):
    """Base of what makes sentence embeddings, from tokens or from texts."""

    #: [n, E] of one piece of texts after the other.
    embed_stream: Callable[..., Iterator[np.ndarray]]

    def __init__(self, parts: PipelineParts) -> None:
        super().__init__(parts)
        self.sentence = parts.sentence

    def embed(
        self,
        texts: str | Iterable[str],
        batch_size: int | None = None,
        progress: bool | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        normalize_embeddings: bool = False,
    ) -> np.ndarray:
        """The vectors alone, float32 [N, E], in the order of `texts`, which may be any iterable.

        Args:
            batch_size: texts of one call; None puts texts of like length together up to a number of tokens.
            progress: show a line with the progress; None does where the work is long and standard error a terminal.
            prompt_name, prompt, truncate_dim, normalize_embeddings: see `EmbeddingOptions`.

        Raises:
            InputError: something among `texts` is not a text.
            UsageError: there is no such prompt; `batch_size` or `truncate_dim` is not a number of at least 1.
            InferenceError: the graph failed, or memory ran out for half a batch, too.
        """
        options = None if batch_size is None else BatchOptions.of_size(batch_size)
        embedding = EmbeddingOptions(prompt_name, prompt, truncate_dim, normalize_embeddings)
        given = iterable_texts(texts)
        line = ProgressLine("texts", len(given) if isinstance(given, Sized) else None, progress)
        try:
            vectors = list(self.embed_stream(given, options, line.update, embedding))
        finally:
            line.close()
        return np.concatenate(vectors) if vectors else np.empty((0, self.width(truncate_dim)), np.float32)

    def encode_query(
        self,
        texts: str | Iterable[str],
        batch_size: int | None = None,
        progress: bool | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        normalize_embeddings: bool = False,
    ) -> np.ndarray:
        """`embed` with the prompt called `query` where neither `prompt_name` nor `prompt` is given."""
        name = self.sentence.query_prompt(prompt_name, prompt)
        return self.embed(texts, batch_size, progress, name, prompt, truncate_dim, normalize_embeddings)

    def encode_document(
        self,
        texts: str | Iterable[str],
        batch_size: int | None = None,
        progress: bool | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        normalize_embeddings: bool = False,
    ) -> np.ndarray:
        """`embed` with the prompt called `document`, `passage` or `corpus`, the first that the model has, where neither
        `prompt_name` nor `prompt` is given."""
        name = self.sentence.document_prompt(prompt_name, prompt)
        return self.embed(texts, batch_size, progress, name, prompt, truncate_dim, normalize_embeddings)

    def similarity(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """How alike the vectors [N, E] and [M, E] are by the model's own measure, float32 [N, M]; larger is more alike.

        Raises:
            InputError: they are not vectors of one size.
        """
        return similarity(first, second, self.sentence.similarity_fn_name)

    def width(self, truncate_dim: int | None = None) -> int:
        """Values of an embedding."""
        (port,) = [port for port in self.runtime.outputs if port.name == SENTENCE]
        kept = truncate_dim or self.sentence.truncate_dim or port.axes[-1]
        return min(int(port.axes[-1]), int(kept))

    def _chosen(self, options: EmbeddingOptions) -> ChosenEmbedding:
        """Raises UsageError: there is no such prompt."""
        prompt = self.sentence.resolve(options.prompt_name, options.prompt)
        return ChosenEmbedding(prompt, options.truncate_dim or self.sentence.truncate_dim, options.normalize_embeddings)

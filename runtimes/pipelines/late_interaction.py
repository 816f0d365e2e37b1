"""late-interaction: a vector for each token of queries and of documents, which meet in MaxSim; as PyLate has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bert_onnx.artifact import Artifact
from bert_onnx.late_interaction import LateInteraction, read_late_interaction
from bert_onnx.sentence_modules import TOKENS
from runtimes.engines.base import Runtime
from runtimes.pipelines.base import PipelineParts, TokenizingPipeline
from runtimes.pipelines.batches import BatchOptions, run_rows, window_inputs
from runtimes.pipelines.encoding import Window, check_texts
from runtimes.pipelines.in_pieces import in_pieces
from runtimes.pipelines.late_tokens import TokenReader
from runtimes.pipelines.max_sim import max_sim
from runtimes.pipelines.ranked import RankedDocument, check_ranking, rank_documents
from runtimes.pipelines.results import Result


@dataclass(frozen=True, eq=False)
class TokenEmbeddings(Result):
    """The vectors of a text that count in MaxSim.

    Args:
        tokens: their tokens [S], markers and special ones included.
        vectors: float32 [S, E], each of length 1.
        truncated: the end of the text is missing.
    """

    tokens: tuple[str | None, ...]
    vectors: np.ndarray
    truncated: bool


class LateInteractionEmbedding(TokenizingPipeline):
    """Vectors of tokens, made inside the graph; markers, expansion and skipped words here."""

    def __init__(self, parts: PipelineParts) -> None:
        super().__init__(parts)
        self.sentence = parts.sentence
        self.settings = LateInteraction() if parts.folder is None else read_late_interaction(parts.folder)
        #: Makes rows of texts.
        self.reader = TokenReader(self.tokenizer, self.settings, self.config.longest_sequence)

    def __call__(
        self,
        texts: str | Sequence[str],
        is_query: bool = False,
        batch_size: int = 32,
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> list[TokenEmbeddings]:
        """The tokens of each text that count and their vectors, in the order of the texts.

        Raises:
            InputError: something among `texts` is not a text.
            UsageError: there is no such prompt.
        """
        return self._embed(check_texts(texts), is_query, batch_size, False, self.sentence.resolve(prompt_name, prompt))

    def encode_query(
        self,
        texts: str | Iterable[str],
        batch_size: int | None = None,
        progress: bool | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> list[np.ndarray]:
        """Vectors of the tokens of each query, float32 [S, E]: those of the expansion to `query_length` are among them.

        Args:
            texts: any iterable.
            batch_size: texts of one call; None puts texts of like length together up to a number of tokens.
            progress: show a line with the progress; None does where the work is long and standard error a terminal.
            prompt_name, prompt: what is put before each text, by name or itself; None for the model's default.

        Raises:
            InputError: something among `texts` is not a text.
            UsageError: there is no such prompt; `batch_size` is not a number of at least 1.
        """
        made = self._embed(texts, True, batch_size, progress, self.sentence.resolve(prompt_name, prompt))
        return [one.vectors for one in made]

    def encode_document(
        self,
        texts: str | Iterable[str],
        batch_size: int | None = None,
        progress: bool | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> list[np.ndarray]:
        """Vectors of the tokens of each document, float32 [S, E], without the words that are skipped.

        Args and errors as for `encode_query`.
        """
        made = self._embed(texts, False, batch_size, progress, self.sentence.resolve(prompt_name, prompt))
        return [one.vectors for one in made]

    def similarity(self, queries: Sequence[np.ndarray], documents: Sequence[np.ndarray]) -> np.ndarray:
        """MaxSim of each query and each document, float32 [N, M]; larger is better.

        Args:
            queries, documents: what `encode_query` and `encode_document` return.

        Raises:
            InputError: something else.
        """
        return max_sim([np.asarray(one) for one in queries], [np.asarray(one) for one in documents])

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
    ) -> list[RankedDocument]:
        """`documents` by their MaxSim with `query`, the best first.

        Args:
            top_k: most documents to return; None for all.
            return_documents: with their texts.
            prompt_name, prompt: what is put before the query, and nothing before the documents.
            batch_size: documents that are run together.

        Raises:
            InputError: something is not a text.
            UsageError: `top_k` or `batch_size` is not a number of at least 1; there is no such prompt.
        """
        texts = check_ranking(query, documents)
        (asked,) = self._embed([query], True, None, False, self.sentence.resolve(prompt_name, prompt))
        found = self._embed(texts, False, batch_size, False, self.sentence.default_prompt)
        scores = max_sim([asked.vectors], [one.vectors for one in found])[0]
        return rank_documents(
            scores, texts, [asked.truncated or one.truncated for one in found], top_k, return_documents
        )

    def close(self) -> None:
        """Give back what the runtime holds, and that of queries, where it is another."""
        other = self.__dict__.pop("_for_queries", None)
        if other is not None and other is not self:
            other.close()
        super().close()

    def _embed(
        self, texts: str | Iterable[str], is_query: bool, batch_size: int | None, progress: bool | None, prompt: str
    ) -> list[TokenEmbeddings]:
        def make(piece: list[str], options: BatchOptions) -> list[TokenEmbeddings]:
            windows = self.reader.rows([prompt + text for text in piece], is_query)
            hidden = any(window.seen is not None for window in windows)
            runtime = self.query_runtime if hidden else self.runtime
            inputs = window_inputs(runtime, windows, [TOKENS], self.tokenizer.padding_id)
            return run_rows(inputs, options, lambda index, row: self.finish(windows[index], row[TOKENS], is_query))

        return in_pieces(texts, batch_size, progress, make)

    def finish(self, window: Window, vectors: np.ndarray, is_query: bool) -> TokenEmbeddings:
        """What counts of the `vectors` [S, E] of a row of `reader`."""
        kept = self.reader.kept(window.ids, is_query)
        tokens = self.tokenizer.convert_ids_to_tokens([window.ids[place] for place in kept])
        return TokenEmbeddings(tuple(tokens), vectors[kept], window.truncated)

    @property
    def query_runtime(self) -> Runtime:
        """What runs queries whose expansion is hidden from attention."""
        return self._for_queries.runtime

    @cached_property
    def _for_queries(self) -> LateInteractionEmbedding:
        """This model with a graph that computes at padding, too: expansion tokens that nobody sees are padding, and
        their vectors count. A graph that skips the padding gives zeros there."""
        if self.folder is None or self.request is None or self._load is None:
            return self
        manifest = Artifact.open(self.folder, check_hashes=False, partial=True).manifest
        own = manifest.variant(self._description.variant)
        if not own.target.endswith("-unpadded"):
            return self
        others = [other for other in manifest.variants if not other.target.endswith("-unpadded")]
        alike = [other for other in others if other.precision == own.precision] or others
        opened = self._load(self.folder, replace(self.request, variant=alike[0].name, precision=None))
        assert isinstance(opened, LateInteractionEmbedding)
        return opened

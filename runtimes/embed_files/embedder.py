"""Arrow batches in, the same rows with their embeddings out: the one function that every engine runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bert_onnx.errors import InputError
from runtimes.embed_files.columns import open_lists, row_columns
from runtimes.embed_files.rows import Rows, check_rows, stream_rows, width_of
from runtimes.parquet import import_pyarrow
from runtimes.pipelines.batches import BatchOptions
from runtimes.pipelines.sentences import EmbeddingOptions
from runtimes.selection.request import RuntimeRequest

#: Why a row has no embedding; null where it has one.
REASON = "embedding_error"


@dataclass(frozen=True)
class EmbedderOptions:
    """What an embedder needs; can be sent to other machines, which must have the artifact under the same path.

    Args:
        artifact: folder of a model for sentence-similarity, sparse-embedding or late-interaction.
        column: where the texts are.
        runtime: as `runtimes.load`.
        batching: how texts are put together; those of a piece are sorted by length.
        embedding: prompt, and length of the vectors.
        queries: the texts are queries rather than documents; for late interaction.
    """

    artifact: Path
    column: str = "text"
    runtime: RuntimeRequest = field(default_factory=RuntimeRequest)
    batching: BatchOptions = field(default_factory=BatchOptions)
    embedding: EmbeddingOptions = field(default_factory=EmbeddingOptions)
    queries: bool = False


class Embedder:
    """Rows in, the same rows in the same order out, with `embedding` (or `indices`, `weights` and `tokens`) and
    `embedding_error` beside their own columns. A row without a text has nulls and the reason.

    Called with a table, as Ray's `map_batches` does, it returns one; `stream` goes from batches to batches, as Spark's
    `mapInArrow` wants it. Pickled, it is its options.

    Args:
        options: what it does.
        model: a pipeline for them that is open already; None opens one.

    Raises:
        UsageError, ArtifactError, RuntimeUnavailableError: as `runtimes.load`; or the task makes no embeddings.
    """

    def __init__(self, options: EmbedderOptions, model: Any = None) -> None:
        from runtimes.loading import load_request

        self._arrow = import_pyarrow("")
        self.options = options
        self._model = load_request(options.artifact, options.runtime) if model is None else model
        check_rows(self._model.task, options.artifact, "", options.queries, options.embedding.truncate_dim)
        self.width = width_of(self._model, self._model.task, options.embedding)
        #: Columns with what is made of a text.
        self.made = [name for name in self._no_columns() if name != REASON]

    def __reduce__(self) -> tuple[type[Embedder], tuple[EmbedderOptions]]:
        return Embedder, (self.options,)

    def __call__(self, table: Any) -> Any:
        """`table` with its embeddings."""
        return self._arrow.Table.from_batches(self.stream(table.to_batches()), self.schema(table.schema))

    def schema(self, given: Any) -> Any:
        """The schema of what comes out where `given` goes in.

        Raises:
            InputError: the column of texts is missing or holds something else, or a column has a name that is ours.
        """
        arrow, wanted = self._arrow, self.options.column
        if wanted not in given.names:
            raise InputError(f"there is no column {wanted!r}; there are {', '.join(given.names[:20]) or 'none'}.")
        kind = given.field(wanted).type
        kind = kind.value_type if arrow.types.is_dictionary(kind) else kind
        if not any(is_kind(kind) for is_kind in _text_kinds(arrow)):
            raise InputError(f"the column {wanted!r} holds {kind}, not texts.")
        for name, array in self._no_columns().items():
            if name in given.names:
                raise InputError(f"there is a column {name!r} already; rename it, since embeddings are called so.")
            given = given.append(arrow.field(name, array.type))
        return given

    def empty(self, given: Any) -> Any:
        """A batch without rows, as one of the schema `given` becomes. Raises InputError as `schema`."""
        return self._arrow.RecordBatch.from_pylist([], self.schema(given))

    def stream(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The rows of `batches`, a piece at a time. Raises InputError as `schema`; InferenceError: the graph failed."""
        options, waiting = self.options, _Waiting(self._arrow)
        texts = self._texts(batches, waiting)
        for rows in stream_rows(
            self._model, self._model.task, texts, options.batching, options.embedding, options.queries
        ):
            yield from self._joined(waiting.take(rows.texts), rows)
        if waiting.batches:  # rows without a text after the last one
            yield from self._joined(waiting.take(None), Rows(np.empty((0, self.width), np.float32)))

    def _texts(self, batches: Iterable[Any], waiting: _Waiting) -> Iterator[str]:
        checked = None
        for batch in batches:
            if checked is None or batch.schema != checked:
                self.schema(batch.schema)
                checked = batch.schema
            texts, reasons = _read_texts(self._arrow, batch, self.options.column)
            waiting.add(batch, reasons)
            yield from (text for text in texts if text is not None)

    def _joined(self, taken: tuple[Any, Any], rows: Rows) -> Iterator[Any]:
        table, reasons = taken
        present = reasons.is_null().to_numpy(zero_copy_only=False)
        for name, array in {**self._columns(rows, present), REASON: reasons}.items():
            table = table.append_column(name, array)
        yield from table.combine_chunks().to_batches()

    def _no_columns(self) -> dict[str, Any]:
        return self._columns(Rows(np.empty((0, self.width), np.float32)), np.empty(0, bool))

    def _columns(self, rows: Rows, present: np.ndarray) -> dict[str, Any]:
        if self._model.task == "sparse-embedding" and rows.indices is None:
            rows = Rows(np.empty((0, 1), np.float32), np.empty(0, np.int64), np.empty(0, np.int64))
        elif self._model.task == "late-interaction" and rows.counts is None:
            rows = Rows(rows.vectors, np.empty(0, np.int64))
        to_tokens: Callable[[list[int]], list[str | None]] = self._model.tokenizer.convert_ids_to_tokens
        columns = row_columns(self._arrow, rows, self.width, to_tokens, present)
        return {**columns, REASON: self._arrow.nulls(len(present), self._arrow.string())}


class _Waiting:
    """Rows that wait for their embeddings, in order."""

    def __init__(self, arrow: Any) -> None:
        self._arrow = arrow
        self.batches: deque[tuple[Any, Any]] = deque()

    def add(self, batch: Any, reasons: Any) -> None:
        """Let `batch` wait; `reasons` [n] are null for rows with a text."""
        if len(batch):
            self.batches.append((batch, reasons))

    def take(self, texts: int | None) -> tuple[Any, Any]:
        """The next rows with so many texts among them, as a table, and their reasons; all of them for None."""
        taken: list[tuple[Any, Any]] = []
        while self.batches and (texts is None or texts > 0):
            batch, reasons = self.batches.popleft()
            if texts is not None:
                ends = np.cumsum(reasons.is_null().to_numpy(zero_copy_only=False))
                if ends[-1] > texts:
                    cut = int(np.searchsorted(ends, texts)) + 1
                    self.batches.appendleft((batch.slice(cut), reasons.slice(cut)))
                    batch, reasons = batch.slice(0, cut), reasons.slice(0, cut)
                texts -= min(texts, int(ends[-1]))
            taken.append((batch, reasons))
        table = self._arrow.Table.from_batches([batch for batch, _ in taken])
        return table, self._arrow.concat_arrays([reasons for _, reasons in taken])


def _read_texts(arrow: Any, batch: Any, column: str) -> tuple[list[str | None], Any]:
    """The texts of `batch`, None where there is none, and why there is none."""
    values = batch.column(batch.schema.names.index(column))
    plain = values.dictionary_decode() if arrow.types.is_dictionary(values.type) else values
    empty = f"its {column!r} is empty, not text"
    texts: list[str | None] = []
    try:
        texts = plain.cast(arrow.large_string()).to_pylist()
        reasons = [None if text is not None else empty for text in texts]
    except (UnicodeDecodeError, arrow.ArrowInvalid):  # Arrow looks into bytes, and into strings not until they are read
        reasons = []
        for value in plain.cast(arrow.large_binary()).to_pylist():
            try:
                texts.append(None if value is None else value.decode("utf-8"))
                reasons.append(None if value is not None else empty)
            except UnicodeDecodeError:
                texts.append(None)
                reasons.append(f"its {column!r} is not valid Unicode")
    return texts, arrow.array(reasons, arrow.string())


def _text_kinds(arrow: Any) -> tuple[Callable[[Any], bool], ...]:
    """Bytes, too: some writers of parquet do not say that theirs are text."""
    types = arrow.types
    texts = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
    return (*texts, types.is_binary, types.is_large_binary, types.is_binary_view)


@lru_cache(maxsize=1)
def open_embedder(options: EmbedderOptions) -> Embedder:
    """The embedder of this process for `options`, opened once."""
    return Embedder(options)


def embed_batches(options: EmbedderOptions) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """A function for Spark's `mapInArrow`; what it sends to workers is `options` alone."""

    def embed(batches: Iterable[Any]) -> Iterator[Any]:
        embedder = open_embedder(options)
        for batch in embedder.stream(batches):
            yield open_lists(import_pyarrow(""), batch, embedder.made)

    return embed

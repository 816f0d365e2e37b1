"""What a model makes of texts, piece by piece, as rows of numbers: one a text, one a token, or one a weight."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bert_onnx.errors import UsageError
from bert_onnx.sentence_modules import TOKENS
from runtimes.pipelines.batches import BatchOptions, pieces
from runtimes.pipelines.sentences import EmbeddingOptions

_DENSE, _SPARSE, _LATE = "sentence-similarity", "sparse-embedding", "late-interaction"


@dataclass(frozen=True)
class Rows:
    """The rows of some texts, one text after the other.

    Args:
        vectors: [M, D]: vectors; the weights [M, 1] of a sparse embedding.
        counts: [n], how many rows each text has; None for one each.
        indices: [M], the ids of the tokens that the weights are of; None without weights.
    """

    vectors: np.ndarray
    counts: np.ndarray | None = None
    indices: np.ndarray | None = None

    @property
    def texts(self) -> int:
        """How many texts they are of."""
        return len(self.vectors if self.counts is None else self.counts)

    def by_text(self, values: np.ndarray) -> list[np.ndarray]:
        """What each text has of `values` [M, ...], such as `vectors` or `indices`."""
        return list(values) if self.counts is None else np.split(values, np.cumsum(self.counts)[:-1])


def check_rows(task: str, artifact: Any, suffix: str, queries: bool, truncate_dim: int | None) -> None:
    """Raises UsageError where a model of `task` gives nothing to write, or not to such a file."""
    if task not in (_DENSE, _SPARSE, _LATE):
        raise UsageError(
            f"{artifact} is for {task}; files of vectors come from models for {_DENSE}, {_SPARSE} and {_LATE}. "
            "In Python, `bert_onnx.load` gives what others make."
        )
    if queries and task != _LATE:
        raise UsageError(f"--queries is for {_LATE}; for {task} a --prompt-name says what the texts are.")
    if task != _DENSE and truncate_dim is not None:
        raise UsageError(f"--truncate-dim shortens the one vector of a text; leave it out for {task}.")
    if task != _DENSE and suffix == ".npy":
        raise UsageError(f"{task} gives rows of other lengths to each text; write them to .jsonl or .parquet.")


def width_of(model: Any, task: str, options: EmbeddingOptions) -> int:
    """Values of a vector."""
    if task == _DENSE:
        return int(model.width(options.truncate_dim))
    if task == _SPARSE:
        return int(model.width)
    (port,) = [port for port in model.runtime.outputs if port.name == TOKENS]
    return int(port.axes[-1])


def stream_rows(
    model: Any, task: str, texts: Iterable[str], batching: BatchOptions, options: EmbeddingOptions, queries: bool
) -> Iterator[Rows]:
    """The rows of `texts`, a piece at a time."""
    if task == _DENSE:
        for vectors in model.embed_stream(texts, batching, embedding=options):
            yield Rows(vectors)
        return
    asked = {"progress": False, "prompt_name": options.prompt_name, "prompt": options.prompt}
    for piece in pieces(texts, batching.piece):
        if task == _SPARSE:
            made = model.embed_sparse(piece, **asked)
            weights = np.concatenate([one.weights for one in made])[:, None]
            yield Rows(weights, _counts(one.indices for one in made), np.concatenate([one.indices for one in made]))
        else:
            found = model.encode_query(piece, **asked) if queries else model.encode_document(piece, **asked)
            yield Rows(np.concatenate(found), _counts(found))


def _counts(arrays: Iterable[np.ndarray]) -> np.ndarray:
    return np.array([len(one) for one in arrays], np.int64)

"""What a worker does: a slice of the input becomes a part of the output, and a receipt says that it is complete.

Whoever computes a slice writes the same names with the same rows, so that one which is computed twice, by workers that
were thought dead or by two drivers, is in the output once. The receipt comes last: a part without one does not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from bert_onnx.errors import InputError
from runtimes.embed_files.embedder import Embedder, EmbedderOptions
from runtimes.scale.part_files import apart, open_part
from runtimes.scale.reading import empty_batch, is_jsonl, read_slice
from runtimes.scale.slices import Slice
from runtimes.scale.store import Store

#: Folders in the output that readers leave out, since their names begin with _.
OWN = "_bert-onnx"
ERRORS = "_errors"


@dataclass(frozen=True)
class Work:
    """What all slices of a job have in common; can be sent to other machines.

    Args:
        source, output: addresses.
        suffix: of parts: .parquet or .jsonl.
        embedder: how texts are embedded.
    """

    source: str
    output: str
    suffix: str
    embedder: EmbedderOptions


@dataclass(frozen=True)
class Receipt:
    """A part that is complete: the slice that it is of, its name, the rows in it, and the broken ones apart from it."""

    slice: str
    part: str
    rows: int
    broken: int


class Worker:
    """Computes slices of one job; its session is opened once.

    Args:
        embedder: open already; None opens one.
    """

    def __init__(self, work: Work, embedder: Embedder | None = None) -> None:
        self._work = work
        self._embedder = Embedder(work.embedder) if embedder is None else embedder
        self._source, self._output = Store(work.source), Store(work.output)

    def __call__(self, piece: Slice) -> Receipt:
        """Write the part of `piece`, the list of its broken rows, and its receipt.

        Raises:
            InputError, InferenceError, StorageError: nothing that counts was written.
        """
        name = piece.part + self._work.suffix
        rows = 0
        errors: list[str] = []
        objects = is_jsonl(self._source, piece)
        with self._output.writing(name) as path:
            with open_part(path, self._work.suffix, self._embedder.made, objects) as write:
                for batch in self._batches(piece):
                    good, bad = apart(batch, self._work.embedder.column, objects)
                    write(good)
                    rows += len(good)
                    errors += [json.dumps({"file": piece.file, **error}, ensure_ascii=False) + "\n" for error in bad]
            if not objects and rows + len(errors) != piece.rows:
                raise InputError(f"{self._source.show(piece.file)} has changed since the job began; begin it anew.")
            if errors:
                self._output.write(f"{ERRORS}/{piece.part}.jsonl", "".join(errors).encode())
        receipt = Receipt(piece.part, name, rows, len(errors))
        self._output.write_json(receipt_name(piece), asdict(receipt))
        return receipt

    def _batches(self, piece: Slice) -> Iterator[Any]:
        """At least one, so that the part has a schema."""
        column = self._work.embedder.column
        batch = None
        for batch in self._embedder.stream(read_slice(self._source, piece, column, self._embedder.made)):
            yield batch
        if batch is None:
            yield self._embedder.empty(empty_batch(piece, column).schema)


def receipt_name(piece: Slice) -> str:
    """Where the receipt of `piece` is in the output."""
    return f"{OWN}/receipts/{piece.part}.json"


@lru_cache(maxsize=1)
def open_worker(work: Work) -> Worker:
    """The worker of this process, opened once."""
    return Worker(work)

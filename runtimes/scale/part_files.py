"""Rows with their embeddings as a file of parquet or jsonl, and the broken ones apart from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from runtimes.embed_files.columns import digits
from runtimes.embed_files.embedder import REASON
from runtimes.parquet import import_pyarrow
from runtimes.scale.arrow_types import without_nanoseconds
from runtimes.scale.reading import LINE, OBJECT, UNREAD
from runtimes.text_files import shown

FORMATS = (".parquet", ".jsonl")


def apart(batch: Any, column: str, objects: bool) -> tuple[Any, list[dict[str, Any]]]:
    """The rows that have embeddings, without what is ours alone; and for each of the others its line, counted from 1,
    the reason, and how its text or, with `objects`, its line begins."""
    compute = import_pyarrow("compute")
    good = compute.is_null(batch.column(REASON))
    bad = batch.filter(compute.invert(good))
    if len(bad):
        batch = batch.filter(good)
    kept = [name for name in batch.schema.names if name not in (LINE, UNREAD, REASON)]
    return batch.select(kept), _told(bad, OBJECT if objects else column)


def _told(bad: Any, content: str) -> list[dict[str, Any]]:
    arrow = import_pyarrow("")
    values = bad.column(content)
    if arrow.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    rows = bad.select([LINE, UNREAD, REASON]).to_pylist()
    return [
        {"line": row[LINE], "reason": row[UNREAD] or row[REASON], "content": shown(text or b"")}
        for row, text in zip(rows, values.cast(arrow.large_binary()).to_pylist(), strict=True)
    ]


@contextmanager
def open_part(path: Path, suffix: str, made: Sequence[str], objects: bool) -> Iterator[Callable[[Any], None]]:
    """A function that writes batches to `path`; all have one schema.

    Args:
        made: columns that were made of the texts.
        objects: the column `json` holds objects, whose fields a row of jsonl has as they are.
    """
    if suffix == ".jsonl":
        lines = _object_lines if objects else _row_lines
        with open(path, "wb") as file:
            yield lambda batch: file.writelines(lines(batch, made))
        return
    parquet, writers = import_pyarrow(), list[Any]()

    def write(batch: Any) -> None:
        if not writers:
            writers.append(parquet.ParquetWriter(path, batch.schema))
        if len(batch):
            writers[0].write_batch(batch)

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()


def _object_lines(batch: Any, made: Sequence[str]) -> Iterator[bytes]:
    """The objects as they were written, with more fields at the end: what folders say, then what was made."""
    own = batch.select([name for name in batch.schema.names[2:] if name not in made]).to_pylist()
    for text, folders, fields in zip(batch.column(OBJECT).to_pylist(), own, _fields(batch, made), strict=True):
        told = {name: value for name, value in folders.items() if value is not None}
        more = json.dumps(told | fields, ensure_ascii=False)
        yield f"{text[: text.rindex('}')].rstrip()}, {more[1:]}\n".encode()


def _row_lines(batch: Any, made: Sequence[str]) -> Iterator[bytes]:
    """Dates as ISO 8601, bytes as base64, numbers that are not finite as null."""
    own = without_nanoseconds(batch.select([name for name in batch.schema.names if name not in made]))
    for row, fields in zip(own.to_pylist(), _fields(batch, made), strict=True):
        yield msgspec.json.encode({**row, **fields}) + b"\n"


def _fields(batch: Any, made: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What was made of the text of each row."""
    for row in batch.select(list(made)).to_pylist():
        yield {name: digits(values) if name in ("embedding", "weights") else values for name, values in row.items()}

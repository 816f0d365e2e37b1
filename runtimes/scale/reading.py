"""The rows of a slice as Arrow batches: the file's own columns of parquet, the whole object of jsonl."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from runtimes.embed_files.records import text_item
from runtimes.parquet import import_pyarrow
from runtimes.scale.arrow_types import without_views
from runtimes.scale.folders import with_columns
from runtimes.scale.formats import is_lines, open_lines
from runtimes.scale.slices import Slice
from runtimes.scale.store import Store
from runtimes.text_files import Broken, TextRow, parse_json, read_lines

#: Columns beside the file's own: where a row is in its file, counted from 1, and why it could not be read.
LINE = "__bert_onnx_line"
UNREAD = "__bert_onnx_unread"
#: The object of a line of jsonl, as it was written.
OBJECT = "json"
_ROWS = 2048


def read_slice(store: Store, piece: Slice, column: str, taken: Sequence[str]) -> Iterator[Any]:
    """Batches with the columns of the file (jsonl: the text, and `json`), LINE and UNREAD, and those of its folders.

    Args:
        column: where the texts are.
        taken: names that fields of jsonl must not have.

    Raises:
        InputError: the file cannot be read.
    """
    read = _read_jsonl(store, piece, column, taken) if is_jsonl(store, piece) else _read_parquet(store, piece)
    for batch in read:
        yield with_columns(without_views(batch), piece.folders)


def is_jsonl(store: Store, piece: Slice) -> bool:
    """Whether the slice is of a file of jsonl; else it is of parquet."""
    return is_lines(store.show(piece.file))


def empty_batch(piece: Slice, column: str) -> Any:
    """What a slice of jsonl without any row is."""
    return with_columns(_batch([], column), piece.folders)


def _read_parquet(store: Store, piece: Slice) -> Iterator[Any]:
    arrow, parquet = import_pyarrow(""), import_pyarrow()
    with store.open(piece.file) as source, parquet.ParquetFile(source) as file:
        groups: list[int] = []
        before, row, end = 0, 0, piece.first + piece.rows
        for group in range(file.num_row_groups):
            following = row + file.metadata.row_group(group).num_rows
            if following > piece.first and row < end:
                before = row if not groups else before
                groups.append(group)
            row = following
        row = before
        for batch in file.iter_batches(batch_size=_ROWS, row_groups=groups):
            first, last = max(piece.first - row, 0), min(end - row, len(batch))
            if first < last:
                lines = arrow.array(range(row + first + 1, row + last + 1), arrow.int64())
                part = batch.slice(first, last - first).append_column(LINE, lines)
                yield part.append_column(UNREAD, arrow.nulls(last - first, arrow.string()))
            row += len(batch)
            if row >= end:
                return


def _read_jsonl(store: Store, piece: Slice, column: str, taken: Sequence[str]) -> Iterator[Any]:
    with open_lines(store, piece.file, piece.offset) as file:
        lines = islice(read_lines(file, piece.first - piece.skip + 1), piece.skip, piece.skip + piece.rows)
        rows = (_row(line, column, taken) for line in lines if isinstance(line, Broken) or line.value.strip())
        while some := list(islice(rows, _ROWS)):
            yield _batch(some, column)


def _batch(rows: list[tuple[str | None, str, int, str | None]], column: str) -> Any:
    arrow = import_pyarrow("")
    kinds = {column: arrow.large_string(), OBJECT: arrow.large_string(), LINE: arrow.int64(), UNREAD: arrow.string()}
    columns = zip(*rows, strict=True) if rows else ((),) * len(kinds)
    arrays = [arrow.array(values, kind) for values, kind in zip(columns, kinds.values(), strict=True)]
    return arrow.RecordBatch.from_arrays(arrays, list(kinds))


def _row(line: TextRow | Broken, column: str, taken: Sequence[str]) -> tuple[str | None, str, int, str | None]:
    """Its text, its object, its number, and why it has no text."""
    row = line if isinstance(line, Broken) else parse_json(line)
    if (
        isinstance(row, TextRow)
        and isinstance(row.value, dict)
        and (has := [name for name in taken if name in row.value])
    ):
        row = row.broken(f"it has {', '.join(has)} already")
    item = row if isinstance(row, Broken) else text_item(row, column)
    if isinstance(item, Broken):
        return None, item.content, item.line, item.reason
    assert isinstance(line, TextRow)
    return item.text, line.value.strip(), item.line, None

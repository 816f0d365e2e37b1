"""The texts to embed: one column of a file, each text with its number; rows without a text are reported, not lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bert_onnx.errors import InputError, UsageError
from runtimes.text_files import Broken, TextRow, read_rows

#: The column that is read where none is named and there are several.
DEFAULT_COLUMN = "text"


@dataclass(frozen=True)
class Record:
    """A text and its place: a line of the file, counted from 1; in a parquet file the row."""

    line: int
    text: str


Item = Record | Broken


def read_items(path: Path, column: str | None) -> Iterator[Item]:
    """The texts of `path`, in their order; the format is known by its suffix.

    Args:
        column: where the text is, in all formats but txt. None means the only column, or `text`.

    Raises:
        UsageError: the suffix is unknown, or a txt file has no columns.
        InputError: the file cannot be read, or has no such column.
        RuntimeUnavailableError: parquet without pyarrow.
    """
    suffix = path.suffix.lower()
    if column is not None and suffix == ".txt":
        raise UsageError(f"{path} is a txt file, which has no columns; leave --column out.")
    # Objects may have fields of their own: the only field of the first one need not be the column.
    wanted = column or DEFAULT_COLUMN if suffix == ".jsonl" else column
    name = ""
    for row in read_rows(path, lambda names: [_choose(path, column, names)]):
        if isinstance(row, Broken):
            yield row
        elif suffix == ".txt":
            yield Record(row.line, row.value)
        else:
            if not name and isinstance(row.value, Mapping):
                name = _choose(path, wanted, list(row.value))
            yield text_item(row, name)


def _choose(path: Path, column: str | None, names: Sequence[str]) -> str:
    name = column or (names[0] if len(names) == 1 else DEFAULT_COLUMN)
    if name not in names:
        has = ", ".join(names[:20]) or "none"
        raise InputError(f"{path} has no column {name!r}; it has {has}. Say which one with --column NAME.")
    return name


def text_item(row: TextRow, name: str) -> Item:
    """The text of a row that has its fields by name, or why it has none."""
    if not isinstance(row.value, Mapping):
        return row.broken(f"it is a {type(row.value).__name__}, not an object")
    if name not in row.value:
        return row.broken(f"it has no {name!r}")
    text = row.value[name]
    if not isinstance(text, str):
        return row.broken(f"its {name!r} is {'empty' if text is None else f'a {type(text).__name__}'}, not text")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return row.broken(f"its {name!r} is not valid Unicode")
    return Record(row.line, text)

"""Texts of a file, one after the other, each with its number; what cannot be read is told apart, not lost."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_onnx.errors import InputError, RuntimeUnavailableError, UsageError

#: The column that is read where none is named and there are several.
DEFAULT_COLUMN = "text"
#: Characters of a broken line that are kept.
_KEPT = 500
_FIELD_LIMIT = 1 << 30
_ROWS = 4096


@dataclass(frozen=True)
class Record:
    """A text and its place: a line of the file, counted from 1; in a parquet file the row."""

    line: int
    text: str


@dataclass(frozen=True)
class Broken:
    """A line that has no text: where it is, why, and how it begins."""

    line: int
    reason: str
    content: str


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
    readers: dict[str, Callable[[Path, str | None], Iterator[Item]]] = {
        ".txt": _read_txt,
        ".jsonl": _read_jsonl,
        ".csv": _read_csv,
        ".parquet": _read_parquet,
    }
    if path.suffix not in readers:
        raise UsageError(f"{path} ends with {path.suffix or 'no suffix'}; texts are read from {', '.join(readers)}.")
    try:
        yield from readers[path.suffix](path, column)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error


def import_pyarrow(part: str = "parquet") -> Any:
    """pyarrow's module `part`.

    Raises:
        RuntimeUnavailableError: it is not installed.
    """
    from importlib import import_module

    try:
        return import_module(f"pyarrow.{part}" if part else "pyarrow")
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"parquet files need pyarrow, which cannot be imported ({error}); install it with "
            'pip install "bert-onnx[parquet]", or use jsonl.'
        ) from None


def _read_txt(path: Path, column: str | None) -> Iterator[Item]:
    if column is not None:
        raise UsageError(f"{path} is a txt file, which has no columns; leave --column out.")
    for number, line in _lines(path):
        text = _decode(line)
        yield Record(number, text) if text is not None else Broken(number, "it is not UTF-8", _shown(line))


def _read_jsonl(path: Path, column: str | None) -> Iterator[Item]:
    name = column or DEFAULT_COLUMN
    found = False
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Broken(number, f"it is not JSON ({error})", _shown(line))
            continue
        if not isinstance(values, dict):
            yield Broken(number, f"it is a {type(values).__name__}, not an object", _shown(line))
            continue
        if not found and name not in values:
            raise _no_column(path, name, list(values))
        found = True
        yield _item(number, name, values, _shown(line))


def _read_csv(path: Path, column: str | None) -> Iterator[Item]:
    limit = csv.field_size_limit(_FIELD_LIMIT)
    try:
        # What is not UTF-8 becomes lone surrogates, and is noticed row by row.
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(file, strict=True)
            try:
                header = next(reader, None)
            except csv.Error as error:
                raise InputError(f"the header of {path} cannot be read: {error}.") from error
            if header is None:
                raise InputError(f"{path} is empty; its first line must name the columns.")
            name = _choose_column(path, column, header)
            yield from _csv_rows(reader, header, name)
    finally:
        csv.field_size_limit(limit)


def _csv_rows(reader: Any, header: Sequence[str], name: str) -> Iterator[Item]:
    place = list(header).index(name)
    while True:
        number = reader.line_num + 1  # a row may span lines: this is its first
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Broken(number, f"it is not CSV ({error})", "")
            continue
        if not row:
            continue
        if len(row) != len(header):
            yield Broken(number, f"it has {len(row)} fields and the header {len(header)}", _shown(",".join(row)))
            continue
        yield _item(number, name, {name: row[place]}, _shown(",".join(row)))


def _read_parquet(path: Path, column: str | None) -> Iterator[Item]:
    parquet = import_pyarrow()
    try:
        file = parquet.ParquetFile(path)
    except OSError:
        raise
    except Exception as error:  # pyarrow's errors share no base class of their own
        raise InputError(f"{path} is not a parquet file: {error}.") from error
    with file:
        name = _choose_column(path, column, file.schema_arrow.names)
        number = 0
        for batch in file.iter_batches(batch_size=_ROWS, columns=[name]):
            for value in batch.column(0).to_pylist():
                number += 1
                yield _item(number, name, {name: value}, _shown(str(value)))


def _choose_column(path: Path, column: str | None, names: Sequence[str]) -> str:
    name = column or (names[0] if len(names) == 1 else DEFAULT_COLUMN)
    if name not in names:
        raise _no_column(path, name, names)
    return name


def _no_column(path: Path, name: str, names: Sequence[str]) -> InputError:
    has = ", ".join(names[:20]) or "none"
    return InputError(f"{path} has no column {name!r}; it has {has}. Say which one with --column NAME.")


def _item(number: int, name: str, values: dict[str, Any], shown: str) -> Item:
    if name not in values:
        return Broken(number, f"it has no {name!r}", shown)
    text = values[name]
    if not isinstance(text, str):
        return Broken(
            number, f"its {name!r} is {'empty' if text is None else f'a {type(text).__name__}'}, not text", shown
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return Broken(number, f"its {name!r} is not valid Unicode", _shown(shown))
    return Record(number, text)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines without their ends, and without a byte order mark."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            bare = line.rstrip(b"\n").removesuffix(b"\r")
            yield number, bare.removeprefix(b"\xef\xbb\xbf") if number == 1 else bare


def _decode(line: bytes) -> str | None:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _shown(content: str | bytes) -> str:
    """The beginning of a line, as valid text."""
    if isinstance(content, str):
        content = content[: 4 * _KEPT].encode("utf-8", "backslashreplace")
    return content[: 4 * _KEPT].decode("utf-8", "backslashreplace")[:_KEPT]

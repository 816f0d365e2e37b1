"""Rows of a file of texts, one after the other: txt, jsonl, csv and parquet.

What a row must hold is the caller's matter. A row that cannot be read at all is Broken, and the next one follows; a
file that cannot be read is an InputError.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from bert_onnx.errors import InputError, UsageError
from runtimes.parquet import open_parquet

#: Characters of a broken row that are kept.
_KEPT = 500
_FIELD_LIMIT = 1 << 30
_ROWS = 4096

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}

#: Called with the columns of a csv or parquet file; returns those to read.
Columns = Callable[[Sequence[str]], Sequence[str]]


@dataclass(frozen=True)
class Broken:
    """A row that cannot be used: the line where it begins, counted from 1 (parquet: the row), why, how it begins."""

    line: int
    reason: str
    content: str


@dataclass(frozen=True)
class TextRow:
    """A row.

    Args:
        line: where it begins, counted from 1; in a parquet file the row.
        value: a line of txt; whatever JSON a line of jsonl is; fields by column.
        raw: the line, or the fields, as they were read.
    """

    line: int
    value: Any
    raw: bytes | Sequence[Any]

    def broken(self, reason: str) -> Broken:
        """This row, which the caller cannot use."""
        content = self.raw if isinstance(self.raw, bytes) else ",".join(str(field) for field in self.raw)
        return Broken(self.line, reason, shown(content))


def read_rows(path: Path, columns: Columns = lambda names: names) -> Iterator[TextRow | Broken]:
    """The rows of `path`, in their order; the format is known by its suffix. Empty lines count in txt alone.

    Raises:
        UsageError: the suffix is unknown.
        InputError: the file cannot be read, or is not in UTF-8 but in UTF-16 or UTF-32.
        RuntimeUnavailableError: parquet without pyarrow.
        What `columns` raises.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise UsageError(f"{path} ends with {path.suffix or 'no suffix'}; texts are read from {', '.join(SUFFIXES)}.")
    try:
        with open(path, "rb") as file:
            start = file.read(4)
        for mark, encoding in _BYTE_ORDER_MARKS.items():
            if start.startswith(mark):
                raise InputError(f"{path} is in {encoding}; save it as UTF-8.")
        yield from read(path, columns)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error


def _read_txt(path: Path, columns: Columns) -> Iterator[TextRow | Broken]:
    with open(path, "rb") as file:
        yield from read_lines(file)


def _read_jsonl(path: Path, columns: Columns) -> Iterator[TextRow | Broken]:
    with open(path, "rb") as file:
        for row in read_lines(file):
            if isinstance(row, Broken):
                yield row
            elif row.value.strip():
                yield parse_json(row)


def parse_json(row: TextRow) -> TextRow | Broken:
    """A line of jsonl with its value read."""
    try:
        return TextRow(row.line, json.loads(row.value), row.raw)
    except json.JSONDecodeError as error:
        return row.broken(f"it is not JSON: {error.msg} at character {error.colno}")
    except (ValueError, RecursionError):
        return row.broken("it is not JSON that can be read: it nests too deeply, or has a huge number")


def _read_csv(path: Path, columns: Columns) -> Iterator[TextRow | Broken]:
    limit = csv.field_size_limit(_FIELD_LIMIT)
    try:
        # What is not UTF-8 becomes lone surrogates, and is noticed by who uses the field.
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(file, strict=True)
            try:
                header = next(reader, None)
            except csv.Error as error:
                raise InputError(f"the header of {path} cannot be read: {error}.") from error
            if header is None:
                raise InputError(f"{path} is empty; its first line must name the columns.")
            yield from _csv_rows(reader, header, columns(header))
    finally:
        csv.field_size_limit(limit)


def _csv_rows(reader: Any, header: Sequence[str], names: Sequence[str]) -> Iterator[TextRow | Broken]:
    places = {name: list(header).index(name) for name in names}
    while True:
        line = reader.line_num + 1  # a row may span lines: this is its first
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Broken(line, f"it is not CSV ({error})", "")
            continue
        if not fields:
            continue
        if len(fields) == len(header):
            yield TextRow(line, {name: fields[place] for name, place in places.items()}, fields)
        else:
            yield TextRow(line, None, fields).broken(f"it has {len(fields)} fields and the header {len(header)}")


def _read_parquet(path: Path, columns: Columns) -> Iterator[TextRow | Broken]:
    with open_parquet(path, str(path)) as file:
        names = list(columns(file.schema_arrow.names))
        line = 0
        for batch in file.iter_batches(batch_size=_ROWS, columns=names):
            for fields in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                line += 1
                yield TextRow(line, dict(zip(batch.schema.names, fields, strict=True)), fields)


def read_lines(file: BinaryIO, first: int = 1) -> Iterator[TextRow | Broken]:
    """Lines as text, counted from `first`, without their ends and a byte order mark. Only line feeds end a line: JSON
    may hold U+2028."""
    for number, line in enumerate(file, first):
        bare = line.rstrip(b"\n").removesuffix(b"\r")
        if number == 1:
            bare = bare.removeprefix(codecs.BOM_UTF8)
        try:
            yield TextRow(number, bare.decode("utf-8"), bare)
        except UnicodeDecodeError:
            yield Broken(number, "it is not UTF-8", shown(bare))


def shown(content: str | bytes) -> str:
    """The beginning of a row, as valid text."""
    if isinstance(content, str):
        content = content[: 4 * _KEPT].encode("utf-8", "backslashreplace")
    return content[: 4 * _KEPT].decode("utf-8", "backslashreplace")[:_KEPT]


_READERS: dict[str, Callable[[Path, Columns], Iterator[TextRow | Broken]]] = {
    ".txt": _read_txt,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}

#: How the names of files end that are read.
SUFFIXES = tuple(_READERS)

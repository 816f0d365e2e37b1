"""An input cut into slices of whole rows; what each is, is known by its content, so that a job can be taken up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from bert_onnx.errors import InputError, UsageError
from runtimes.embed_files.records import DEFAULT_COLUMN
from runtimes.parquet import open_parquet
from runtimes.scale.store import Store

SUFFIXES = (".parquet", ".jsonl")
#: Lines between the places in a jsonl file from which a slice can be read.
_STRIDE = 1024
_CHUNK = 1 << 22


@dataclass(frozen=True)
class SourceFile:
    """A file of the input.

    Args:
        name: relative to the input; empty where the input is one file.
        fingerprint: changes with its content.
        rows: of parquet; lines of jsonl.
        places: bytes at which every `_STRIDE`-th line of jsonl begins.
    """

    name: str
    fingerprint: str
    rows: int
    places: tuple[int, ...] = ()


@dataclass(frozen=True)
class Slice:
    """Some rows of a file.

    Args:
        part: what is made of it is called so, without a suffix: its number, and a hash of all that decides its content.
        file: relative to the input.
        first: the first row or line, counted from 0.
        rows: how many.
        offset: jsonl: the byte to read from.
        skip: jsonl: lines between that byte and `first`.
    """

    part: str
    file: str
    first: int
    rows: int
    offset: int = 0
    skip: int = 0


def find_files(store: Store, column: str | None) -> tuple[str, list[SourceFile]]:
    """The column of texts, and the files of an input. Of parquet only footers are read, jsonl is read once.

    Raises:
        InputError: nothing is there, a file cannot be read, or lacks the column.
        UsageError: both formats are there.
    """
    names = store.files(SUFFIXES)
    if not names:
        raise InputError(f"{store.address} has no file that ends with {' or '.join(SUFFIXES)}.")
    kinds = {suffix for suffix in SUFFIXES for name in names if store.show(name).lower().endswith(suffix)}
    if len(kinds) > 1:
        raise UsageError(f"{store.address} has files of {' and '.join(sorted(kinds))}; embed one kind at a time.")
    if kinds == {".jsonl"}:
        return column or DEFAULT_COLUMN, [_scan_lines(store, name) for name in names]
    files = []
    for name in names:
        rows, columns = _footer(store, name)
        column = column or (columns[0] if len(columns) == 1 else DEFAULT_COLUMN)
        if column not in columns:
            has = ", ".join(columns[:20]) or "none"
            raise InputError(
                f"{store.show(name)} has no column {column!r}; it has {has}. Say which one with --column NAME."
            )
        files.append(SourceFile(name, store.fingerprint(name), rows))
    assert column is not None
    return column, files


def cut(files: list[SourceFile], rows: int, settings: Any) -> list[Slice]:
    """Slices of at most `rows` rows, in order; one file's rows are never in a slice with another's.

    Args:
        settings: what else decides the content of a part, as JSON.
    """
    common = json.dumps(settings, sort_keys=True)
    return [
        Slice(f"part-{number:06d}-{_key(common, file, first, count)}", file.name, first, count, *_place(file, first))
        for number, (file, first, count) in enumerate(_ranges(files, rows))
    ]


def _ranges(files: list[SourceFile], rows: int) -> Iterator[tuple[SourceFile, int, int]]:
    for file in files:
        for first in range(0, file.rows, rows):
            yield file, first, min(rows, file.rows - first)


def _key(common: str, file: SourceFile, first: int, rows: int) -> str:
    content = json.dumps([common, file.name, file.fingerprint, first, rows])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _place(file: SourceFile, first: int) -> tuple[int, int]:
    if not file.places:
        return 0, 0
    return file.places[first // _STRIDE], first % _STRIDE


def _scan_lines(store: Store, name: str) -> SourceFile:
    digest, lines, position, places, ended = hashlib.sha256(), 0, 0, [0], True
    with store.open(name) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            at = -1
            while (at := chunk.find(b"\n", at + 1)) >= 0:
                lines += 1
                if lines % _STRIDE == 0:
                    places.append(position + at + 1)
            position += len(chunk)
            ended = chunk.endswith(b"\n")
    return SourceFile(name, digest.hexdigest(), lines + (not ended), tuple(places))


def _footer(store: Store, name: str) -> tuple[int, list[str]]:
    with store.open(name) as file:
        opened = open_parquet(file, store.show(name))
        return opened.metadata.num_rows, list(opened.schema_arrow.names)


def to_json(piece: Slice) -> str:
    """A slice as an engine carries it."""
    return json.dumps(asdict(piece))


def from_json(text: str) -> Slice:
    """What `to_json` was given."""
    return Slice(**json.loads(text))

"""The files of an input: where they are, how many rows each has, and what changes with its content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from glob import has_magic
from pathlib import PurePosixPath

from bert_onnx.errors import InputError, UsageError
from runtimes.embed_files.records import DEFAULT_COLUMN
from runtimes.parquet import open_parquet
from runtimes.scale.folders import Column, folder_columns
from runtimes.scale.formats import LINES, PARQUET, SUFFIXES, is_lines, open_lines
from runtimes.scale.store import Store

#: Lines between the places in a jsonl file from which a slice can be read.
STRIDE = 1024
_CHUNK = 1 << 22


@dataclass(frozen=True)
class SourceFile:
    """A file of the input.

    Args:
        name: relative to the input; empty where the input is one file.
        fingerprint: changes with its content.
        rows: of parquet; lines of jsonl.
        places: bytes at which every `STRIDE`-th line of jsonl begins.
        folders: columns that the names of its folders give.
    """

    name: str
    fingerprint: str
    rows: int
    places: tuple[int, ...] = ()
    folders: tuple[Column, ...] = ()


def open_source(address: str) -> tuple[Store, str]:
    """What is at `address`, and no pattern; or, where nothing is and it holds *, ? or [, the folder before the first of
    those, and the pattern in it."""
    store = Store(address)
    if not has_magic(address) or store.exists():
        return store, ""
    names = address.split("/")
    fixed = next(number for number, name in enumerate(names) if has_magic(name))
    folder = "/".join(names[:fixed]) or ("/" if address.startswith("/") else ".")
    return Store(folder), "/".join(names[fixed:])


def find_files(store: Store, column: str | None, pattern: str = "") -> tuple[str, list[SourceFile]]:
    """The column of texts, and the files of an input. Of parquet only footers are read, jsonl is read once.

    Args:
        pattern: as `Store.files`.

    Raises:
        InputError: nothing is there, a file cannot be read, lacks the column, or has two of a name.
        UsageError: both formats are there.
    """
    names = store.files(SUFFIXES, pattern)
    if not names:
        where = store.show(pattern)
        raise InputError(f"{where} has no file that ends with {', '.join((PARQUET, *LINES))}, or .gz or .zst after it.")
    lines = [name for name in names if is_lines(store.show(name))]
    if lines and len(lines) < len(names):
        raise UsageError(f"{store.show(pattern)} has files of parquet and of lines; embed one kind at a time.")
    folders = folder_columns(names)
    if lines:
        found = [_scan_lines(store, name, own) for name, own in zip(names, folders, strict=True)]
        return column or DEFAULT_COLUMN, found
    files = []
    for name, own in zip(names, folders, strict=True):
        rows, columns = _footer(store, name)
        column = column or (columns[0] if len(columns) == 1 else DEFAULT_COLUMN)
        _check_columns(store.show(name), columns, column)
        files.append(SourceFile(name, store.fingerprint(name), rows, folders=own))
    assert column is not None
    return column, files


def _check_columns(file: str, columns: list[str], column: str) -> None:
    if column not in columns:
        has = ", ".join(columns[:20]) or "none"
        raise InputError(f"{file} has no column {column!r}; it has {has}. Say which one with --column NAME.")
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise InputError(f"{file} has two columns called {twice[0]!r}; give them names that differ.")


def _scan_lines(store: Store, name: str, folders: tuple[Column, ...]) -> SourceFile:
    digest, lines, position, places, ended = hashlib.sha256(), 0, 0, [0], True
    with open_lines(store, name) as file:
        while chunk := file.read(_CHUNK):
            if not position and chunk.startswith(b"[") and ".json" in PurePosixPath(store.show(name)).suffixes:
                raise InputError(f"{store.show(name)} is an array; write an object a line, as jq -c '.[]' does.")
            digest.update(chunk)
            at = -1
            while (at := chunk.find(b"\n", at + 1)) >= 0:
                lines += 1
                if lines % STRIDE == 0:
                    places.append(position + at + 1)
            position += len(chunk)
            ended = chunk.endswith(b"\n")
    return SourceFile(name, digest.hexdigest(), lines + (not ended), tuple(places), folders)


def _footer(store: Store, name: str) -> tuple[int, list[str]]:
    with store.open(name) as file:
        opened = open_parquet(file, store.show(name))
        return opened.metadata.num_rows, list(opened.schema_arrow.names)

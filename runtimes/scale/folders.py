"""Folders of an input: walked, and the columns that their names give, such as lang=de/day=3/, as Hive, Spark and Arrow
write and read them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from runtimes.parquet import import_pyarrow

#: What writers call the folder of rows whose value is null.
_NULL = "__HIVE_DEFAULT_PARTITION__"
_INTEGER = re.compile(r"-?[0-9]{1,18}")


def walk(folder: str) -> Iterator[str]:
    """Files in and below `folder`, also where a link leads (which fsspec takes for a file), each folder once."""
    seen = set()
    for at, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        if (real := os.path.realpath(at)) in seen:
            folders.clear()
        else:
            seen.add(real)
            yield from (os.path.join(at, name) for name in names)


def _raise(error: OSError) -> None:
    raise error


@dataclass(frozen=True)
class Column:
    """A column of one value: of integers where every folder of the input that has it names one, else of text."""

    name: str
    value: int | str | None
    is_integer: bool


def folder_columns(names: Sequence[str]) -> list[tuple[Column, ...]]:
    """For each of the files `names`, the columns that its folders give."""
    found = [_pairs(name) for name in names]
    texts = {name for pairs in found for name, value in pairs.items() if value and not _INTEGER.fullmatch(value)}
    return [tuple(_column(name, value, name not in texts) for name, value in pairs.items()) for pairs in found]


def _pairs(name: str) -> dict[str, str | None]:
    split = [folder.partition("=") for folder in PurePosixPath(name).parts[:-1]]
    values = {unquote(key): unquote(value) for key, equals, value in split if key and equals}
    return {key: None if value == _NULL else value for key, value in values.items()}


def _column(name: str, value: str | None, is_integer: bool) -> Column:
    return Column(name, int(value) if value and is_integer else value, is_integer)


def with_columns(batch: Any, columns: Sequence[Column]) -> Any:
    """`batch` with `columns`; those that a file has itself stay its own."""
    arrow = import_pyarrow("")
    for column in columns:
        if column.name not in batch.schema.names:
            kind = arrow.int64() if column.is_integer else arrow.string()
            batch = batch.append_column(column.name, arrow.array([column.value] * len(batch), kind))
    return batch

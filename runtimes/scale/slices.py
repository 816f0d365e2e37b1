"""An input cut into slices of whole rows; what each is, is known by its content, so that a job can be taken up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from runtimes.scale.folders import Column
from runtimes.scale.source_files import STRIDE, SourceFile


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
        folders: columns that the names of its folders give.
    """

    part: str
    file: str
    first: int
    rows: int
    offset: int = 0
    skip: int = 0
    folders: tuple[Column, ...] = ()


def cut(files: list[SourceFile], rows: int, settings: Any) -> list[Slice]:
    """Slices of at most `rows` rows, in order; one file's rows are never in a slice with another's.

    Args:
        settings: what else decides the content of a part, as JSON.
    """
    common = json.dumps(settings, sort_keys=True)
    return [
        Slice(
            f"part-{number:06d}-{_key(common, file, first, count)}",
            file.name,
            first,
            count,
            *_place(file, first),
            file.folders,
        )
        for number, (file, first, count) in enumerate(_ranges(files, rows))
    ]


def _ranges(files: list[SourceFile], rows: int) -> Iterator[tuple[SourceFile, int, int]]:
    for file in files:
        for first in range(0, file.rows, rows):
            yield file, first, min(rows, file.rows - first)


def _key(common: str, file: SourceFile, first: int, rows: int) -> str:
    folders = [asdict(column) for column in file.folders]
    content = json.dumps([common, file.name, file.fingerprint, first, rows, *folders])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _place(file: SourceFile, first: int) -> tuple[int, int]:
    if not file.places:
        return 0, 0
    return file.places[first // STRIDE], first % STRIDE


def to_json(piece: Slice) -> str:
    """A slice as an engine carries it."""
    return json.dumps(asdict(piece))


def from_json(text: str) -> Slice:
    """What `to_json` was given."""
    values = json.loads(text)
    return Slice(**{**values, "folders": tuple(Column(**column) for column in values["folders"])})

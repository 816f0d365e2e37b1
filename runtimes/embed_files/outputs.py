"""From parts to the output file: npy, jsonl or parquet, a part in memory at a time, there completely or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bert_onnx.errors import StorageError, UsageError
from runtimes.embed_files.columns import ToTokens, digits, row_columns
from runtimes.embed_files.parts import Part, write_whole
from runtimes.embed_files.rows import Rows
from runtimes.parquet import import_pyarrow

SUFFIXES = (".npy", ".jsonl", ".parquet")


def check_output(path: Path, force: bool) -> None:
    """Refuse an output that could not be written, before anything is computed.

    Raises:
        UsageError: the suffix is unknown, its folder is missing, or it exists and `force` is off.
        RuntimeUnavailableError: parquet without pyarrow.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"{path} ends with {path.suffix or 'no suffix'}; vectors are written to {', '.join(SUFFIXES)}."
        )
    if path.suffix == ".parquet":
        import_pyarrow()
    if not path.parent.is_dir():
        raise UsageError(f"the folder {path.parent} does not exist; make it first.")
    if path.exists() and not force:
        raise UsageError(f"{path} exists; choose another output, or replace it with --force.")


def write_output(path: Path, parts: Iterable[Part], rows: int, width: int, to_tokens: ToTokens) -> None:
    """Write what `rows` texts have to `path`.

    jsonl and parquet have `line`, where the text came from, beside `embedding`, one vector of `width` values or a list
    of them, or `indices`, `weights` and `tokens`; npy has the vectors [N, D] alone.

    Args:
        to_tokens: the tokens of ids.

    Raises:
        StorageError: the disk refuses.
    """
    if path.suffix == ".jsonl":
        write_whole(path, _json_lines(parts, to_tokens))
        return
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        if path.suffix == ".npy":
            _write_npy(temporary, parts, rows, width)
        else:
            _write_parquet(temporary, parts, width, to_tokens)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}; the vectors are kept, --resume goes on."
        ) from error


def _json_lines(parts: Iterable[Part], to_tokens: ToTokens) -> Iterator[str]:
    for part in parts:
        rows = part.rows
        found: Iterator[dict[str, Any]]
        if rows.indices is None:
            found = ({"embedding": digits(own.tolist())} for own in rows.by_text(rows.vectors))
        else:
            pairs = zip(rows.by_text(rows.indices), rows.by_text(rows.vectors), strict=True)
            found = (
                {"indices": ids.tolist(), "weights": digits(own[:, 0].tolist()), "tokens": to_tokens(ids.tolist())}
                for ids, own in pairs
            )
        for line, one in zip(part.lines.tolist(), found, strict=True):
            yield json.dumps({"line": line, **one}, ensure_ascii=False) + "\n"


def _write_npy(path: Path, parts: Iterable[Part], rows: int, width: int) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part.rows.vectors, "<f4").tobytes())


def _write_parquet(path: Path, parts: Iterable[Part], width: int, to_tokens: ToTokens) -> None:
    arrow, parquet = import_pyarrow(""), import_pyarrow()

    def table(part: Part) -> Any:
        return arrow.table({"line": arrow.array(part.lines), **row_columns(arrow, part.rows, width, to_tokens)})

    tables = (table(part) for part in parts if len(part.lines))
    nothing = Part(Rows(np.empty((0, width), np.float32)), np.empty(0, np.int64), (), 0)
    first = next(tables, None) or table(nothing)
    with parquet.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for following in tables:
            writer.write_table(following)

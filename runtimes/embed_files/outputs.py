"""From parts to the output file: npy, jsonl or parquet, a part in memory at a time, there completely or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from bert_onnx.errors import StorageError, UsageError
from runtimes.embed_files.parts import Part, write_whole
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


def write_output(path: Path, parts: Iterable[Part], rows: int, width: int) -> None:
    """Write `rows` vectors [D] of `width` to `path`.

    jsonl and parquet have `line`, where the text came from, and `embedding`; npy has the vectors [N, D] alone.

    Raises:
        StorageError: the disk refuses.
    """
    if path.suffix == ".jsonl":
        write_whole(path, _json_lines(parts))
        return
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        if path.suffix == ".npy":
            _write_npy(temporary, parts, rows, width)
        else:
            _write_parquet(temporary, parts, width)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}; the vectors are kept, --resume goes on."
        ) from error


def _json_lines(parts: Iterable[Part]) -> Iterator[str]:
    for part in parts:
        for line, vector in zip(part.lines.tolist(), part.vectors, strict=True):
            # Nine digits give every float32 back exactly.
            yield json.dumps({"line": line, "embedding": [float(f"{x:.9g}") for x in vector.tolist()]}) + "\n"


def _write_npy(path: Path, parts: Iterable[Part], rows: int, width: int) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part.vectors, "<f4").tobytes())


def _write_parquet(path: Path, parts: Iterable[Part], width: int) -> None:
    arrow, parquet = import_pyarrow(""), import_pyarrow()
    schema = arrow.schema([("line", arrow.int64()), ("embedding", arrow.list_(arrow.float32(), width))])
    with parquet.ParquetWriter(path, schema) as writer:
        for part in parts:
            vectors = arrow.FixedSizeListArray.from_arrays(arrow.array(part.vectors.reshape(-1)), width)
            writer.write_table(arrow.Table.from_arrays([arrow.array(part.lines), vectors], schema=schema))

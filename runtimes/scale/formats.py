"""Which files of a folder are read: parquet, and lines of JSON, compressed or not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bert_onnx.errors import InputError
from runtimes.parquet import import_pyarrow
from runtimes.scale.store import Store

PARQUET = ".parquet"
#: Objects, one a line; Spark's are called .json.
LINES = (".jsonl", ".ndjson", ".json")
_CHUNK = 1 << 20


def _open_zstd(file: Any) -> Any:
    return io.BufferedReader(import_pyarrow("").CompressedInputStream(file, "zstd"))


#: Suffix -> opens a file that is compressed so.
_COMPRESSED: dict[str, Callable[[Any], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _open_zstd,
}
SUFFIXES = (PARQUET, *LINES, *(line + suffix for line in LINES for suffix in _COMPRESSED))


def is_lines(name: str) -> bool:
    """Whether the file `name` has lines; else it is of parquet."""
    return not name.lower().endswith(PARQUET)


@contextmanager
def open_lines(store: Store, name: str, offset: int = 0) -> Iterator[Any]:
    """The lines of a file, from the byte `offset` of what is in it.

    Raises:
        InputError: it cannot be read, or is damaged.
    """
    suffix = "." + store.show(name).lower().rpartition(".")[2]
    with store.open(name) as raw:
        if suffix not in _COMPRESSED:
            raw.seek(offset)
            yield raw
            return
        try:
            with _COMPRESSED[suffix](raw) as file:
                while offset and (skipped := len(file.read(min(offset, _CHUNK)))):
                    offset -= skipped
                yield file
        except (EOFError, zlib.error, lzma.LZMAError) as error:
            raise InputError(f"{store.show(name)} is damaged: {error}.") from error

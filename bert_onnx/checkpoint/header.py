"""The header of a safetensors file: read, and checked in full before a byte of data is trusted.

Layout (safetensors format description): 8 bytes N, little endian; N bytes of JSON, an object of
`name: {dtype, shape, data_offsets: [begin, end]}` and optionally `__metadata__`; then the data, where the
tensors lie without overlap or hole.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_onnx.errors import CheckpointError

#: Bytes an element, by dtype name; the names are those of the safetensors format.
DTYPE_SIZES: dict[str, int] = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E5M2": 1,
    "F8_E4M3": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}
#: A BERT of 24 layers needs about 60 kB; a longer header is damage or an attack on memory.
MAX_HEADER_BYTES = 16 * 1024 * 1024
MAX_NAME_LENGTH = 300
METADATA = "__metadata__"


#: How a file begins that Git LFS left in the place of a large one.
_LFS = b"version https://git-lfs"


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies.

    Args:
        name: its name in the file.
        dtype: a key of `DTYPE_SIZES`.
        shape: its sizes.
        file: the file that holds it.
        offset: position of its first byte in the file.
        nbytes: its length in bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    nbytes: int


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of one safetensors file by name; no data is read.

    Raises:
        CheckpointError: the file is missing, cut short, or its header breaks a rule of the format.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist or is not a file.")
    try:
        with open(path, "rb") as file:
            total = os.fstat(file.fileno()).st_size
            first = file.read(len(_LFS))
            if first == _LFS:
                raise CheckpointError(f"{path} is a pointer of Git LFS, not the file itself; run: git lfs pull")
            file.seek(8)
            length = int.from_bytes(first[:8], "little")
            if total < 8 or length > total - 8:
                raise _damaged(path, f"its header claims {length} bytes, but the file has {total}")
            if length > MAX_HEADER_BYTES:
                raise _damaged(path, f"its header claims {length} bytes; at most {MAX_HEADER_BYTES} are read")
            text = file.read(length)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None
    start = 8 + len(text)
    entries = _parse(path, text)
    tensors = {name: _tensor(path, name, entry, start) for name, entry in entries.items()}
    _check_layout(path, tensors, start, total)
    return tensors


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path} is not a sound safetensors file: {what}; fetch or save it again.")


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    """The entries of the header without its metadata."""
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        # json.JSONDecodeError, UnicodeDecodeError and numbers too long for int() are ValueErrors
        raise _damaged(path, f"its header is not proper JSON ({_first_line(error)})") from None
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not a JSON object")
    header.pop(METADATA, None)
    return header


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:80]!r} appears twice")
    return values


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _tensor(path: Path, name: str, entry: Any, start: int) -> TensorInfo:
    """One entry of the header, checked on its own."""
    if len(name) > MAX_NAME_LENGTH:
        raise _damaged(path, f"a tensor has a name of {len(name)} characters")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _damaged(path, f"the entry of {name!r} does not consist of dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_SIZES:
        raise _damaged(path, f"{name!r} has the unknown dtype {str(dtype)[:40]!r}")
    if not isinstance(shape, list) or not all(_is_size(size) for size in shape):
        raise _damaged(path, f"{name!r} has the shape {str(shape)[:80]}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_size(offset) for offset in offsets):
        raise _damaged(path, f"{name!r} has the offsets {str(offsets)[:80]}")
    begin, end = offsets
    nbytes = math.prod(shape) * DTYPE_SIZES[dtype]
    if end - begin != nbytes:
        raise _damaged(path, f"{name!r} needs {nbytes} bytes by its shape but has the offsets {begin} to {end}")
    return TensorInfo(name, dtype, tuple(shape), path, start + begin, nbytes)


def _check_layout(path: Path, tensors: dict[str, TensorInfo], start: int, total: int) -> None:
    """The data is covered from its start to the end of the file, each byte once."""
    position = start
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.offset, tensor.nbytes)):
        if tensor.offset != position:
            kind = "overlaps the tensor before it" if tensor.offset < position else "leaves a hole before it"
            raise _damaged(path, f"{tensor.name!r} {kind}")
        position += tensor.nbytes
    if position != total:
        kind = "is cut short" if position > total else "has data that belongs to no tensor"
        raise _damaged(path, f"it {kind} (tensors end at byte {position}, the file at {total})")

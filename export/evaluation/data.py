"""Reads texts: .txt (one a line), .jsonl (one object a line), .parquet, and the project's own sets."""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

from bert_onnx.errors import InputError, RuntimeUnavailableError, UsageError
from export.evaluation.examples import Example, TextSet
from export.evaluation.records import parse_record

SUFFIXES = (".txt", ".jsonl", ".parquet")

#: Larger files than this are refused: calibration and evaluation need thousands of texts, not millions.
MAX_BYTES = 2**28

#: The project's own texts, and what manifests call them.
BUILT_IN = {"calibration": "built-in calibration", "evaluation": "built-in evaluation"}
_BUILT_IN_FOLDER = Path(__file__).resolve().parent.parent / "quantization" / "texts"

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def built_in(which: str) -> TextSet:
    """The project's own set `calibration` or `evaluation`; no text is in both."""
    found = read_text_set(_BUILT_IN_FOLDER / f"{which}.txt")
    return TextSet(BUILT_IN[which], found.sha256, found.examples)


def read_text_set(path: str | Path) -> TextSet:
    """The texts in a file, empty lines left out.

    Raises:
        UsageError: a kind of file that is not read.
        InputError: the file is missing, unreadable, empty or too large, or a line is wrong; the message names it.
        RuntimeUnavailableError: .parquet without pyarrow.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path.name} is none of the kinds of files that are read: {', '.join(SUFFIXES)}.")
    content = _content(path)
    read = {".txt": _lines_of_text, ".jsonl": _lines_of_json, ".parquet": _rows_of_parquet}[path.suffix.lower()]
    examples = tuple(read(content, path.name))
    if not examples:
        raise InputError(f"{path} holds no text; write one text a line.")
    return TextSet(path.name, hashlib.sha256(content).hexdigest(), examples)


def _content(path: Path) -> bytes:
    try:
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            size = path.stat().st_size
            raise InputError(
                f"{path} has {size / 1e6:.0f} MB; at most {MAX_BYTES / 1e6:.0f} MB are read. Take a sample."
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; name a file with one text a line.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None


def _decode(content: bytes, name: str) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            raise InputError(f"{name} is in {encoding}; save it as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{name} line {line} is not UTF-8 ({error.reason}); save the file as UTF-8.") from None


def _numbered_lines(content: bytes, name: str) -> Iterator[tuple[str, str]]:
    """(where, line) for each line that is not empty. Only line feeds end a line: JSON may hold U+2028."""
    for number, line in enumerate(_decode(content, name).split("\n"), start=1):
        if line.strip():
            yield f"{name} line {number}", line.strip()


def _lines_of_text(content: bytes, name: str) -> Iterator[Example]:
    for where, line in _numbered_lines(content, name):
        yield parse_record(line, where)


def _lines_of_json(content: bytes, name: str) -> Iterator[Example]:
    for where, line in _numbered_lines(content, name):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{where} is not JSON: {error.msg} at character {error.colno}.") from None
        except (ValueError, RecursionError):
            raise InputError(
                f"{where} is not JSON that can be read: it nests too deeply, or has a huge number."
            ) from None
        yield parse_record(record, where)


def _rows_of_parquet(content: bytes, name: str) -> Iterator[Example]:
    pyarrow = _import_pyarrow()
    try:
        rows = pyarrow.parquet.read_table(pyarrow.BufferReader(content)).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{name} is not a Parquet file that pyarrow can read: {str(error).splitlines()[0]}.") from None
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InputError(f"{name} row {number} has no columns.")
        yield parse_record(row, f"{name} row {number}")


def _import_pyarrow() -> ModuleType:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"pyarrow cannot be imported ({error}); pip install pyarrow, or save the texts as .jsonl."
        ) from None
    return pyarrow

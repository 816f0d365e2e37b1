"""Reads sets of texts: files of txt, jsonl, csv and parquet, and the project's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bert_onnx.artifact.contract.hashing import hash_file
from bert_onnx.errors import InputError
from export.evaluation.examples import Example, TextSet
from export.evaluation.records import parse_record
from runtimes.text_files import Broken, read_rows

#: Larger files than this are refused: calibration and evaluation need thousands of texts, not millions.
MAX_BYTES = 2**28

#: The project's own texts, and what manifests call them.
BUILT_IN = {"calibration": "built-in calibration", "evaluation": "built-in evaluation"}
_BUILT_IN_FOLDER = Path(__file__).resolve().parent.parent / "quantization" / "texts"


def built_in(which: str) -> TextSet:
    """The project's own set `calibration` or `evaluation`; no text is in both."""
    found = read_text_set(_BUILT_IN_FOLDER / f"{which}.txt")
    return TextSet(BUILT_IN[which], found.sha256, found.examples)


def read_text_set(path: str | Path) -> TextSet:
    """The texts in a file, empty lines left out.

    Raises:
        UsageError: a kind of file that is not read.
        InputError: the file is missing, unreadable, empty or too large, or a row is wrong; the message names it.
        RuntimeUnavailableError: .parquet without pyarrow.
    """
    path = Path(path)
    if path.is_file() and (size := path.stat().st_size) > MAX_BYTES:
        raise InputError(f"{path} has {size / 1e6:.0f} MB; at most {MAX_BYTES / 1e6:.0f} MB are read. Take a sample.")
    examples = tuple(_examples(path))
    if not examples:
        raise InputError(f"{path} holds no text; write one text a line.")
    return TextSet(path.name, hash_file(path).sha256, examples)


def _examples(path: Path) -> Iterator[Example]:
    suffix = path.suffix.lower()
    for row in read_rows(path):
        where = f"{path.name} {'row' if suffix == '.parquet' else 'line'} {row.line}"
        if isinstance(row, Broken):
            raise InputError(f"{where}: {row.reason}. Mend the line, or leave it out.")
        value = row.value
        if suffix == ".txt":
            if value.strip():
                yield parse_record(value.strip(), where)
        elif suffix == ".csv":  # which has no other way to leave a field out than to leave it empty
            yield parse_record({name: field or None for name, field in value.items()}, where)
        else:
            yield parse_record(value, where)

"""Reads sets of texts: files of txt, jsonl, csv and parquet, and the project's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from bert_onnx.artifact.contract.hashing import hash_file
from bert_onnx.errors import InputError
from bert_onnx.tokenization import FastTokenizer
from export.evaluation.examples import Example, TextSet, text_set
from export.evaluation.languages import ENGLISH, LANGUAGES, choose_languages, coverage
from export.evaluation.records import parse_record
from runtimes.text_files import Broken, read_rows

#: Larger files than this are refused: calibration and evaluation need thousands of texts, not millions.
MAX_BYTES = 2**28

#: The project's own texts, and what manifests call them; those in other languages than English have these in brackets.
BUILT_IN = {"calibration": "built-in calibration", "evaluation": "built-in evaluation"}
_BUILT_IN_FOLDER = Path(__file__).resolve().parent.parent / "quantization" / "texts"

#: English texts in a mix of languages, and texts of each language that tell what a vocabulary covers.
_OF_ENGLISH, _PROBES = 48, 24


def built_in(which: str, languages: Sequence[str] = (ENGLISH,)) -> TextSet:
    """The project's own set `calibration` or `evaluation`, in the languages of these codes; no text is in both sets."""
    if tuple(languages) == (ENGLISH,):
        found = _read(which, ENGLISH)
        return TextSet(BUILT_IN[which], found.sha256, found.examples)
    sets = (_read(which, code).texts[: _OF_ENGLISH if code == ENGLISH else None] for code in languages)
    return text_set(f"{BUILT_IN[which]} ({', '.join(languages)})", chain.from_iterable(sets))


def is_built_in(name: str) -> bool:
    """Whether manifests call texts of the project's own `name`."""
    return any(name == own or (name.startswith(f"{own} (") and name.endswith(")")) for own in BUILT_IN.values())


def covered_languages(tokenizer: FastTokenizer) -> tuple[str, ...]:
    """Codes of the languages in which built-in texts say most of a model with `tokenizer`."""
    return choose_languages(
        {code: coverage(tokenizer, one, _read("evaluation", code).texts[:_PROBES]) for code, one in LANGUAGES.items()}
    )


def _read(which: str, code: str) -> TextSet:
    return read_text_set(_BUILT_IN_FOLDER / (f"{which}.txt" if code == ENGLISH else f"{which}.{code}.txt"))


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

"""A row of a file to an Example: which field means what, and what is wrong with a row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bert_onnx.errors import InputError
from export.evaluation.examples import Example

#: Names that a field may have, the first that is there counts.
TEXT_FIELDS = ("text", "sentence", "sentence1", "premise", "question", "query", "prompt")
PAIR_FIELDS = ("pair", "text_pair", "sentence2", "hypothesis", "context", "passage", "next")
LABEL_FIELDS = ("label", "score")
WORD_FIELDS = ("tokens", "words")
TAG_FIELDS = ("tags", "ner_tags")
ANSWER_FIELDS = ("answers", "answer")
CHOICE_FIELDS = ("choices",)


def parse_record(record: object, where: str) -> Example:
    """The example in `record`, a mapping or a text alone; fields with other names are left aside.

    Raises:
        InputError: no text, or a field of the wrong type; the message begins with `where`.
    """
    if isinstance(record, str):
        return Example(_text(record, "the row", where), where)
    if not isinstance(record, Mapping):
        raise InputError(
            f"{where} holds a {type(record).__name__}; it must be a text or an object with a field 'text'."
        )
    words = _texts(record, WORD_FIELDS, where)
    name, text = _first(record, TEXT_FIELDS)
    if name is None and words is not None:
        name, text = "tokens", " ".join(words)
    if name is None:
        raise InputError(f"{where} has no text; name the field 'text', or one of {', '.join(TEXT_FIELDS[1:])}.")
    pair_name, pair = _first(record, PAIR_FIELDS)
    tags = _tags(record, words, where)
    return Example(
        text=_text(text, name, where),
        where=where,
        pair=None if pair_name is None else _text(pair, pair_name, where),
        label=_label(record, where),
        words=words,
        tags=tags,
        answers=_answers(record, where),
        choices=_texts(record, CHOICE_FIELDS, where),
    )


def _first(record: Mapping[str, Any], names: Sequence[str]) -> tuple[str | None, Any]:
    """Name and value of the first of `names` that is there and not null."""
    for name in names:
        if record.get(name) is not None:
            return name, record[name]
    return None, None


def _text(value: object, name: str, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: {name} is a {type(value).__name__}; it must be a text.")
    if not value.strip():
        raise InputError(f"{where}: {name} is empty; write something, or leave the row out.")
    if "\0" in value:
        raise InputError(f"{where}: {name} has a NUL character in it; the file is no text.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{where}: {name} has half of a surrogate pair in it; it is not valid Unicode.") from None
    return value


def _texts(record: Mapping[str, Any], names: Sequence[str], where: str) -> tuple[str, ...] | None:
    name, values = _first(record, names)
    if name is None:
        return None
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise InputError(f"{where}: {name} must be a list of one text or more.")
    return tuple(_text(value, f"{name}[{index}]", where) for index, value in enumerate(values))


def _label(record: Mapping[str, Any], where: str) -> str | float | int | None:
    name, value = _first(record, LABEL_FIELDS)
    if name is None:
        return None
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, (str, int, float)) or (isinstance(value, float) and not math.isfinite(value)):
        raise InputError(f"{where}: {name} is {value!r}; it must be a text or a finite number.")
    return value


def _tags(record: Mapping[str, Any], words: tuple[str, ...] | None, where: str) -> tuple[str | int, ...] | None:
    name, values = _first(record, TAG_FIELDS)
    if name is None or words is None:
        return None
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) != len(words):
        raise InputError(f"{where}: {name} must be a list of {len(words)} labels, one for each word.")
    for index, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise InputError(f"{where}: {name}[{index}] is {value!r}; it must be a label's name or number.")
    return tuple(values)


def _answers(record: Mapping[str, Any], where: str) -> tuple[str, ...] | None:
    """A text, a list of texts (none: the question has no answer), or SQuAD's object with a list called text."""
    name, values = _first(record, ANSWER_FIELDS)
    if name is None:
        return None
    if isinstance(values, Mapping):
        values = values.get("text")
    if isinstance(values, str):
        values = [values]
    if not isinstance(values, Sequence) or not all(isinstance(value, str) for value in values):
        raise InputError(
            f"{where}: {name} must be a text, a list of texts, or an object with such a list called 'text'."
        )
    return tuple(values)

"""What a caller asks of an encoding: texts and options, checked once at the boundary."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bert_onnx.errors import InputError, UsageError
from bert_onnx.tokenization.settings import NO_LIMIT, TokenizerSettings, check_side

PADDINGS = ("longest", "max_length", "do_not_pad")
TRUNCATIONS = ("longest_first", "only_first", "only_second", "do_not_truncate")
_SURROGATE = re.compile("[\ud800-\udfff]")

#: One text: a string, or the list of its words where the caller has split it already.
Text = str | Sequence[str]


@dataclass(frozen=True)
class EncodeOptions:
    """How texts become rows of ids; made by `resolve_options` only."""

    add_special_tokens: bool
    padding: str
    truncation: str
    max_length: int | None
    stride: int
    pad_to_multiple_of: int | None
    padding_side: str
    truncation_side: str
    overflowing: bool


@dataclass(frozen=True)
class EncodingRequest:
    """What an encoding holds beside its input_ids."""

    attention_mask: bool
    token_type_ids: bool
    special_tokens_mask: bool
    offsets: bool
    length: bool
    arrays: str | None

    def __post_init__(self) -> None:
        check_arrays(self.arrays)


def check_arrays(kind: str | None) -> None:
    """Raises UsageError for a kind of arrays that `return_tensors` does not know."""
    if kind not in (None, "np", "pt"):
        raise UsageError(f"return_tensors is {kind!r}; it is None, 'np' or 'pt'.")


def resolve_options(
    settings: TokenizerSettings,
    add_special_tokens: bool,
    padding: bool | str,
    truncation: bool | str | None,
    max_length: int | None,
    stride: int,
    pad_to_multiple_of: int | None,
    padding_side: str | None,
    overflowing: bool,
) -> EncodeOptions:
    """Resolve what the caller left open. Raises UsageError for a value that does not exist or contradicts another.

    A `max_length` with neither padding nor truncation set means truncation. Without a `max_length` the model's own
    limit counts; where there is none either, truncation has nothing to do, and padding to it is an error.
    """
    if max_length is not None and padding is False and truncation is None:
        truncation = "longest_first"
    pad = _choice("padding", padding, PADDINGS)
    cut = _choice("truncation", truncation or False, TRUNCATIONS)
    _check_number("max_length", max_length, 0)
    _check_number("stride", stride, 0)
    _check_number("pad_to_multiple_of", pad_to_multiple_of, 1)
    side = settings.padding_side if padding_side is None else padding_side
    check_side("padding_side", side)
    if max_length is None and (pad == "max_length" or cut != "do_not_truncate"):
        if settings.model_max_length < NO_LIMIT:
            max_length = settings.model_max_length
        elif pad == "max_length":
            raise UsageError("padding='max_length' needs a max_length: this tokenizer's model names no limit.")
        else:
            cut = "do_not_truncate"
    both = cut != "do_not_truncate" and pad != "do_not_pad"
    if both and pad_to_multiple_of and max_length is not None and max_length % pad_to_multiple_of:
        raise UsageError(
            f"max_length {max_length} is not a multiple of pad_to_multiple_of {pad_to_multiple_of}, so rows could "
            "not keep to both; change one of them."
        )
    return EncodeOptions(
        add_special_tokens=add_special_tokens,
        padding=pad,
        truncation=cut,
        max_length=max_length,
        stride=stride,
        pad_to_multiple_of=pad_to_multiple_of,
        padding_side=side,
        truncation_side=settings.truncation_side,
        overflowing=overflowing,
    )


def _choice(name: str, value: bool | str, choices: tuple[str, ...]) -> str:
    """One of `choices`: the first for True, the last for False."""
    if value is True or value is False:
        return choices[0] if value else choices[-1]
    if value not in choices:
        raise UsageError(f"{name} is {value!r}; it is True, False or one of {', '.join(choices)}.")
    return value


def _check_number(name: str, value: int | None, least: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise UsageError(f"{name} is {value!r}; it is a whole number, at least {least}.")


def check_text(text: Any, where: str = "the text") -> str:
    """`text` itself, when it is a string that UTF-8 can hold; InputError otherwise. Empty text is legal."""
    if not isinstance(text, str):
        raise InputError(f"A text is a string, but {where} is of type {type(text).__name__}.")
    if not text.isascii() and (found := _SURROGATE.search(text)):
        raise InputError(
            f"Half a surrogate pair (U+{ord(found.group()):04X}) stands at position {found.start()} of {where}; it is "
            "no character, so decode the text properly first."
        )
    return text


@dataclass(frozen=True)
class Texts:
    """The texts of one call: `second[i]` is the pair of `first[i]`, or None."""

    first: list[Text]
    second: list[Text | None]
    batched: bool
    in_words: bool


def read_texts(text: Any, text_pair: Any, in_words: bool) -> Texts:
    """Sort out the legal forms: one text, one pair, a batch, a batch of pairs (two lists, or a list of 2-tuples).

    `in_words`: each text is a list of words. Raises InputError for anything else.
    """
    batched = _is_list(text) and (not in_words or (len(text) > 0 and _is_list(text[0])))
    if not batched:
        first = [_text(text, "the text", in_words)]
        second = [None if text_pair is None else _text(text_pair, "the pair", in_words)]
        return Texts(first, second, False, in_words)
    if text_pair is None:
        pairs = [item if _is_pair(item, in_words) else (item, None) for item in text]
    elif not _is_list(text_pair) or len(text_pair) != len(text):
        size = len(text_pair) if _is_list(text_pair) else f"a {type(text_pair).__name__}"
        raise InputError(f"A batch of {len(text)} texts needs a list of as many pairs, but text_pair is {size}.")
    else:
        pairs = list(zip(text, text_pair, strict=True))
    firsts = [_text(pair[0], f"text {i}", in_words) for i, pair in enumerate(pairs)]
    seconds = [None if pair[1] is None else _text(pair[1], f"pair {i}", in_words) for i, pair in enumerate(pairs)]
    return Texts(firsts, seconds, True, in_words)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _is_pair(item: Any, in_words: bool) -> bool:
    """Whether an item of a batch is a pair: two strings, or with `in_words` two lists of words."""
    if not _is_list(item) or len(item) != 2:
        return False
    return not in_words or (_is_list(item[0]) and _is_list(item[1]))


def _text(value: Any, where: str, in_words: bool) -> Text:
    if not in_words:
        return check_text(value, where)
    if not _is_list(value):
        raise InputError(f"is_split_into_words=True wants lists of words, but {where} is a {type(value).__name__}.")
    return [check_text(word, f"word {i} of {where}") for i, word in enumerate(value)]

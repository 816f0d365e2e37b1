"""Texts and token ids of requests to windows; what cannot be read is cut before it is tokenized."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bert_onnx.errors import InputError
from runtimes.pipelines.encoding import Window, encode

if TYPE_CHECKING:
    from bert_onnx.tokenization import FastTokenizer
    from runtimes.pipelines.late_interaction import LateInteractionEmbedding

#: A text, or token ids.
Input = str | list[int]

#: Characters a token that are tried first; English has 4 to 5.
_CHARACTERS = 16
_GROWTH = 8
#: Tokens beyond the limit that must be seen, so that where the text was cut cannot matter.
_MARGIN = 128
#: A place to cut is looked for in so many characters.
_SEARCHED = 2048


def cut_text(tokenizer: FastTokenizer, text: str, max_length: int) -> str:
    """A beginning of `text` that has the same first `max_length` tokens, and more than `max_length` of them if `text`
    has; mostly far shorter, so that a long text costs no more than a page.

    It ends between two words. Where no such place is found, or the beginning has too few tokens (a megabyte of spaces
    has none), more is tried, in the end all.
    """
    size = max_length * _CHARACTERS
    if len(text) <= size * 2 or tokenizer.truncation_side != "right":
        return text
    while size < len(text):
        end = _word_end(text, size, tokenizer.kind == "WordPiece")
        if end is not None:
            head = text[:end]
            if len(tokenizer.encode(head, add_special_tokens=False)) >= max_length + _MARGIN:
                return head
        size *= _GROWTH
    return text


def _word_end(text: str, size: int, word_pieces: bool) -> int | None:
    """The last place up to `size` where a word ends; None where there is none nearby."""
    for end in range(size, max(0, size - _SEARCHED), -1):
        if text[end].isspace() or (word_pieces and _stands_alone(text[end])):
            return end
    return None


def _stands_alone(character: str) -> bool:
    """Whether BERT's splitter makes a word of the character alone: punctuation, ideographs of Chinese."""
    return unicodedata.category(character)[0] == "P" or "\u4e00" <= character <= "\u9fff"


def windows_of(
    tokenizer: FastTokenizer, inputs: Sequence[Input], prompt: str, max_length: int, truncate: bool
) -> list[Window]:
    """One window an input, cut to `max_length` tokens.

    Args:
        prompt: put before texts, not before ids.
        truncate: cut what is too long; else it is refused.

    Raises:
        InputError: an id that the model does not have; a text that is too long and must not be cut.
    """
    texts = [cut_text(tokenizer, prompt + text, max_length) for text in inputs if isinstance(text, str)]
    encoded = iter(encode(tokenizer, texts, None, max_length))
    windows = [next(encoded) if isinstance(one, str) else _ids_window(tokenizer, one, max_length) for one in inputs]
    if not truncate:
        refuse_cut([window.truncated for window in windows], max_length)
    return windows


def token_windows(
    pipeline: LateInteractionEmbedding, inputs: Sequence[Input], prompt: str, is_query: bool, truncate: bool
) -> list[Window]:
    """The same as queries or documents of late interaction, read from texts alone: markers stand among their tokens.

    Raises:
        InputError: token ids; a text that is too long and must not be cut.
    """
    tokenizer, reader, longest = pipeline.tokenizer, pipeline.reader, pipeline.config.longest_sequence
    if not all(isinstance(one, str) for one in inputs):
        raise InputError("this model puts markers into texts, and does not take token ids; send texts.")
    texts = [cut_text(tokenizer, prompt + str(one).strip(), longest) for one in inputs]
    windows = reader.rows(texts, is_query)
    if not truncate:
        refuse_cut([window.truncated for window in windows], reader.length(is_query))
    return windows


def refuse_cut(truncated: Sequence[bool], max_length: int) -> None:
    """Raises InputError: the end of a text was not read, and the caller wants all or nothing."""
    if any(truncated):
        raise InputError(
            f"input {list(truncated).index(True)} is longer than the {max_length} tokens that this model reads; "
            "shorten it, or leave `truncate` out."
        )


def _ids_window(tokenizer: FastTokenizer, ids: list[int], max_length: int) -> Window:
    """A row of ids as it is where its special tokens are in it; else they are put around."""
    for index in ids:
        if not 0 <= index < len(tokenizer) or index in tokenizer.unknown_to_model:
            raise InputError(f"there is no token {index}; this model's ids are 0 to {len(tokenizer) - 1}.")
    empty = tokenizer.build_inputs_with_special_tokens([])
    before, after = _around(tokenizer, empty)
    if ids[: len(before)] == before and ids[len(ids) - len(after) :] == after and len(ids) >= len(empty):
        ids = ids[len(before) : len(ids) - len(after)]
    room = max_length - len(empty)
    kept = ids[:room] if tokenizer.truncation_side == "right" else ids[-room:]
    row = tokenizer.build_inputs_with_special_tokens(kept)
    types = tokenizer.create_token_type_ids_from_sequences(kept)
    return Window(0, row, types, truncated=len(ids) > room)


def _around(tokenizer: FastTokenizer, empty: list[int]) -> tuple[list[int], list[int]]:
    """The special tokens before and after a text, of a row without one."""
    marked = tokenizer.build_inputs_with_special_tokens([-1])
    place = marked.index(-1)
    return empty[:place], empty[place:]

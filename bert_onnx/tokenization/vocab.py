"""Vocabulary files and the tokens that stand beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bert_onnx.errors import StorageError, TokenizerError

VOCAB_FILE = "vocab.txt"


@dataclass(frozen=True)
class AddedToken:
    """A token that is found in the text before anything else is split.

    `lstrip`/`rstrip` swallow the white space on that side, `single_word` finds the token between spaces only,
    `normalized` looks for it in the normalised text, `special` lets `skip_special_tokens` drop it.
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = True
    special: bool = False


def special_token(token: str | AddedToken) -> AddedToken:
    """`token` as a special token: found verbatim, never split."""
    return token if isinstance(token, AddedToken) else AddedToken(token, normalized=False, special=True)


@dataclass(frozen=True)
class Vocabulary:
    """The lines of a vocab.txt: token to line number. Of a token that stands there twice the last line counts."""

    ids: dict[str, int]
    duplicates: frozenset[str]
    source: str


def read_vocabulary(path: str | Path) -> Vocabulary:
    """Read a vocab.txt, one token a line, the line number being its id.

    Raises TokenizerError when the file is missing, empty or not UTF-8.
    """
    try:
        with open(path, encoding="utf-8") as lines:
            tokens = [line.rstrip("\n") for line in lines]
    except FileNotFoundError:
        raise TokenizerError(f"There is no vocabulary file {path}; a BERT checkpoint has a {VOCAB_FILE}.") from None
    except UnicodeDecodeError as error:
        raise TokenizerError(
            f"The vocabulary {path} is not UTF-8 text (byte {error.start}); fetch the file again."
        ) from None
    except OSError as error:
        raise TokenizerError(f"The vocabulary {path} cannot be read: {error.strerror}.") from None
    if not tokens:
        raise TokenizerError(f"The vocabulary {path} is empty; fetch the file again.")
    ids = {token: index for index, token in enumerate(tokens)}
    return Vocabulary(ids, frozenset(_repeated(tokens)) if len(ids) != len(tokens) else frozenset(), str(path))


def _repeated(tokens: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    return {token for token in tokens if token in seen or seen.add(token)}  # type: ignore[func-returns-value]


def write_vocabulary(ids: Mapping[str, int], path: str | Path) -> None:
    """Write a vocab.txt, tokens in the order of their ids.

    A hole in the ids becomes an empty line, so that every other token keeps its id when the file is read back.
    Raises TokenizerError for a token that holds a line break: such a line could not be read back.
    """
    by_id = {index: token for token, index in ids.items()}
    lines = [by_id.get(index, "") for index in range(max(by_id, default=-1) + 1)]
    for index, token in enumerate(lines):
        if "\n" in token or "\r" in token:
            raise TokenizerError(
                f"Token {index} ({token!r}) holds a line break and cannot be written to a {VOCAB_FILE}."
            )
    try:
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
    except OSError as error:
        raise StorageError(f"The vocabulary {path} cannot be written: {error.strerror}.") from None


class HasVocabulary(Protocol):
    """Anything with a token-to-id table that includes the added tokens."""

    def get_vocab(self) -> dict[str, int]: ...


def check_vocabulary(tokenizer: HasVocabulary, vocab_size: int) -> None:
    """Check that every id of `tokenizer` has a row in an embedding matrix of `vocab_size` rows ([V, D]).

    A vocabulary smaller than the matrix is legal: many checkpoints round V up. Raises TokenizerError otherwise.
    """
    token, largest = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if largest >= vocab_size:
        raise TokenizerError(
            f"The tokenizer's largest id is {largest} ({token!r}), but the embedding matrix has {vocab_size} rows; "
            f"use the tokenizer of this checkpoint, or resize the embeddings to at least {largest + 1} rows."
        )

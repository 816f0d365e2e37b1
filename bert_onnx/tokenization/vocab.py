"""Vocabulary files and the tokens that stand beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bert_onnx.errors import StorageError, TokenizerError

VOCAB_FILE = "vocab.txt"
#: Share of tokens without an embedding from which on a tokenizer is taken for another model's.
_FOREIGN = 0.25


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
    """A tokenizer, as far as it is checked here."""

    unknown_to_model: frozenset[int]

    def get_vocab(self) -> dict[str, int]: ...
    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any: ...
    def build_inputs_with_special_tokens(self, token_ids_0: Sequence[int]) -> list[int]: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]: ...


def check_vocabulary(tokenizer: HasVocabulary, vocab_size: int) -> tuple[str, ...]:
    """Mark the ids of `tokenizer` that have no row in an embedding matrix of `vocab_size` rows ([V, D]).

    A vocabulary smaller than the matrix is legal: many checkpoints round V up. Ids beyond it are legal, too, while no
    text reaches them: the tokenizer then raises InputError, naming the token. Returns a warning where there are any.
    Raises TokenizerError where every text has one (a special token of each row), or so many tokens are without that it
    is another model's.
    """
    # Listing a vocabulary takes milliseconds: only where it does not end before the matrix does.
    last = max(tokenizer.added_tokens_decoder, default=0)
    if max(tokenizer.vocab_size, last + 1) <= vocab_size and tokenizer.convert_ids_to_tokens([vocab_size]) == [None]:
        return ()
    vocabulary = tokenizer.get_vocab()
    without = {index: token for token, index in vocabulary.items() if index >= vocab_size}
    if not without:
        return ()
    largest = max(without)
    needed = [index for index in tokenizer.build_inputs_with_special_tokens([]) if index in without]
    beyond = (
        f"The tokenizer's largest id is {largest} ({without[largest]!r}), but the embedding matrix has {vocab_size} "
    )
    beyond += "rows"
    if needed or len(without) > _FOREIGN * len(vocabulary):
        why = (
            f"{without[needed[0]]!r}, which stands in every row, has none"
            if needed
            else f"{len(without)} of its {len(vocabulary)} tokens have none"
        )
        raise TokenizerError(
            f"{beyond}: {why}; use the tokenizer of this checkpoint, or resize the embeddings to at least "
            f"{largest + 1} rows."
        )
    tokenizer.unknown_to_model = frozenset(without)
    shown = ", ".join(repr(without[index]) for index in sorted(without)[:5])
    return (f"{beyond}; texts that hold one of {len(without)} tokens ({shown}) are refused.",)

"""A tokenizer as the graph needs it, or the reason why no graph can do what it does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bert_onnx.errors import UsageError
from bert_onnx.tokenization import AddedToken, FastTokenizer
from export.text_input.characters import CharacterTable, character_table

_PRIVATE_USE = range(0xE000, 0xF900)
#: White space that the table cannot have as keys: it has one row a line, and a tab between key and value.
UNWRITABLE = ("\t", "\n")


@dataclass(frozen=True)
class Marks:
    """Characters that stand for something inside the graph; the normaliser removes them all from texts.

    Args:
        erased: takes the place of removed characters.
        end: stands after every text.
        special: one for every token that is found in the text as it is, `[MASK]` among them.
    """

    erased: str
    end: str
    special: Mapping[str, str]


@dataclass(frozen=True)
class TokenizerTables:
    """Everything that the graph knows of a tokenizer.

    Args:
        characters: what becomes of characters.
        marks: see there.
        vocabulary: ids of word pieces.
        added: ids of the tokens that are found in the text as it is.
        prefix: what marks a piece that continues a word.
        unknown, unknown_id: the token of words that no pieces cover.
        longest_word: words with more characters are unknown.
        first_id, end_id, pad_id: `[CLS]`, `[SEP]` and `[PAD]`.
        types: tokens of second texts are of type 1; otherwise of 0, as all others.
    """

    characters: CharacterTable
    marks: Marks
    vocabulary: dict[str, int]
    added: dict[str, int]
    prefix: str
    unknown: str
    unknown_id: int
    longest_word: int
    first_id: int
    end_id: int
    pad_id: int
    types: bool

    @property
    def plain_ascii(self) -> list[str]:
        """Letters and digits that stay as they are, and what words are split at."""
        return [char for char in map(chr, range(128)) if char not in self.characters.changed or char in UNWRITABLE]

    def special_ids(self) -> dict[str, int]:
        """Ids by the mark of a special token."""
        return {mark: self.added[content] for content, mark in self.marks.special.items()}

    def mapping(self) -> str:
        """The table of characters and special tokens, one row a line."""
        rows = {char: result or self.marks.erased for char, result in self.characters.changed.items()}
        rows |= {content: f" {mark} " for content, mark in self.marks.special.items()}
        rows |= {self.marks.end: f" {self.marks.end} "}
        return "\n".join(f"{key}\t{value}" for key, value in rows.items() if key not in UNWRITABLE)


def tokenizer_tables(tokenizer: FastTokenizer, typed: bool = True) -> TokenizerTables:
    """What the graph needs to know of `tokenizer`.

    Args:
        typed: the model reads the types of tokens.

    Raises:
        UsageError: it does something that the operators cannot; the message says what.
    """
    document = json.loads(tokenizer.backend_tokenizer.to_str())
    _check_kind(document, tokenizer)
    first, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    if first is None or end is None or not (tokenizer.is_bert if typed else tokenizer.builds_bert_rows):
        raise _refusal("builds other rows than BERT's [CLS] A [SEP] B [SEP] with type ids 0 and 1")
    for token in tokenizer.added_tokens_decoder.values():
        _check_flags(token)
    characters = character_table(tokenizer.backend_tokenizer)
    added = _added_tokens(tokenizer, characters)
    model, vocabulary = document["model"], _pieces(tokenizer)
    return TokenizerTables(
        characters=characters,
        marks=_marks(characters, vocabulary, added),
        vocabulary=vocabulary,
        added=added,
        prefix=model["continuing_subword_prefix"],
        unknown=model["unk_token"],
        unknown_id=vocabulary[model["unk_token"]],
        longest_word=model["max_input_chars_per_word"],
        first_id=first,
        end_id=end,
        pad_id=tokenizer.padding_id,
        types=tokenizer.is_bert,
    )


def _check_kind(document: dict[str, Any], tokenizer: FastTokenizer) -> None:
    if tokenizer.kind != "WordPiece":
        raise _refusal(f"is a {tokenizer.kind} one, and its operators know word pieces only")
    normalizer, splitter = document["normalizer"] or {}, document["pre_tokenizer"] or {}
    if normalizer.get("type") != "BertNormalizer" or splitter.get("type") != "BertPreTokenizer":
        raise _refusal(
            f"normalises with {normalizer.get('type')} and splits with {splitter.get('type')}, not as BERT's"
        )
    if not normalizer["clean_text"]:
        raise _refusal("keeps control characters (clean_text is false)")
    if tokenizer.truncation_side != "right":
        raise _refusal("cuts long texts on the left")


def _added_tokens(tokenizer: FastTokenizer, characters: CharacterTable) -> dict[str, int]:
    found = {}
    for index, token in tokenizer.added_tokens_decoder.items():
        if not token.content:
            continue
        if any(char in UNWRITABLE or characters.is_removed(char) for char in token.content):
            raise _refusal(f"has a token {token.content!r} with control characters")
        found[token.content] = index
    return found


def _check_flags(token: AddedToken) -> None:
    if token.normalized:
        raise _refusal(f"looks for its token {token.content!r} in normalised text")
    if token.single_word:
        raise _refusal(f"takes its token {token.content!r} between spaces only")


def _pieces(tokenizer: FastTokenizer) -> dict[str, int]:
    return dict(sorted(tokenizer.backend_tokenizer.get_vocab(with_added_tokens=False).items(), key=lambda row: row[1]))


def _marks(characters: CharacterTable, vocabulary: Mapping[str, int], added: Mapping[str, int]) -> Marks:
    free = (char for char in map(chr, _PRIVATE_USE) if characters.is_removed(char) and char not in vocabulary)
    chosen = [next(free, "") for _ in range(2 + len(added))]
    if "" in chosen:
        raise _refusal(f"has {len(added)} special tokens, more than there are characters to stand for them")
    return Marks(chosen[0], chosen[1], dict(zip(added, chosen[2:], strict=True)))


def _refusal(what: str) -> UsageError:
    return UsageError(f"--text-input is not possible: the tokenizer {what}; export without it.")

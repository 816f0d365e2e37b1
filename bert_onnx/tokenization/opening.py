"""From tokenizer files to the tokenizers library's object, as transformers joins what they say."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bert_onnx.tokenization.classes import MERGES, TokenizerClass
from bert_onnx.tokenization.fast import load_backend
from bert_onnx.tokenization.files import CONFIG_FILE
from bert_onnx.tokenization.folder import TokenizerFolder
from bert_onnx.tokenization.settings import (
    TokenizerSettings,
    doubtful_special_tokens,
    missing_roles,
)
from bert_onnx.tokenization.vocab import read_vocabulary, special_token

if TYPE_CHECKING:
    import tokenizers

SIDES_AND_CLEAN_UP = ("padding_side", "truncation_side", "clean_up_tokenization_spaces")


class OpenedTokenizer(NamedTuple):
    """The library's object, the settings it has then, and what the files disagreed about."""

    tokenizer: tokenizers.Tokenizer
    settings: TokenizerSettings
    warnings: tuple[str, ...]


def open_folder(found: TokenizerFolder) -> OpenedTokenizer:
    """The tokenizer of a checkpoint folder. Raises TokenizerError for damaged files."""
    unset = [*(name for name in SIDES_AND_CLEAN_UP if name not in found.config), *found.nulls]
    unset += [] if "pad_token" in found.named else ["pad_token"]
    opened = open_files(found.vocab_file, found.tokenizer_file, found.settings, found.kind, unset)
    return opened._replace(warnings=(*found.warnings, *opened.warnings))


def open_files(
    vocab_file: str | Path | None,
    tokenizer_file: str | Path | None,
    settings: TokenizerSettings,
    kind: TokenizerClass,
    unset: Collection[str],
) -> OpenedTokenizer:
    """The tokenizer of a tokenizer.json, else of the vocabulary files that its class reads.

    `unset` are settings that tokenizer.json decides.
    """
    if tokenizer_file is None:
        return _from_vocabulary(Path(str(vocab_file)), settings, kind)
    backend = load_backend()
    tokenizer = backend.from_file(tokenizer_file)
    said = backend.said_by_file(tokenizer)
    overruled = [name for name in kind.overrules if name not in unset]
    decided = {name: value for name, value in said.items() if name not in overruled}
    decided = {name: value for name, value in decided.items() if name not in SIDES_AND_CLEAN_UP or name in unset}
    warnings = [
        f"{tokenizer_file} has {name} {said[name]!r} and {CONFIG_FILE} {getattr(settings, name)!r} (or its class has, "
        f"where the file says nothing); transformers takes {getattr(settings, name)!r}, and so does bert-onnx."
        for name in overruled
        if name in said and said[name] != getattr(settings, name)
    ]
    special = settings.special
    if special.pad_token is None and "pad_token" in unset and tokenizer.padding:
        special = dataclasses.replace(special, pad_token=special_token(tokenizer.padding["pad_token"]))
    settings = dataclasses.replace(settings, special=special, **decided)
    backend.overrule(tokenizer, settings, kind.byte_level, overruled)
    known = [token.content for token in settings.special if tokenizer.token_to_id(token.content) is not None]
    listed = [token.content for token in settings.added_tokens.values()]
    warnings += missing_roles(settings.special, {*known, *listed}, str(tokenizer_file))
    backend.add_all(tokenizer, settings)
    return OpenedTokenizer(tokenizer, settings, tuple(warnings))


def _from_vocabulary(vocab_file: Path, settings: TokenizerSettings, kind: TokenizerClass) -> OpenedTokenizer:
    backend = load_backend()
    if kind.reads == MERGES:
        from bert_onnx.tokenization.merges import from_merges, read_vocabulary_json

        vocabulary = read_vocabulary_json(vocab_file)
        tokenizer = from_merges(vocabulary, vocab_file.with_name(MERGES[1]), settings, kind.byte_level)
    else:
        vocabulary = read_vocabulary(vocab_file)
        if not settings.do_basic_tokenize and "tokenize_chinese_chars" not in kind.overrules:
            settings = dataclasses.replace(settings, tokenize_chinese_chars=False)
        tokenizer = backend.from_vocabulary(vocabulary, settings)
    warnings = doubtful_special_tokens(vocabulary, settings)
    backend.add_all(tokenizer, settings)
    if kind.byte_level:
        backend.set_roberta_rows(tokenizer, settings)
    else:
        backend.set_rows(tokenizer, settings, kind.rows)
    return OpenedTokenizer(tokenizer, settings, tuple(warnings))

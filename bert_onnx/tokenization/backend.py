"""The tokenizers library as BertTokenizerFast uses it. Importing this module loads the library."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from bert_onnx.errors import TokenizerError
from bert_onnx.tokenization.settings import ROLES, SpecialTokens, TokenizerSettings, check_roles
from bert_onnx.tokenization.vocab import AddedToken, Vocabulary

#: Settings that only a tokenizer.json can say once there is one.
ALWAYS_FROM_FILE = ("clean_text", "wordpieces_prefix")
NORMALISER = ("do_lower_case", "tokenize_chinese_chars", "strip_accents")


def from_vocabulary(vocabulary: Vocabulary, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    """A tokenizer from the lines of a vocab.txt."""
    prefix, special = settings.wordpieces_prefix, settings.special
    tokenizer = tokenizers.Tokenizer(
        models.WordPiece(vocabulary.ids, unk_token=special.unk_token.content, continuing_subword_prefix=prefix)
    )
    tokenizer.normalizer = _normalizer(settings)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    cls, sep = special.cls_token.content, special.sep_token.content
    ids = {token.content: index for index, token in settings.added_tokens.items()} | vocabulary.ids
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[f"{cls}:0", "$A:0", f"{sep}:0"],
        pair=[f"{cls}:0", "$A:0", f"{sep}:0", "$B:1", f"{sep}:1"],
        special_tokens=[(token, ids[token]) for token in dict.fromkeys((cls, sep))],
    )
    tokenizer.decoder = decoders.WordPiece(prefix=prefix)
    return tokenizer


def _normalizer(settings: TokenizerSettings) -> normalizers.BertNormalizer:
    return normalizers.BertNormalizer(
        clean_text=settings.clean_text,
        handle_chinese_chars=settings.tokenize_chinese_chars,
        strip_accents=settings.strip_accents,
        lowercase=settings.do_lower_case,
    )


def from_file(
    path: str | Path, settings: TokenizerSettings, file_decides: Collection[str]
) -> tuple[tokenizers.Tokenizer, TokenizerSettings]:
    """The tokenizer of a tokenizer.json, and the settings it has then.

    The settings named in `file_decides` are read from the file; the others win over the file. Whatever padding and
    truncation the file asks for is switched off: they are options of each call. Raises TokenizerError for a file
    that is missing, damaged, or does not hold word pieces.
    """
    if not Path(path).is_file():
        raise TokenizerError(f"There is no file {path}.")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises the bare class
        raise TokenizerError(f"{path} is damaged or of an unknown format ({error}); fetch the file again.") from None
    if not isinstance(tokenizer.model, models.WordPiece):
        raise TokenizerError(
            f"{path} holds a {type(tokenizer.model).__name__} tokenizer, but BERT's is a WordPiece one."
        )
    said = _said_by_file(tokenizer)
    decided = {name: said[name] for name in (*file_decides, *ALWAYS_FROM_FILE) if name in said}
    settings = dataclasses.replace(settings, **decided)
    if isinstance(tokenizer.normalizer, normalizers.BertNormalizer) and any(
        said[name] != getattr(settings, name) for name in NORMALISER
    ):
        tokenizer.normalizer = _normalizer(settings)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    known = {token for role in ROLES if (token := _content(settings.special, role)) and _has(tokenizer, token)}
    check_roles(settings.special, known, str(path))
    if not _has(tokenizer, tokenizer.model.unk_token):
        raise TokenizerError(
            f"{path} names the unknown token {tokenizer.model.unk_token!r}, but its vocabulary lacks it."
        )
    return tokenizer, settings


def _content(special: SpecialTokens, role: str) -> str | None:
    token: AddedToken | None = getattr(special, role)
    return None if token is None else token.content


def _has(tokenizer: tokenizers.Tokenizer, token: str) -> bool:
    return tokenizer.token_to_id(token) is not None


def _said_by_file(tokenizer: tokenizers.Tokenizer) -> dict[str, Any]:
    """What a tokenizer.json says about settings; a normaliser other than BERT's says nothing."""
    said: dict[str, Any] = {
        "clean_up_tokenization_spaces": False,  # its decoder does that
        "wordpieces_prefix": tokenizer.model.continuing_subword_prefix,
    }
    if tokenizer.padding:
        said["padding_side"] = tokenizer.padding["direction"]
    if tokenizer.truncation:
        said["truncation_side"] = tokenizer.truncation["direction"]
    normalizer = tokenizer.normalizer
    if isinstance(normalizer, normalizers.BertNormalizer):
        said["do_lower_case"] = normalizer.lowercase
        said["strip_accents"] = normalizer.strip_accents
        said["tokenize_chinese_chars"] = normalizer.handle_chinese_chars
        said["clean_text"] = normalizer.clean_text
    return said


def add_tokens(tokenizer: tokenizers.Tokenizer, tokens: Iterable[AddedToken], special: SpecialTokens) -> int:
    """Add tokens in order; those with a role or among the special ones are special. Returns how many were new."""
    contents = {token.content for token in special}
    new = [
        tokenizers.AddedToken(
            token.content,
            single_word=token.single_word,
            lstrip=token.lstrip,
            rstrip=token.rstrip,
            normalized=token.normalized,
            special=token.special or token.content in contents,
        )
        for token in tokens
    ]
    return int(tokenizer.add_tokens(new)) if new else 0


def added_tokens(tokenizer: tokenizers.Tokenizer) -> dict[int, AddedToken]:
    """Added and special tokens by id."""
    return {
        index: AddedToken(t.content, t.single_word, t.lstrip, t.rstrip, t.normalized, t.special)
        for index, t in sorted(tokenizer.get_added_tokens_decoder().items())
    }


def check_ids(tokenizer: tokenizers.Tokenizer, listed: Mapping[int, AddedToken]) -> None:
    """Check that added tokens have the ids that tokenizer_config.json lists. Raises TokenizerError.

    The library numbers new tokens itself; with another number a token would get another token's embedding.
    """
    for index, token in listed.items():
        found = tokenizer.token_to_id(token.content)
        if token.content and found != index:
            raise TokenizerError(
                f"The added token {token.content!r} is listed with id {index}, but the tokenizer gives it {found}; the "
                "tokenizer files do not belong together."
            )


def check_template(tokenizer: tokenizers.Tokenizer, special: SpecialTokens, source: str) -> None:
    """Check that rows are built as `[CLS] A [SEP]` and `[CLS] A [SEP] B [SEP]`, type ids 0 and 1.

    BertTokenizerFast builds its rows itself, so a file that asks for others must not be opened. Raises TokenizerError.
    """
    cls, sep = special.cls_token.content, special.sep_token.content
    expected = [([cls, sep], [0, 0]), ([cls, sep, sep], [0, 0, 1])]
    found = [(row.tokens, row.type_ids) for row in (tokenizer.encode(""), tokenizer.encode("", ""))]
    if found != expected:
        raise TokenizerError(
            f"{source} builds the pair of two empty texts as {found[1][0]} with token type ids {found[1][1]}, but "
            f"BERT's is {expected[1][0]} with {expected[1][1]}; mend its post_processor or its special tokens."
        )

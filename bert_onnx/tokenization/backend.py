"""The tokenizers library as BertTokenizerFast uses it. Importing this module loads the library."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from bert_onnx.errors import TokenizerError
from bert_onnx.tokenization.settings import ROLES, SpecialTokens, TokenizerSettings
from bert_onnx.tokenization.template import RowTemplate
from bert_onnx.tokenization.vocab import AddedToken, Vocabulary

#: Settings, and what the library's BertNormalizer calls them.
_NORMALIZER_NAMES = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


def from_vocabulary(vocabulary: Vocabulary, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    """A BERT tokenizer from the lines of a vocab.txt. Raises TokenizerError for settings without [CLS] or [SEP]."""
    unknown = "[UNK]" if settings.special.unk_token is None else settings.special.unk_token.content
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary.ids, unk_token=unknown))
    tokenizer.normalizer = bert_normalizer(settings)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def set_rows(tokenizer: tokenizers.Tokenizer, settings: TokenizerSettings, rows: tuple[str, str]) -> None:
    """Build rows as `rows` says (see classes.py); the special tokens have their ids by now.

    Raises TokenizerError where one is absent. As in transformers, an id that tokenizer_config.json lists for a token
    stands in rows even where the vocabulary has another.
    """
    (cls, cls_id), (sep, sep_id) = _ends(tokenizer, settings)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=_pieces(rows[0], cls, sep),
        pair=_pieces(rows[1], cls, sep),
        special_tokens=list({cls: (cls, cls_id), sep: (sep, sep_id)}.values()),
    )


def set_roberta_rows(tokenizer: tokenizers.Tokenizer, settings: TokenizerSettings) -> None:
    """Build rows as RoBERTa does, whose words lose the space before them in offsets. Raises as `set_rows`."""
    cls, sep = _ends(tokenizer, settings)
    tokenizer.post_processor = processors.RobertaProcessing(
        sep, cls, trim_offsets=settings.trim_offsets, add_prefix_space=settings.add_prefix_space
    )


def _ends(tokenizer: tokenizers.Tokenizer, settings: TokenizerSettings) -> list[tuple[str, int]]:
    """What stands first and last in every row, each with its id."""
    special = settings.special
    if special.cls_token is None or special.sep_token is None:
        raise TokenizerError("cls_token and sep_token stand in every row that BERT reads; name them.")
    listed = {token.content: index for index, token in settings.added_tokens.items()}
    contents = (special.cls_token.content, special.sep_token.content)
    return [(content, listed.get(content, tokenizer.token_to_id(content))) for content in contents]


def _pieces(row: str, cls: str, sep: str) -> list[str]:
    """The pieces of a row, each with its type id; a token may hold a space."""
    pieces = [piece if ":" in piece else f"{piece}:0" for piece in row.split()]
    return [piece.format(cls=cls, sep=sep) for piece in pieces]


def templates(tokenizer: tokenizers.Tokenizer) -> dict[tuple[bool, bool], RowTemplate]:
    """How the post-processor builds rows, by (is it a pair, with special tokens).

    A tokenizer that knows one token, with the same post-processor, shows what it puts around a text.
    """
    probe = tokenizers.Tokenizer(models.WordLevel({"x": 0}, "x"))
    probe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if tokenizer.post_processor is not None:
        probe.post_processor = tokenizer.post_processor
    found = {}
    for pair in (False, True):
        for special in (False, True):
            row = probe.encode("x", "x" if pair else None, add_special_tokens=special)
            text = [sequence is not None for sequence in row.sequence_ids]
            found[pair, special] = RowTemplate(
                sequences=tuple(row.sequence_ids),
                ids=tuple(0 if plain else index for plain, index in zip(text, row.ids, strict=True)),
                tokens=tuple("" if plain else token for plain, token in zip(text, row.tokens, strict=True)),
                type_ids=tuple(row.type_ids),
                window_types=_window_types(probe, row, special),
            )
    return found


def _window_types(probe: tokenizers.Tokenizer, row: tokenizers.Encoding, special: bool) -> tuple[int, ...] | None:
    """The type ids of `row` where its texts stand in their second windows; None where they are the same."""
    types = list(row.type_ids)
    for sequence in range(row.n_sequences):
        texts = ["x x" if own == sequence else "x" for own in range(row.n_sequences)]
        strategy = "only_second" if sequence else "only_first"
        probe.enable_truncation(len(row.ids), strategy=strategy)
        cut = probe.encode(*texts, add_special_tokens=special).overflowing
        probe.no_truncation()
        for slot, own in enumerate(row.sequence_ids):
            if own == sequence and cut:
                types[slot] = cut[0].type_ids[slot]
    return None if types == row.type_ids else tuple(types)


def bert_normalizer(settings: TokenizerSettings) -> normalizers.BertNormalizer:
    return normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.tokenize_chinese_chars,
        strip_accents=settings.strip_accents,
        lowercase=settings.do_lower_case,
    )


def from_file(path: str | Path) -> tokenizers.Tokenizer:
    """The tokenizer of a tokenizer.json, of whatever kind. Raises TokenizerError for a missing or damaged file."""
    if not Path(path).is_file():
        raise TokenizerError(f"There is no file {path}.")
    try:
        return tokenizers.Tokenizer.from_buffer(Path(path).read_bytes())
    except Exception as error:  # the library raises the bare class
        raise TokenizerError(f"{path} is damaged or of an unknown format ({error}); fetch the file again.") from None


def said_by_file(tokenizer: tokenizers.Tokenizer) -> dict[str, Any]:
    """What a tokenizer.json says about settings; a normaliser other than BERT's says nothing."""
    said: dict[str, Any] = {"clean_up_tokenization_spaces": False}  # its decoder does that
    if tokenizer.padding:
        said["padding_side"] = tokenizer.padding["direction"]
    if tokenizer.truncation:
        said["truncation_side"] = tokenizer.truncation["direction"]
    normalizer = tokenizer.normalizer
    if isinstance(normalizer, normalizers.BertNormalizer):
        said["do_lower_case"] = normalizer.lowercase
        said["strip_accents"] = normalizer.strip_accents
        said["tokenize_chinese_chars"] = normalizer.handle_chinese_chars
    return said


def overrule(
    tokenizer: tokenizers.Tokenizer, settings: TokenizerSettings, byte_level: bool, options: Collection[str]
) -> None:
    """Change what tokenizer.json says as transformers does when it opens it.

    Padding and truncation are switched off: they are options of each call. `options` are the settings of a
    BertNormalizer that win over the file; every class sets how a byte-level splitter treats the first space, and
    `byte_level` ones the post-processor, too.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    normalizer = tokenizer.normalizer
    if isinstance(normalizer, normalizers.BertNormalizer):
        for name in options:
            setattr(normalizer, _NORMALIZER_NAMES[name], getattr(settings, name))
        tokenizer.normalizer = normalizer
    splitter = tokenizer.pre_tokenizer
    if isinstance(splitter, pre_tokenizers.ByteLevel) and splitter.add_prefix_space != settings.add_prefix_space:
        splitter.add_prefix_space = settings.add_prefix_space
    processor = tokenizer.post_processor
    if byte_level and isinstance(processor, (processors.RobertaProcessing, processors.ByteLevel)):
        processor.add_prefix_space = settings.add_prefix_space
        processor.trim_offsets = settings.trim_offsets
        tokenizer.post_processor = processor


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


def add_all(tokenizer: tokenizers.Tokenizer, settings: TokenizerSettings) -> None:
    """Add the tokens that `settings` lists, then special ones that are missing, or were named with flags."""
    listed = [token for _, token in sorted(settings.added_tokens.items())]
    known = {token.content for token in (*added_tokens(tokenizer).values(), *listed)}
    flagged = settings.special.flagged
    missing = [token for token in settings.special if token.content in flagged or token.content not in known]
    add_tokens(tokenizer, [*listed, *missing], settings.special)


def with_flags(tokenizer: tokenizers.Tokenizer, special: SpecialTokens) -> SpecialTokens:
    """`special` with the flags that `tokenizer` has of them."""
    present = {token.content: token for token in added_tokens(tokenizer).values()}
    roles = {role: token for role in ROLES if (token := getattr(special, role)) is not None}
    return dataclasses.replace(
        special,
        **{role: present.get(token.content, token) for role, token in roles.items()},
        additional=tuple(present.get(token.content, token) for token in special.additional),
    )


def has_bert_stages(tokenizer: tokenizers.Tokenizer) -> bool:
    """Whether BERT's class makes the same of a vocab.txt: its normaliser, splitter, word pieces and decoder."""
    normalizer, decoder = tokenizer.normalizer, tokenizer.decoder
    return (
        isinstance(tokenizer.model, models.WordPiece)
        and tokenizer.model.continuing_subword_prefix == "##"
        and isinstance(normalizer, normalizers.BertNormalizer)
        and normalizer.clean_text
        and isinstance(tokenizer.pre_tokenizer, pre_tokenizers.BertPreTokenizer)
        and isinstance(decoder, decoders.WordPiece)
    )


def added_tokens(tokenizer: tokenizers.Tokenizer) -> dict[int, AddedToken]:
    """Added and special tokens by id."""
    return {
        index: AddedToken(t.content, t.single_word, t.lstrip, t.rstrip, t.normalized, t.special)
        for index, t in sorted(tokenizer.get_added_tokens_decoder().items())
    }


def moved_tokens(tokenizer: tokenizers.Tokenizer, listed: Mapping[int, AddedToken]) -> list[str]:
    """A warning for every added token that has another id than tokenizer_config.json lists.

    The library numbers new tokens itself, and transformers takes the number that it gives.
    """
    return [
        f"The added token {token.content!r} is listed with id {index}, but the library gives it {found}, which counts."
        for index, token in listed.items()
        if token.content and (found := tokenizer.token_to_id(token.content)) != index
    ]

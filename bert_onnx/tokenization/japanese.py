"""Japanese BERT (`BertJapaneseTokenizer`): words by BERT's own rules or by MeCab, then word pieces or characters."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from bert_onnx.errors import RuntimeUnavailableError, TokenizerError
from bert_onnx.tokenization.backend import add_all, bert_normalizer, set_rows
from bert_onnx.tokenization.classes import BERT_ROWS, JAPANESE_CLASS
from bert_onnx.tokenization.fast import FastTokenizer
from bert_onnx.tokenization.folder import TokenizerFolder
from bert_onnx.tokenization.settings import TokenizerSettings, doubtful_special_tokens
from bert_onnx.tokenization.vocab import VOCAB_FILE, read_vocabulary
from bert_onnx.tokenization.writing import bert_config, write_folder

if TYPE_CHECKING:
    import fugashi

_WORDS, _SUBWORDS = ("basic", "mecab"), ("wordpiece", "character")
_DICTIONARIES = ("unidic_lite", "ipadic", "unidic")
#: Keys of tokenizer_config.json that this class alone has.
_KEYS = ("word_tokenizer_type", "subword_tokenizer_type", "do_word_tokenize", "do_subword_tokenize", "mecab_kwargs")


class MecabTokenizer(FastTokenizer):
    """A tokenizer whose words MeCab finds; no tokenizer.json can say that, so that its files are vocab.txt and options.

    Args:
        found: its folder.
    """

    def __init__(
        self, tokenizer: tokenizers.Tokenizer, settings: TokenizerSettings, warnings: Sequence[str], config: Any
    ) -> None:
        super().__init__(tokenizer, settings, warnings)
        self._config = {name: config[name] for name in _KEYS if name in config}

    def _builds_rows_of_bert(self, with_types: bool) -> bool:
        return False

    def save_pretrained(self, save_directory: str | Path) -> tuple[str, ...]:
        """Write vocab.txt and the options into a folder; returns their paths."""
        further = bert_config(self.settings) | self._config
        added = self.added_tokens_decoder
        files = write_folder(save_directory, self.settings, added, self.vocab_size, JAPANESE_CLASS, further)
        return (*map(str, files), *self.save_vocabulary(save_directory))


def open_japanese(found: TokenizerFolder) -> FastTokenizer:
    """The tokenizer of a folder that names `BertJapaneseTokenizer`.

    Raises RuntimeUnavailableError for kinds of words and pieces that are not read here, and where MeCab or its
    dictionary is missing.
    """
    config, settings = found.config, found.settings
    if "clean_up_tokenization_spaces" not in config:
        settings = dataclasses.replace(settings, clean_up_tokenization_spaces=False)
    words = str(config.get("word_tokenizer_type") or "basic")
    subwords = str(config.get("subword_tokenizer_type") or "wordpiece")
    switches = [name for name in ("do_word_tokenize", "do_subword_tokenize") if config.get(name, True) is not True]
    vocab_file = found.path / VOCAB_FILE
    if words not in _WORDS or subwords not in _SUBWORDS or switches or not vocab_file.is_file():
        raise RuntimeUnavailableError(
            f"The Japanese tokenizer of {found.path} finds words by {words!r} and their parts by {subwords!r}"
            f"{''.join(f', with {name} off' for name in switches)}; bert-onnx does {' or '.join(_WORDS)} and "
            f"{' or '.join(_SUBWORDS)} with a {VOCAB_FILE}. Give token ids of transformers to the artifact's graph."
        )
    vocabulary = read_vocabulary(vocab_file)
    warnings = (*found.warnings, *doubtful_special_tokens(vocabulary, settings))
    unknown = "[UNK]" if settings.special.unk_token is None else settings.special.unk_token.content
    characters = subwords == "character"
    model = (models.WordLevel if characters else models.WordPiece)(vocabulary.ids, unk_token=unknown)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    each_character = [pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")] if characters else []
    if words == "mecab":
        splitter = _MecabWords(dict(config.get("mecab_kwargs") or {}), settings, keep_spaces=characters)
        stages = [normalizers.Lowercase()] if settings.do_lower_case else []
        tokenizer.normalizer = normalizers.Sequence([*stages, *([normalizers.NFKC()] if splitter.normalize else [])])
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.PreTokenizer.custom(splitter), *each_character]
        )
    else:
        settings = dataclasses.replace(settings, tokenize_chinese_chars=False)
        tokenizer.normalizer = _basic_normalizer(settings, characters)
        tokenizer.pre_tokenizer = each_character[0] if characters else pre_tokenizers.BertPreTokenizer()
    add_all(tokenizer, settings)
    set_rows(tokenizer, settings, BERT_ROWS)
    if words == "mecab":
        return MecabTokenizer(tokenizer, settings, warnings, config)
    return FastTokenizer(tokenizer, settings, warnings)


def _basic_normalizer(settings: TokenizerSettings, characters: bool) -> normalizers.Normalizer:
    """BERT's cleaning and composed characters (NFC), unless accents go: plain-Python BERT does both, the library one.

    For single characters NFKC follows, the white space being dropped before it makes more.
    """
    basic = bert_normalizer(settings)
    if characters:
        return normalizers.Sequence([basic, normalizers.Replace(tokenizers.Regex(r"\s"), ""), normalizers.NFKC()])
    strips = settings.do_lower_case if settings.strip_accents is None else settings.strip_accents
    return basic if strips else normalizers.Sequence([basic, normalizers.NFC()])


class _MecabWords:
    """A pre-tokenizer of the tokenizers library: cuts a text where MeCab does; word pieces know no white space."""

    def __init__(self, options: Mapping[str, Any], settings: TokenizerSettings, keep_spaces: bool) -> None:
        self._lower = settings.do_lower_case
        self._keep_spaces = keep_spaces
        self._whole = {*settings.never_split, *(token.content for token in settings.special)}
        self.normalize = options.get("normalize_text", True) is not False
        self._mecab = _tagger(options.get("mecab_dic", "unidic_lite"), str(options.get("mecab_option") or ""))

    def pre_tokenize(self, text: tokenizers.PreTokenizedString) -> None:
        text.split(lambda number, part: self._words(part))

    def _words(self, part: tokenizers.NormalizedString) -> list[tokenizers.NormalizedString]:
        text, position, words = part.normalized, 0, []
        for node in self._mecab(text):
            for surface in [node.surface] if self._keep_spaces else node.surface.split():
                start = text.index(surface, position)
                position = start + len(surface)
                word = part[start:position]
                if self._lower and node.surface not in self._whole:  # normalising may have made capitals
                    word.lowercase()
                words.append(word)
        return words


def _tagger(dictionary: Any, option: str) -> fugashi.GenericTagger:
    """MeCab with a dictionary of those that PyPI has, or with the system's for None."""
    if dictionary is not None and dictionary not in _DICTIONARIES:
        raise TokenizerError(f"mecab_dic is {dictionary!r}; it is null or one of {', '.join(_DICTIONARIES)}.")
    try:
        tagger = import_module("fugashi").GenericTagger
        if dictionary is not None:
            folder = import_module(dictionary).DICDIR
            option = f'-d "{folder}" -r "{Path(folder) / "mecabrc"}" {option}'
        return tagger(option)
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"Japanese words are found by MeCab, and {error.name} is not installed; "
            "pip install 'bert-onnx[japanese]' brings it."
        ) from None
    except RuntimeError as error:
        raise RuntimeUnavailableError(f"MeCab does not start with the dictionary {dictionary!r} ({error}).") from None

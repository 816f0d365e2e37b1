"""BertTokenizer: BERT's tokenizer in plain Python, needing no other library."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from bert_onnx.errors import TokenizerError, UsageError
from bert_onnx.tokenization.added import AddedTokenFinder
from bert_onnx.tokenization.base import Tokenizer, read_ids
from bert_onnx.tokenization.basic import BasicTokenizer
from bert_onnx.tokenization.classes import BERT_CLASS, GENERIC_CLASS
from bert_onnx.tokenization.encoding import PlainTokens
from bert_onnx.tokenization.folder import read_folder
from bert_onnx.tokenization.request import Text, check_text
from bert_onnx.tokenization.settings import (
    NO_LIMIT,
    TokenizerSettings,
    doubtful_special_tokens,
    special_tokens,
)
from bert_onnx.tokenization.template import RowTemplate, bert_template
from bert_onnx.tokenization.vocab import VOCAB_FILE, AddedToken, Vocabulary, read_vocabulary
from bert_onnx.tokenization.wordpiece import MAX_CHARS_PER_WORD, WordpieceTokenizer
from bert_onnx.tokenization.writing import write_folder

_REMEMBERED_WORDS = 1 << 16  # about 10 MB of pieces; real text repeats its words


class BertTokenizer(Tokenizer):
    """Words by white space and punctuation, then the longest word pieces that the vocabulary holds.

    Args:
        vocab_file: a vocab.txt.
        do_lower_case: lower-case the text.
        do_basic_tokenize: split into words before splitting into pieces.
        never_split: words that stay whole, with their case.
        tokenize_chinese_chars: make each ideograph a word.
        strip_accents: None means: when lower-casing.
        clean_up_tokenization_spaces: what `decode` does unless told otherwise.
        model_max_length: tokens that the model takes; None for no limit.
        additional_special_tokens: further tokens that are never split.

    Raises TokenizerError for a vocabulary that is missing, unreadable, or lacks or repeats a special token.
    """

    is_fast = False

    def __init__(
        self,
        vocab_file: str | Path,
        do_lower_case: bool = True,
        do_basic_tokenize: bool = True,
        never_split: Collection[str] | None = None,
        unk_token: str | AddedToken = "[UNK]",
        sep_token: str | AddedToken = "[SEP]",
        pad_token: str | AddedToken = "[PAD]",
        cls_token: str | AddedToken = "[CLS]",
        mask_token: str | AddedToken | None = "[MASK]",
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        clean_up_tokenization_spaces: bool = True,
        *,
        model_max_length: int | None = None,
        padding_side: str = "right",
        truncation_side: str = "right",
        additional_special_tokens: Sequence[str | AddedToken] = (),
    ) -> None:
        special = special_tokens(unk_token, sep_token, pad_token, cls_token, mask_token, additional_special_tokens)
        settings = TokenizerSettings(
            do_lower_case=do_lower_case,
            do_basic_tokenize=do_basic_tokenize,
            never_split=tuple(never_split or ()),
            tokenize_chinese_chars=tokenize_chinese_chars,
            strip_accents=strip_accents,
            clean_up_tokenization_spaces=clean_up_tokenization_spaces,
            model_max_length=NO_LIMIT if model_max_length is None else model_max_length,
            padding_side=padding_side,
            truncation_side=truncation_side,
            special=special,
        )
        self._set_up(read_vocabulary(vocab_file), settings)

    @classmethod
    def from_pretrained(cls, folder: str | Path, **overrides: Any) -> BertTokenizer:
        """The tokenizer of a checkpoint folder, which must hold a vocab.txt of BERT's.

        `overrides` win over tokenizer_config.json: special tokens by role and the options of the constructor.
        """
        found = read_folder(folder, overrides)
        name = found.class_name
        if not found.kind.reads_like_bert and name != GENERIC_CLASS:
            raise TokenizerError(
                f"{folder} holds the tokenizer of a {name}, and BertTokenizer knows word pieces only; open it with "
                "load_tokenizer."
            )
        vocab_file = found.path / VOCAB_FILE
        if not vocab_file.is_file():
            raise TokenizerError(f"The folder {folder} has no {VOCAB_FILE}; open it with BertTokenizerFast instead.")
        tokenizer = cls.__new__(cls)
        tokenizer._set_up(read_vocabulary(vocab_file), found.settings, found.warnings)
        return tokenizer

    def _set_up(self, vocabulary: Vocabulary, settings: TokenizerSettings, warnings: Sequence[str] = ()) -> None:
        self.warnings = (*warnings, *doubtful_special_tokens(vocabulary, settings))
        self.settings = settings
        self.vocab = vocabulary.ids
        self._tokens_by_id = {index: token for token, index in self.vocab.items()}
        self._added: dict[int, AddedToken] = dict(settings.added_tokens)
        self.basic_tokenizer = BasicTokenizer(
            settings.do_lower_case, settings.never_split, settings.tokenize_chinese_chars, settings.strip_accents
        )
        self.wordpiece_tokenizer = WordpieceTokenizer(self.vocab, self.unk_token or "[UNK]")
        self._index_tokens()
        present = {token.content for token in self._added.values()}
        self._add([token for token in settings.special if token.content not in present])

    def _index_tokens(self) -> None:
        """Rebuild what depends on the added and special tokens."""
        self._added_ids = {token.content: index for index, token in self._added.items()}
        self._ids = self.vocab | self._added_ids
        self._unk_id = self._ids.get(self.unk_token or "[UNK]", 0)
        cased = [token.content for token in self._added.values() if token.normalized and not token.special]
        self._finder = AddedTokenFinder(
            {token.content: token for token in self._added.values()}, [*self.all_special_tokens, *cased]
        )
        self._kept = self.basic_tokenizer.never_split.union(self.all_special_tokens)
        self._word_pieces: dict[str, list[str]] = {}

    # -- vocabulary

    @property
    def vocab_size(self) -> int:
        """Number of tokens of the vocabulary file, without added ones."""
        return len(self.vocab)

    def __len__(self) -> int:
        return len(self._ids)

    def get_vocab(self) -> dict[str, int]:
        """Every token with its id, added tokens included."""
        return dict(self._ids)

    def _base_vocab(self) -> dict[str, int]:
        return self.vocab

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Added and special tokens by id."""
        return dict(sorted(self._added.items()))

    def _find_id(self, token: str) -> int | None:
        return self._ids.get(token)

    def _template(self, pair: bool, special: bool) -> RowTemplate:
        if not special:
            return bert_template(pair, special, ("", 0), ("", 0))
        cls, sep = self.cls_token, self.sep_token
        if cls is None or sep is None:
            raise UsageError("cls_token and sep_token stand in every row that BERT reads; name them.")
        return bert_template(pair, special, (cls, self._ids[cls]), (sep, self._ids[sep]))

    def add_tokens(self, tokens: str | AddedToken | Sequence[str | AddedToken], special_tokens: bool = False) -> int:
        """Add tokens that are never split; returns how many were new to the vocabulary. Call before sharing."""
        tokens = [tokens] if isinstance(tokens, (str, AddedToken)) else tokens
        special = set(self.all_special_tokens)
        new = []
        for token in tokens:
            if isinstance(token, str):
                is_special = special_tokens or token in special
                token = AddedToken(token, normalized=not is_special, special=is_special)
            elif special_tokens:
                token = dataclasses.replace(token, special=True)
            new.append(token)
        return self._add(new)

    def _add(self, tokens: Sequence[AddedToken]) -> int:
        special = set(self.all_special_tokens)
        known = dict(self._ids)
        first_new, further = len(known), []
        count = 0
        for token in tokens:
            if not token.content or token.content in self._added_ids:
                continue
            if token.normalized and not token.special and self._lowers:
                token = dataclasses.replace(token, content=token.content.lower())
            if token.content not in known:
                known[token.content] = first_new + count
                count += 1
            if token.special and token.content not in special:
                further.append(token)
            self._added[known[token.content]] = token
        roles = dataclasses.replace(self.settings.special, additional=(*self.settings.special.additional, *further))
        self.settings = dataclasses.replace(self.settings, special=roles)
        self._index_tokens()
        return count

    # -- text to tokens

    @property
    def _lowers(self) -> bool:
        # Without the basic tokenizer nothing is lower-cased, whatever do_lower_case says.
        return self.settings.do_lower_case and self.settings.do_basic_tokenize

    def tokenize(self, text: str) -> list[str]:
        """The tokens of `text`, without special ones around it."""
        return self._tokenize(check_text(text))

    def _tokenize(self, text: str) -> list[str]:
        if self._lowers:
            text = self._finder.lower(text)
        tokens: list[str] = []
        # The reference finds no added token at all in a text whose special tokens it splits.
        for part in [text] if self.settings.split_special_tokens else self._finder.split(text):
            if part in self._added_ids and not self.settings.split_special_tokens:
                tokens.append(part)
            elif part:
                self._tokenize_plain(part, tokens)
        return tokens

    def _tokenize_plain(self, text: str, tokens: list[str]) -> None:
        """Append the pieces of a text without added tokens."""
        if not self.settings.do_basic_tokenize:
            tokens.extend(self.wordpiece_tokenizer.tokenize(text))
            return
        remembered = self._word_pieces
        for word in self.basic_tokenizer.words(text):
            pieces = remembered.get(word)
            if pieces is None:
                pieces = self._split_word(word)
                if len(word) <= MAX_CHARS_PER_WORD:
                    if len(remembered) >= _REMEMBERED_WORDS:
                        remembered.clear()
                    remembered[word] = pieces
            tokens.extend(pieces)

    def _split_word(self, word: str) -> list[str]:
        whole = self.basic_tokenizer.never_split
        pieces: list[str] = []
        for part in self.basic_tokenizer.split_word(word, self._kept):
            if part in whole:
                pieces.append(part)
            else:
                pieces.extend(self.wordpiece_tokenizer.split_word(part))
        return pieces

    def _tokenize_texts(self, texts: Sequence[Text], in_words: bool) -> Sequence[PlainTokens]:
        ids, unk = self._ids, self._unk_id
        result = []
        for text in texts:
            parts = [text] if isinstance(text, str) else text
            result.append(PlainTokens([ids.get(token, unk) for part in parts for token in self._tokenize(part)]))
        return result

    # -- tokens to text

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or the list of tokens of several; the unknown token for an id without one."""
        if isinstance(ids, int):
            return self._token(ids)
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._token(index) for index in read_ids(ids) if index not in skipped]

    def _token(self, index: int) -> str:
        added = self._added.get(index)
        return self._tokens_by_id.get(index, self.unk_token or "[UNK]") if added is None else added.content

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Tokens joined to text, word pieces without their prefix."""
        return " ".join(tokens).replace(" ##", "").strip()

    def _decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        special = set(self.all_special_tokens)
        apart = self._added_ids.keys() - special
        apart |= {t for t in self.additional_special_tokens if (self._find_id(t) or 0) >= self.vocab_size}
        parts: list[str] = []
        run: list[str] = []
        for token in self.convert_ids_to_tokens(ids, skip_special_tokens):
            if skip_special_tokens and token in special:  # an id without a token, which reads as the unknown token
                continue
            if token not in apart:
                run.append(token)
                continue
            if joined := self.convert_tokens_to_string(run):
                parts.append(joined)
            run = []
            parts.append(token)
        if run:
            parts.append(self.convert_tokens_to_string(run))
        return " ".join(parts)

    # -- files

    def save_pretrained(self, save_directory: str | Path) -> tuple[str, ...]:
        """Write every file of the tokenizer into a folder; returns their paths."""
        files = write_folder(save_directory, self.settings, self._added, self.vocab_size, BERT_CLASS, {})
        return (*map(str, files), *self.save_vocabulary(save_directory))

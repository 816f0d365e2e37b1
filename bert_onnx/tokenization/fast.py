"""FastTokenizer: any tokenizer.json on the tokenizers library, with offsets and words, in parallel and off the GIL."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bert_onnx.errors import InputError, RuntimeUnavailableError, StorageError
from bert_onnx.tokenization.base import Tokenizer, read_ids
from bert_onnx.tokenization.classes import BERT_CLASS, GENERIC_CLASS
from bert_onnx.tokenization.encoding import Offset, TokenizedText
from bert_onnx.tokenization.files import TOKENIZER_FILE
from bert_onnx.tokenization.request import Text, Texts, check_text
from bert_onnx.tokenization.settings import TokenizerSettings
from bert_onnx.tokenization.template import RowTemplate, bert_template
from bert_onnx.tokenization.vocab import AddedToken, special_token
from bert_onnx.tokenization.writing import write_folder

if TYPE_CHECKING:
    import tokenizers


def load_backend() -> ModuleType:
    """The module on the tokenizers library, loaded when first needed: the library takes tens of milliseconds."""
    try:
        from bert_onnx.tokenization import backend
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"BertTokenizerFast needs the tokenizers library ({error}); install it, or use BertTokenizer."
        ) from None
    return backend


class EncodedText:
    """One text as the library returns it. Its lists are made when first asked for, and once."""

    def __init__(self, encoding: tokenizers.Encoding) -> None:
        self._encoding = encoding
        self.ids: list[int] = encoding.ids

    @cached_property
    def tokens(self) -> list[str]:
        return list(self._encoding.tokens)

    @cached_property
    def offsets(self) -> list[Offset]:
        return list(self._encoding.offsets)

    @cached_property
    def word_ids(self) -> list[int | None]:
        return list(self._encoding.word_ids)


class FastTokenizer(Tokenizer):
    """A tokenizer of the tokenizers library, of whatever kind: word pieces, Unigram, byte-level BPE, whole words.

    The library keeps padding and truncation as state of its tokenizer object, so two threads that ask for different
    ones would disturb each other. Both stay switched off there; rows are cut and padded here, for each call.

    Args:
        tokenizer: the library's object, ready to use.
        settings: its options and special tokens.
        warnings: what its files disagreed about.
    """

    is_fast = True

    def __init__(
        self, tokenizer: tokenizers.Tokenizer, settings: TokenizerSettings, warnings: Sequence[str] = ()
    ) -> None:
        backend = load_backend()
        self._tokenizer = tokenizer
        tokenizer.encode_special_tokens = settings.split_special_tokens
        self.settings = dataclasses.replace(settings, special=backend.with_flags(tokenizer, settings.special))
        self.warnings = (*warnings, *backend.moved_tokens(tokenizer, settings.added_tokens))
        self._templates: dict[tuple[bool, bool], RowTemplate] = backend.templates(tokenizer)

    @property
    def backend_tokenizer(self) -> tokenizers.Tokenizer:
        """The tokenizers library's object. It is shared by all threads: do not change it."""
        return self._tokenizer

    @property
    def kind(self) -> str:
        """The library's name of the model: `WordPiece`, `Unigram`, `BPE` or `WordLevel`."""
        return type(self._tokenizer.model).__name__

    @property
    def continuing_subword_prefix(self) -> str | None:
        """What marks a piece that continues a word, None where nothing does."""
        return getattr(self._tokenizer.model, "continuing_subword_prefix", None) or None

    @property
    def is_bert(self) -> bool:
        """Whether BERT's own classes can do the same: word pieces, its normaliser, splitter, rows and types."""
        return self.settings.type_ids and self._builds_rows_of_bert(with_types=True)

    @property
    def builds_bert_rows(self) -> bool:
        """The same but for types, which DistilBERT's class does not return."""
        return self._builds_rows_of_bert(with_types=False)

    def _builds_rows_of_bert(self, with_types: bool) -> bool:
        special = self.settings.special
        if special.cls_token is None or special.sep_token is None:
            return False
        cls, sep = ((token.content, self._find_id(token.content)) for token in (special.cls_token, special.sep_token))
        if not load_backend().has_bert_stages(self._tokenizer):
            return False
        for pair in (False, True):
            found, wanted = self._template(pair, True), bert_template(pair, True, cls, sep)  # type: ignore[arg-type]
            if not with_types:
                found = dataclasses.replace(found, type_ids=wanted.type_ids, window_types=wanted.window_types)
            if found != wanted:
                return False
        return True

    def _template(self, pair: bool, special: bool) -> RowTemplate:
        return self._templates[pair, special]

    # -- vocabulary

    @property
    def vocab_size(self) -> int:
        """Number of tokens of the vocabulary file, without added ones."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=False))

    @property
    def vocab(self) -> dict[str, int]:
        """Every token with its id, added tokens included."""
        return self.get_vocab()

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def get_vocab(self) -> dict[str, int]:
        """Every token with its id, added tokens included."""
        return dict(self._tokenizer.get_vocab(with_added_tokens=True))

    def _base_vocab(self) -> dict[str, int]:
        return dict(self._tokenizer.get_vocab(with_added_tokens=False))

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Added and special tokens by id."""
        tokens: dict[int, AddedToken] = load_backend().added_tokens(self._tokenizer)
        return tokens

    def _find_id(self, token: str) -> int | None:
        index: int | None = self._tokenizer.token_to_id(token)
        return index

    def add_tokens(self, tokens: str | AddedToken | Sequence[str | AddedToken], special_tokens: bool = False) -> int:
        """Add tokens that are never split; returns how many were new to the vocabulary. Call before sharing.

        `special_tokens` lets `skip_special_tokens` drop them; `add_special_tokens` makes them additional ones.
        """
        tokens = [tokens] if isinstance(tokens, (str, AddedToken)) else tokens
        known = set(self.all_special_tokens)
        new = [special_token(token) if special_tokens else _plain(token, known) for token in tokens]
        if special_tokens:
            new = [dataclasses.replace(token, special=True) for token in new]
        return int(load_backend().add_tokens(self._tokenizer, new, self.settings.special))

    # -- text to tokens

    def tokenize(self, text: str) -> list[str]:
        """The tokens of `text`, without special ones around it."""
        return list(self._tokenizer.encode_batch([check_text(text)], add_special_tokens=False)[0].tokens)

    def _tokenize_texts(self, texts: Sequence[Text], in_words: bool) -> Sequence[TokenizedText]:
        # encode_batch releases the GIL and uses every core; encode does neither.
        try:
            found = self._tokenizer.encode_batch(list(texts), is_pretokenized=in_words, add_special_tokens=False)
        except Exception:  # the library raises the bare class
            self._raise_for_unreadable(texts, in_words)
            raise
        return [EncodedText(encoding) for encoding in found]

    def _raise_for_unreadable(self, texts: Sequence[Text], in_words: bool) -> None:
        """Raise InputError for the first text that the library cannot make tokens of."""
        for number, text in enumerate(texts):
            try:
                self._tokenizer.encode(text, is_pretokenized=in_words, add_special_tokens=False)
            except Exception as error:  # as above
                raise InputError(
                    f"Text {number} cannot be made into tokens ({error}): it holds what is not in the vocabulary, and "
                    "the tokenizer has no token for the unknown."
                ) from None

    def _counts(self, pair: Text, texts: Texts) -> bool:
        # The reference takes an empty second text for none, but only outside a batch.
        return texts.batched or bool(pair)

    # -- tokens to text

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or the list of tokens of several; None for an id without one."""
        if isinstance(ids, int):
            return self._tokenizer.id_to_token(read_ids(ids)[0])
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._tokenizer.id_to_token(index) for index in read_ids(ids) if index not in skipped]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Tokens joined to text, word pieces without their prefix."""
        decoder = self._tokenizer.decoder
        return " ".join(tokens) if decoder is None else str(decoder.decode(list(tokens)))

    def _decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens))

    # -- files

    def save_pretrained(self, save_directory: str | Path) -> tuple[str, ...]:
        """Write every file of the tokenizer into a folder, tokenizer.json among them; returns their paths.

        What BERT's own classes can do is written for them, with a vocab.txt; all else for `PreTrainedTokenizerFast`.
        """
        name = BERT_CLASS if self.is_bert else GENERIC_CLASS
        files = write_folder(save_directory, self.settings, self.added_tokens_decoder, self.vocab_size, name, {})
        vocabulary = self.save_vocabulary(save_directory) if self.kind == "WordPiece" else ()
        path = Path(save_directory) / TOKENIZER_FILE
        try:
            path.write_text(self._tokenizer.to_str(pretty=True), encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}.") from None
        return (*map(str, files), *vocabulary, str(path))


def _plain(token: str | AddedToken, special: set[str]) -> AddedToken:
    if isinstance(token, AddedToken):
        return token
    return special_token(token) if token in special else AddedToken(token)

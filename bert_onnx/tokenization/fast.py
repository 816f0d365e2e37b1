"""BertTokenizerFast: the same on the tokenizers library, with offsets and words, in parallel and off the GIL."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bert_onnx.errors import RuntimeUnavailableError, StorageError, TokenizerError
from bert_onnx.tokenization.base import Tokenizer, read_ids
from bert_onnx.tokenization.encoding import Offset, TokenizedText
from bert_onnx.tokenization.folder import TOKENIZER_FILE, TokenizerFolder, read_folder
from bert_onnx.tokenization.request import Text, Texts, check_text
from bert_onnx.tokenization.settings import NO_LIMIT, TokenizerSettings, check_special_tokens, special_tokens
from bert_onnx.tokenization.vocab import AddedToken, read_vocabulary, special_token

if TYPE_CHECKING:
    import tokenizers

_SIDES_AND_CLEAN_UP = ("padding_side", "truncation_side", "clean_up_tokenization_spaces")


def _backend() -> ModuleType:
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


class BertTokenizerFast(Tokenizer):
    """BERT's tokenizer on the tokenizers library.

    The library keeps padding and truncation as state of its tokenizer object, so two threads that ask for different
    ones would disturb each other. Both stay switched off there; rows are cut and padded here, for each call.

    Args:
        vocab_file: a vocab.txt; used where there is no `tokenizer_file`.
        tokenizer_file: a tokenizer.json. As in the reference, the three options below win over what it says.
        do_lower_case, tokenize_chinese_chars, strip_accents: as for BertTokenizer.
        clean_text: drop control characters and turn every white space into a space; with a vocab.txt only.
        wordpieces_prefix: what marks a piece that continues a word; with a vocab.txt only.
        clean_up_tokenization_spaces: what `decode` does by default; None means True with a vocab.txt, and
            False with a tokenizer.json, whose decoder cleans up by itself.
        model_max_length: tokens that the model takes; None for no limit.
        padding_side, truncation_side: None means what the tokenizer.json says, else "right".

    Raises TokenizerError for files that are missing, damaged, not BERT's, or lack a special token.
    """

    is_fast = True

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        tokenizer_file: str | Path | None = None,
        do_lower_case: bool = True,
        unk_token: str | AddedToken = "[UNK]",
        sep_token: str | AddedToken = "[SEP]",
        pad_token: str | AddedToken = "[PAD]",
        cls_token: str | AddedToken = "[CLS]",
        mask_token: str | AddedToken | None = "[MASK]",
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        *,
        clean_text: bool = True,
        wordpieces_prefix: str = "##",
        clean_up_tokenization_spaces: bool | None = None,
        model_max_length: int | None = None,
        padding_side: str | None = None,
        truncation_side: str | None = None,
        additional_special_tokens: Sequence[str | AddedToken] = (),
    ) -> None:
        special = special_tokens(unk_token, sep_token, pad_token, cls_token, mask_token, additional_special_tokens)
        settings = TokenizerSettings(
            do_lower_case=do_lower_case,
            tokenize_chinese_chars=tokenize_chinese_chars,
            strip_accents=strip_accents,
            clean_text=clean_text,
            wordpieces_prefix=wordpieces_prefix,
            clean_up_tokenization_spaces=clean_up_tokenization_spaces is not False,
            model_max_length=NO_LIMIT if model_max_length is None else model_max_length,
            padding_side=padding_side or "right",
            truncation_side=truncation_side or "right",
            special=special,
        )
        given = (padding_side, truncation_side, clean_up_tokenization_spaces)
        unset = [name for name, value in zip(_SIDES_AND_CLEAN_UP, given, strict=True) if value is None]
        self._open(vocab_file, tokenizer_file, settings, unset)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> BertTokenizerFast:
        """The tokenizer of a checkpoint folder: its tokenizer.json, else its vocab.txt, with its options."""
        found = read_folder(folder, legacy_added_tokens=False)
        tokenizer = cls.__new__(cls)
        tokenizer._open(found.vocab_file, found.tokenizer_file, found.settings, _decided_by_file(found))
        return tokenizer

    def _open(
        self,
        vocab_file: str | Path | None,
        tokenizer_file: str | Path | None,
        settings: TokenizerSettings,
        file_decides: Collection[str],
    ) -> None:
        backend = _backend()
        if tokenizer_file is not None:
            self._tokenizer, settings = backend.from_file(tokenizer_file, settings, file_decides)
        elif vocab_file is not None:
            vocabulary = read_vocabulary(vocab_file)
            check_special_tokens(vocabulary, settings)
            self._tokenizer = backend.from_vocabulary(vocabulary, settings)
        else:
            raise TokenizerError("BertTokenizerFast needs a vocab_file or a tokenizer_file; give one of them.")
        self.settings = settings
        listed = [token for _, token in sorted(settings.added_tokens.items())]
        backend.add_tokens(self._tokenizer, listed, settings.special)
        present = {token.content for token in self.added_tokens_decoder.values()}
        unlisted = [token for token in settings.special if token.content not in present]
        backend.add_tokens(self._tokenizer, unlisted, settings.special)
        backend.check_ids(self._tokenizer, settings.added_tokens)
        backend.check_template(self._tokenizer, settings.special, str(tokenizer_file or vocab_file))

    @property
    def backend_tokenizer(self) -> tokenizers.Tokenizer:
        """The tokenizers library's object. It is shared by all threads: do not change it."""
        return self._tokenizer

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
        tokens: dict[int, AddedToken] = _backend().added_tokens(self._tokenizer)
        return tokens

    def _token_id(self, token: str) -> int:
        index = self._tokenizer.token_to_id(token)
        return self.unk_token_id if index is None else int(index)

    def add_tokens(self, tokens: Sequence[str | AddedToken], special_tokens: bool = False) -> int:
        """Add tokens that are never split; returns how many were new to the vocabulary. Call before sharing."""
        known = set(self.all_special_tokens)
        new = [special_token(token) if special_tokens else _plain(token, known) for token in tokens]
        if special_tokens:
            new = [dataclasses.replace(token, special=True) for token in new]
            further = tuple(token for token in new if token.content not in known)
            roles = dataclasses.replace(self.settings.special, additional=(*self.settings.special.additional, *further))
            self.settings = dataclasses.replace(self.settings, special=roles)
        return int(_backend().add_tokens(self._tokenizer, new, self.settings.special))

    # -- text to tokens

    def tokenize(self, text: str) -> list[str]:
        """The tokens of `text`, without special ones around it."""
        return list(self._tokenizer.encode_batch([check_text(text)], add_special_tokens=False)[0].tokens)

    def _tokenize_texts(self, texts: Sequence[Text], in_words: bool) -> Sequence[TokenizedText]:
        # encode_batch releases the GIL and uses every core; encode does neither.
        found = self._tokenizer.encode_batch(list(texts), is_pretokenized=in_words, add_special_tokens=False)
        return [EncodedText(encoding) for encoding in found]

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
        return str(self._tokenizer.decoder.decode(list(tokens)))

    def _decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens))

    # -- files

    def save_pretrained(self, save_directory: str | Path) -> tuple[str, ...]:
        """Write every file of the tokenizer into a folder, tokenizer.json among them; returns their paths."""
        files = super().save_pretrained(save_directory)
        path = Path(save_directory) / TOKENIZER_FILE
        try:
            path.write_text(self._tokenizer.to_str(pretty=True), encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}.") from None
        return (*files, str(path))


def _plain(token: str | AddedToken, special: set[str]) -> AddedToken:
    if isinstance(token, AddedToken):
        return token
    return special_token(token) if token in special else AddedToken(token)


def _decided_by_file(found: TokenizerFolder) -> list[str]:
    """Settings that tokenizer.json decides: those left open elsewhere, and with the generic class all."""
    unset = [name for name in _SIDES_AND_CLEAN_UP if name not in found.config]
    return [*unset, *_backend().NORMALISER] if found.is_generic else unset

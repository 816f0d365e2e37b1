"""What both tokenizers share: the call, special tokens, decoding, saving."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_onnx.errors import InputError, UsageError
from bert_onnx.tokenization.batch import BatchEncoding
from bert_onnx.tokenization.encoding import (
    NO_OFFSET,
    Row,
    RowDetails,
    TokenizedText,
    pad_columns,
    padding_of,
    to_arrays,
)
from bert_onnx.tokenization.padding import PadsEncodings
from bert_onnx.tokenization.request import EncodeOptions, EncodingRequest, Text, Texts, read_texts, resolve_options
from bert_onnx.tokenization.settings import ROLES
from bert_onnx.tokenization.truncation import row_windows
from bert_onnx.tokenization.vocab import VOCAB_FILE, AddedToken, special_token, write_vocabulary

_CLEAN_UPS = (
    *((f" {mark}", mark) for mark in (".", "?", "!", ",")),
    (" ' ", "'"),
    *((f" {ending}", ending) for ending in ("n't", "'m", "'s", "'ve", "'re")),
)


def clean_up_tokenization(text: str) -> str:
    """`text` without the spaces that decoding leaves before punctuation and English contractions."""
    for artefact, plain in _CLEAN_UPS:
        text = text.replace(artefact, plain)
    return text


class Tokenizer(PadsEncodings):
    """A tokenizer: text to ids and back.

    Encoding does not change a tokenizer, whatever padding or truncation a call asks for, so threads may share one.
    Adding tokens does change it: add them before sharing.
    """

    is_fast: bool
    #: What the files left open or disagreed about, and what was made of it.
    warnings: tuple[str, ...] = ()

    # -- what the two differ in

    @abstractmethod
    def _tokenize_texts(self, texts: Sequence[Text], in_words: bool) -> Sequence[TokenizedText]:
        """Each text as tokens without special ones."""

    @abstractmethod
    def get_vocab(self) -> dict[str, int]:
        """Every token with its id, added tokens included."""

    @abstractmethod
    def _base_vocab(self) -> dict[str, int]:
        """The tokens of the vocabulary file with their ids."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of tokens of the vocabulary file, without added ones."""

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Added and special tokens by id."""

    @abstractmethod
    def add_tokens(self, tokens: str | AddedToken | Sequence[str | AddedToken], special_tokens: bool = False) -> int:
        """Add tokens that are never split; returns how many were new to the vocabulary. Call before sharing."""

    @abstractmethod
    def _decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        """The text of `ids` before the spaces are cleaned up."""

    def with_limits(
        self, model_max_length: int | None = None, padding_side: str | None = None, truncation_side: str | None = None
    ) -> Tokenizer:
        """A tokenizer that shares this one's vocabulary and differs in what is given."""
        old = self.settings
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.settings = dataclasses.replace(
            old,
            model_max_length=old.model_max_length if model_max_length is None else model_max_length,
            padding_side=padding_side or old.padding_side,
            truncation_side=truncation_side or old.truncation_side,
        )
        return twin

    def add_special_tokens(
        self,
        special_tokens_dict: Mapping[str, str | AddedToken | Sequence[str | AddedToken]],
        replace_additional_special_tokens: bool = True,
    ) -> int:
        """Give tokens a role (`{"cls_token": ...}`) or make them `additional_special_tokens`; call before sharing.

        Returns how many were new to the vocabulary. Raises UsageError for a role that does not exist.
        """
        special, new = self.settings.special, list[AddedToken]()
        roles: dict[str, Any] = {}
        for role, value in special_tokens_dict.items():
            if role == "additional_special_tokens" and isinstance(value, (list, tuple)):
                further = tuple(special_token(token) for token in value)
                old = () if replace_additional_special_tokens else special.additional
                known = {token.content for token in old}
                new += further
                further = (*old, *(token for token in further if token.content not in known))
                roles["additional"] = further
            elif role in ROLES and isinstance(value, (str, AddedToken)):
                new.append(special_token(value))
                roles[role] = new[-1]
            else:
                raise UsageError(f"{role!r}: {value!r} is no special token; {', '.join(ROLES)} are roles of one token.")
        self.settings = dataclasses.replace(self.settings, special=dataclasses.replace(special, **roles))
        return self.add_tokens(new, special_tokens=True)

    # -- text to ids

    def __call__(
        self,
        text: str | Sequence[Any] | None = None,
        text_pair: str | Sequence[Any] | None = None,
        text_target: str | Sequence[Any] | None = None,
        text_pair_target: str | Sequence[Any] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool = True,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_overflowing_tokens: bool = False,
        return_length: bool = False,
    ) -> BatchEncoding:
        """Encode a text, a pair, a batch, or a batch of pairs (two lists, or a list of 2-tuples).

        Args:
            text_target, text_pair_target: texts whose ids become the column `labels`, or all there is without `text`.
            padding: True or "longest" to the longest row, "max_length", or False.
            truncation: True or "longest_first", "only_first", "only_second", or False.
            max_length: row length in tokens, special ones included; None means the model's own limit.
            stride: tokens that neighbouring windows of a long text share (`return_overflowing_tokens`).
            is_split_into_words: each text is a list of words.
            pad_to_multiple_of: round the padded length up to a multiple of this.
            padding_side: "right" or "left" for this call.
            return_tensors: None for lists, "np" for int64 arrays [B, S], "pt" for tensors of torch.
            return_token_type_ids: None means: if the checkpoint's tokenizer class returns them.
            return_offsets_mapping: fast tokenizers only; add `offset_mapping`.
            return_overflowing_tokens: fast tokenizers only; return every window of a text that is too long as a row
                of its own, and add `overflow_to_sample_mapping`.

        Raises InputError for a text that is no string or holds half a surrogate pair, and where texts cannot be cut
        to `max_length`; UsageError for options that do not exist or contradict each other.
        """
        request = EncodingRequest(
            attention_mask=return_attention_mask,
            token_type_ids=self.settings.type_ids if return_token_type_ids is None else return_token_type_ids,
            special_tokens_mask=return_special_tokens_mask,
            offsets=return_offsets_mapping,
            length=return_length,
            arrays=return_tensors,
        )
        if (return_offsets_mapping or return_overflowing_tokens) and not self.is_fast:
            raise UsageError("Offsets and overflowing windows need BertTokenizerFast; encode with it instead.")
        options = resolve_options(
            self.settings,
            add_special_tokens,
            padding,
            truncation,
            max_length,
            stride,
            pad_to_multiple_of,
            padding_side,
            return_overflowing_tokens,
        )
        if text_target is None:
            return self._encode(read_texts(text, text_pair, is_split_into_words), options, request)
        target = self._encode(read_texts(text_target, text_pair_target, is_split_into_words), options, request)
        if text is None:
            return target
        found = self._encode(read_texts(text, text_pair, is_split_into_words), options, request)
        found.data["labels"] = target["input_ids"]
        return found

    encode_plus = __call__

    def batch_encode_plus(self, batch_text_or_text_pairs: Sequence[Any], **options: Any) -> BatchEncoding:
        """Encode a batch of texts or of pairs; the options are those of calling the tokenizer."""
        if not isinstance(batch_text_or_text_pairs, (list, tuple)):
            kind = type(batch_text_or_text_pairs).__name__
            raise InputError(f"batch_encode_plus takes a list of texts or of pairs, not a {kind}.")
        return self(list(batch_text_or_text_pairs), **options)

    def _encode(self, texts: Texts, options: EncodeOptions, request: EncodingRequest) -> BatchEncoding:
        return self._finish(self._rows(texts, options), options, request, texts.batched or options.overflowing)

    def _finish(
        self, rows: list[Row], options: EncodeOptions, request: EncodingRequest, batched: bool
    ) -> BatchEncoding:
        columns = {"input_ids": [row.ids() for row in rows]}
        lengths = [len(ids) for ids in columns["input_ids"]]
        if self.unknown_to_model:
            self._check_ids(columns["input_ids"])
        if request.attention_mask:
            columns["attention_mask"] = [[1] * length for length in lengths]
        if request.token_type_ids:
            columns["token_type_ids"] = [row.type_ids() for row in rows]
        if request.special_tokens_mask:
            columns["special_tokens_mask"] = [row.fill(row.template.special_mask) for row in rows]
        padding = padding_of(lengths, options)
        padded: dict[str, Any] = pad_columns(columns, padding, self.padding_id)
        if request.offsets:
            padded["offset_mapping"] = [padding.apply(row.offsets(), NO_OFFSET) for row in rows]
        if options.overflowing:
            padded["overflow_to_sample_mapping"] = [row.sample for row in rows]
        if request.length:  # the slow class counts the rows of a batch before it pads them
            before = batched and not self.is_fast
            padded["length"] = lengths if before else [len(ids) for ids in padded["input_ids"]]
        details = RowDetails(rows, padding, self.pad_token or "") if self.is_fast else None
        if request.arrays is not None:
            return BatchEncoding(to_arrays(padded, request.arrays), details)
        if batched:
            return BatchEncoding(padded, details)
        length = padded.get("length")
        single = {name: values[0] for name, values in padded.items()}
        return BatchEncoding(single | ({"length": length} if length is not None and self.is_fast else {}), details)

    def _check_ids(self, rows: Sequence[Sequence[int]]) -> None:
        """Raise InputError for an id that the model has no embedding of."""
        for number, ids in enumerate(rows):
            for index in ids:
                if index in self.unknown_to_model:
                    raise InputError(
                        f"Text {number} holds the token {self.convert_ids_to_tokens(index)!r} with the id {index}, "
                        "which the model has no embedding of; leave it out of the text."
                    )

    def _rows(self, texts: Texts, options: EncodeOptions) -> list[Row]:
        """Tokenise every text once, firsts and seconds in one go, and cut the rows."""
        paired = [i for i, pair in enumerate(texts.second) if pair is not None and self._counts(pair, texts)]
        seconds = [pair for i in paired if (pair := texts.second[i]) is not None]
        tokenized = self._tokenize_texts([*texts.first, *seconds], texts.in_words)
        second_of = dict(zip(paired, tokenized[len(texts.first) :], strict=True))
        rows: list[Row] = []
        templates = {pair: self._template(pair, options.add_special_tokens) for pair in {bool(paired), False}}
        for i, first in enumerate(tokenized[: len(texts.first)]):
            second = second_of.get(i)
            template = templates[second is not None]
            parts = (first,) if second is None else (first, second)
            second_length = None if second is None else len(second.ids)
            found = row_windows(len(first.ids), second_length, options, template.special_tokens, self.is_fast)
            rows += [Row(i, template, parts, windows, found[0]) for windows in found]
        return rows

    def _counts(self, pair: Text, texts: Texts) -> bool:
        """Whether a pair that is not None counts as one."""
        return True

    def encode(self, text: Any, text_pair: Any = None, **options: Any) -> Any:
        """The ids of one text or pair; the options are those of calling the tokenizer."""
        if not isinstance(text, str) and not options.get("is_split_into_words"):
            raise InputError(f"encode takes one string, not a {type(text).__name__}; call the tokenizer for a batch.")
        return self(text, text_pair, **options)["input_ids"]

    # -- ids to text

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        """The id of a token, or the list of ids of several; the unknown token's id where the vocabulary has none."""
        return self._token_id(tokens) if isinstance(tokens, str) else [self._token_id(token) for token in tokens]

    @abstractmethod
    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or the list of tokens of several."""

    @abstractmethod
    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Tokens joined to text, word pieces without their prefix."""

    def decode(
        self, token_ids: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> str:
        """The text of one row of ids (a list, an array or a single id).

        `clean_up_tokenization_spaces=None` means the tokenizer's own setting. Raises InputError for what is no id.
        """
        text = self._decode(read_ids(token_ids), skip_special_tokens)
        clean = clean_up_tokenization_spaces
        if clean is None:
            clean = self.settings.clean_up_tokenization_spaces
        return clean_up_tokenization(text) if clean else text

    def batch_decode(
        self, sequences: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> list[str]:
        """The texts of several rows of ids."""
        return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in sequences]

    # -- files

    def save_vocabulary(self, save_directory: str | Path, filename_prefix: str | None = None) -> tuple[str]:
        """Write vocab.txt into a folder; returns its path."""
        path = Path(save_directory) / (f"{filename_prefix}-{VOCAB_FILE}" if filename_prefix else VOCAB_FILE)
        write_vocabulary(self._base_vocab(), path)
        return (str(path),)


def read_ids(token_ids: Any) -> list[int]:
    """Ids as a list of int: from a list, an array or a single id. Raises InputError for anything else."""
    values = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
    if isinstance(values, int):
        values = [values]
    try:
        ids = list(values)
    except TypeError:
        raise InputError(f"Token ids are whole numbers in a row, not a {type(token_ids).__name__}.") from None
    for position, index in enumerate(ids):
        if not isinstance(index, int) or index < 0:
            raise InputError(f"The token id at position {position} is {index!r}; ids are whole numbers from 0 on.")
    return ids

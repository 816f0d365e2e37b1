"""Finishing what was tokenised elsewhere: padding encodings, and rows made of ids."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from bert_onnx.errors import InputError
from bert_onnx.tokenization.batch import BatchEncoding
from bert_onnx.tokenization.encoding import PlainTokens, Row, pad_columns, padding_of, to_arrays
from bert_onnx.tokenization.request import EncodeOptions, EncodingRequest, check_arrays, resolve_options
from bert_onnx.tokenization.special import HasSpecialTokens
from bert_onnx.tokenization.truncation import row_windows

_PADDED = ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask")


class PadsEncodings(HasSpecialTokens):
    """`pad` and `prepare_for_model`."""

    @abstractmethod
    def _finish(
        self, rows: list[Row], options: EncodeOptions, request: EncodingRequest, batched: bool
    ) -> BatchEncoding:
        """The columns of `rows`."""

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool = True,
        return_tensors: str | None = None,
    ) -> BatchEncoding:
        """Pad an encoding, a batch, or a list of encodings, each a mapping of columns with `input_ids` among them.

        Columns that are no rows of tokens stay as they are. Raises InputError where there is no `input_ids`;
        UsageError as calling the tokenizer does.
        """
        check_arrays(return_tensors)
        if not isinstance(encoded_inputs, Mapping):
            if not all(isinstance(encoding, Mapping) for encoding in encoded_inputs):
                raise InputError("pad takes encodings: mappings of columns such as input_ids.")
            names = encoded_inputs[0] if encoded_inputs else {"input_ids": []}
            encoded_inputs = {name: [encoding[name] for encoding in encoded_inputs] for name in names}
        columns = {name: _to_list(value) for name, value in encoded_inputs.items()}
        if "input_ids" not in columns:
            raise InputError(f"pad needs a column input_ids; there are {', '.join(map(str, columns)) or 'none'}.")
        batched = not columns["input_ids"] or isinstance(columns["input_ids"][0], list)
        if not batched:
            columns = {name: [value] for name, value in columns.items()}
        if return_attention_mask and "attention_mask" not in columns:
            columns["attention_mask"] = [[1] * len(row) for row in columns["input_ids"]]
        options = resolve_options(
            self.settings, True, padding, False, max_length, 0, pad_to_multiple_of, padding_side, False
        )
        rows = {name: values for name, values in columns.items() if name in _PADDED}
        columns |= pad_columns(rows, padding_of([len(row) for row in columns["input_ids"]], options), self.padding_id)
        if return_tensors is not None:
            return BatchEncoding(to_arrays(columns, return_tensors))
        return BatchEncoding(columns if batched else {name: values[0] for name, values in columns.items()})

    def prepare_for_model(
        self,
        ids: Sequence[int],
        pair_ids: Sequence[int] | None = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool = True,
        return_special_tokens_mask: bool = False,
        return_length: bool = False,
    ) -> BatchEncoding:
        """A row of the ids of a text (and of its pair): cut, with special tokens, padded.

        Raises InputError and UsageError as calling the tokenizer does.
        """
        options = resolve_options(
            self.settings,
            add_special_tokens,
            padding,
            truncation,
            max_length,
            0,
            pad_to_multiple_of,
            padding_side,
            False,
        )
        request = EncodingRequest(
            attention_mask=return_attention_mask,
            token_type_ids=self.settings.type_ids if return_token_type_ids is None else return_token_type_ids,
            special_tokens_mask=return_special_tokens_mask,
            offsets=False,
            length=return_length,
            arrays=return_tensors,
        )
        texts = tuple(PlainTokens(list(part)) for part in (ids, pair_ids) if part is not None)
        template = self._template(pair_ids is not None, add_special_tokens)
        second = None if pair_ids is None else len(pair_ids)
        windows = row_windows(len(ids), second, options, template.special_tokens, fast=False)[0]
        found = self._finish([Row(0, template, texts, windows, windows)], options, request, batched=False)
        return BatchEncoding(found.data)


def _to_list(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return [_to_list(item) for item in value] if isinstance(value, (list, tuple)) else value

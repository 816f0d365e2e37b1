"""The rows that an encoding consists of, and their padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from bert_onnx.errors import UsageError
from bert_onnx.tokenization.request import EncodeOptions
from bert_onnx.tokenization.template import RowTemplate
from bert_onnx.tokenization.truncation import RowWindows

Value = TypeVar("Value")
Offset = tuple[int, int]

NO_OFFSET: Offset = (0, 0)  # of special tokens and padding


class TokenizedText(Protocol):
    """One text as tokens, without special ones. Rows cut out of it share these lists."""

    @property
    def ids(self) -> list[int]: ...
    @property
    def tokens(self) -> list[str]: ...
    @property
    def offsets(self) -> list[Offset]: ...
    @property
    def word_ids(self) -> list[int | None]: ...


@dataclass(frozen=True, slots=True)
class PlainTokens:
    """A text as ids, where neither words nor offsets are known; results never ask it for them."""

    ids: list[int]

    @property
    def tokens(self) -> list[str]:
        raise NotImplementedError

    @property
    def offsets(self) -> list[Offset]:
        raise NotImplementedError

    @property
    def word_ids(self) -> list[int | None]:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Row:
    """One row: windows of a text and, for a pair, of a second one.

    Args:
        sample: the text's place in the call.
        template: how the row is built.
        texts, windows: the texts, and what the row has of each.
        first: the windows of the text's first row.
    """

    sample: int
    template: RowTemplate
    texts: tuple[TokenizedText, ...]
    windows: RowWindows
    first: RowWindows

    def lay_out(self, texts: Sequence[Sequence[Value]], special: Sequence[Value]) -> list[Value]:
        """The row of whatever stands for each token: of the texts' tokens `texts`, of the slots' `special`."""
        row: list[Value] = []
        for sequence, value in zip(self.template.sequences, special, strict=True):
            if sequence is None:
                row.append(value)
            else:
                start, stop = self.windows[sequence]
                row += texts[sequence][start:stop]
        return row

    def fill(self, values: Sequence[Value]) -> list[Value]:
        """The same where every token of a slot gets the slot's value."""
        row: list[Value] = []
        for sequence, value in zip(self.template.sequences, values, strict=True):
            if sequence is None:
                row.append(value)
            else:
                start, stop = self.windows[sequence]
                row += [value] * (stop - start)
        return row

    def ids(self) -> list[int]:
        """The ids of the row."""
        return self.lay_out([text.ids for text in self.texts], self.template.ids)

    def tokens(self) -> list[str]:
        """The tokens of the row."""
        return self.lay_out([text.tokens for text in self.texts], self.template.tokens)

    def type_ids(self) -> list[int]:
        """The type ids of the row."""
        types, later = self.template.type_ids, self.template.window_types
        if later is None or self.windows == self.first:
            return self.fill(types)
        slots = zip(self.template.sequences, types, later, strict=True)
        own = [own if s is None or self.windows[s] == self.first[s] else other for s, own, other in slots]
        return self.fill(own)

    def offsets(self) -> list[Offset]:
        """Where each token stands in its text."""
        return self.lay_out([text.offsets for text in self.texts], [NO_OFFSET] * len(self.template.ids))

    def word_ids(self) -> list[int | None]:
        """The index of each token's word in its text."""
        return self.lay_out([text.word_ids for text in self.texts], [None] * len(self.template.ids))


@dataclass(frozen=True, slots=True)
class Padding:
    """To which length rows are padded, None for not at all, and on which side."""

    length: int | None
    side: str

    def apply(self, row: list[Value], value: Value) -> list[Value]:
        missing = 0 if self.length is None else self.length - len(row)
        if missing <= 0:
            return row
        return row + [value] * missing if self.side == "right" else [value] * missing + row


@dataclass(frozen=True, slots=True)
class RowDetails:
    """What a result of a fast tokenizer can be asked beyond its columns."""

    rows: Sequence[Row]
    padding: Padding
    pad_token: str


def padding_of(lengths: Sequence[int], options: EncodeOptions) -> Padding:
    """The padding that `options` asks for, given the rows' lengths."""
    if options.padding == "do_not_pad" or not lengths:
        return Padding(None, options.padding_side)
    fixed = options.max_length if options.padding == "max_length" else None
    length = max(lengths) if fixed is None else fixed
    multiple = options.pad_to_multiple_of or 1
    return Padding(-(-length // multiple) * multiple, options.padding_side)


def pad_columns(columns: Mapping[str, list[list[int]]], padding: Padding, pad_id: int) -> dict[str, list[Any]]:
    """Every column padded: the ids with the padding token, the masks as masks do."""
    fill = {"input_ids": pad_id, "special_tokens_mask": 1}
    return {name: [padding.apply(row, fill.get(name, 0)) for row in rows] for name, rows in columns.items()}


def to_arrays(columns: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Columns as int64 arrays, [B, S] or [B]; [0, 0] without rows. `kind` is "np" for numpy, "pt" for torch.

    Raises UsageError for uneven rows.
    """
    import numpy

    rows = columns["input_ids"]
    if not len(rows):
        arrays = {name: numpy.zeros((0, 0), numpy.int64) for name in columns}
    else:
        lengths = {len(row) for row in rows}
        if len(lengths) > 1:
            raise UsageError(
                f"Rows of {min(lengths)} to {max(lengths)} tokens make no array; ask for padding=True with "
                "return_tensors."
            )
        arrays = {name: numpy.asarray(values, dtype=numpy.int64) for name, values in columns.items()}
    if kind == "np":
        return arrays
    import torch

    return {name: torch.from_numpy(array) for name, array in arrays.items()}

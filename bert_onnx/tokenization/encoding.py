"""The rows that an encoding consists of, and the result that holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from bert_onnx.errors import UsageError
from bert_onnx.tokenization.request import EncodeOptions
from bert_onnx.tokenization.truncation import Window

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
class Row:
    """One row: a window of a text and, for a pair, of a second one; `sample` is the text's place in the call."""

    sample: int
    first: TokenizedText
    first_window: Window
    second: TokenizedText | None
    second_window: Window | None
    special: bool

    def lay_out(
        self, first: Sequence[Value], second: Sequence[Value], cls: Value, first_sep: Value, second_sep: Value
    ) -> list[Value]:
        """[CLS] first [SEP] second [SEP], of whatever stands for each; the windows are cut out here."""
        start, stop = self.first_window
        row = [cls, *first[start:stop], first_sep] if self.special else list(first[start:stop])
        if self.second_window is not None:
            start, stop = self.second_window
            row += second[start:stop]
            if self.special:
                row.append(second_sep)
        return row

    def fill(self, first: Value, second: Value, special: Value, second_sep: Value) -> list[Value]:
        """The same where every token of a kind gets the same value; `special` is [CLS]'s and the first [SEP]'s."""
        start, stop = self.first_window
        row = [first] * (stop - start)
        if self.special:
            row = [special, *row, special]
        if self.second_window is not None:
            start, stop = self.second_window
            row += [second] * (stop - start)
            if self.special:
                row.append(second_sep)
        return row

    def ids(self, cls: int, sep: int) -> list[int]:
        """The ids of the row, `cls` and `sep` being those of the special tokens."""
        return self.lay_out(self.first.ids, [] if self.second is None else self.second.ids, cls, sep, sep)

    def offsets(self) -> list[Offset]:
        """Where each token stands in its text."""
        second = [] if self.second is None else self.second.offsets
        return self.lay_out(self.first.offsets, second, NO_OFFSET, NO_OFFSET, NO_OFFSET)


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
    """What a result of the fast tokenizer can be asked beyond its columns."""

    rows: Sequence[Row]
    padding: Padding
    cls_token: str
    sep_token: str
    pad_token: str


class BatchEncoding(Mapping[str, Any]):
    """The columns of an encoding, by key (`encoding["input_ids"]`) and by attribute (`encoding.input_ids`).

    A column is a list of integers for a single text, a list of such lists for a batch, or an int64 array [B, S]
    with `return_tensors="np"`. Results of BertTokenizerFast also have, row by row, `word_ids`, `sequence_ids`,
    `tokens` and `offsets`; results of BertTokenizer raise UsageError there.
    """

    def __init__(self, columns: Mapping[str, Any], details: RowDetails | None = None) -> None:
        self._columns = dict(columns)
        self._details = details

    def __getitem__(self, key: str) -> Any:
        return self._columns[key]

    def __getattr__(self, name: str) -> Any:
        columns = self.__dict__.get("_columns", {})
        if name in columns:
            return columns[name]
        raise AttributeError(f"This encoding has no {name!r}; it has {', '.join(columns)}.")

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"BatchEncoding({self._columns!r})"

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of a row the index of its word in its text; None for special tokens and padding."""
        details, row = self._row(batch_index)
        second: list[int | None] = [] if row.second is None else row.second.word_ids
        return details.padding.apply(row.lay_out(row.first.word_ids, second, None, None, None), None)

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of a row 0 for the first text, 1 for the second, None for special tokens and padding."""
        details, row = self._row(batch_index)
        return details.padding.apply(row.fill(0, 1, None, None), None)

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a row, special ones and padding included."""
        details, row = self._row(batch_index)
        sep = details.sep_token
        second = [] if row.second is None else row.second.tokens
        return details.padding.apply(
            row.lay_out(row.first.tokens, second, details.cls_token, sep, sep), details.pad_token
        )

    @property
    def offsets(self) -> list[list[Offset]]:
        """Where each token of each row stands in its text, in characters; (0, 0) for special ones and padding."""
        details = self._require_details()
        return [details.padding.apply(row.offsets(), NO_OFFSET) for row in details.rows]

    def _require_details(self) -> RowDetails:
        if self._details is None:
            raise UsageError("Words and offsets are known to BertTokenizerFast only; encode with it instead.")
        return self._details

    def _row(self, index: int) -> tuple[RowDetails, Row]:
        details = self._require_details()
        if not -len(details.rows) <= index < len(details.rows):
            raise UsageError(f"Row {index} was asked for, but this encoding has {len(details.rows)} rows.")
        return details, details.rows[index]


def padding_of(rows: Sequence[Sequence[int]], options: EncodeOptions) -> Padding:
    """The padding that `options` asks for, given the rows' lengths."""
    if options.padding == "do_not_pad" or not rows:
        return Padding(None, options.padding_side)
    fixed = options.max_length if options.padding == "max_length" else None
    length = max(map(len, rows)) if fixed is None else fixed
    multiple = options.pad_to_multiple_of or 1
    return Padding(-(-length // multiple) * multiple, options.padding_side)


def pad_columns(columns: Mapping[str, list[list[int]]], padding: Padding, pad_token_id: int) -> dict[str, list[Any]]:
    """Every column padded: the ids with the padding token, the masks as masks do."""
    fill = {"input_ids": pad_token_id, "special_tokens_mask": 1}
    return {name: [padding.apply(row, fill.get(name, 0)) for row in rows] for name, rows in columns.items()}


def to_arrays(columns: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Columns as int64 numpy arrays, [B, S] or [B]; [0, 0] without rows. Raises UsageError for uneven rows."""
    import numpy

    rows = columns["input_ids"]
    if not rows:
        return {name: numpy.zeros((0, 0), numpy.int64) for name in columns}
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise UsageError(
            f"Rows of {min(lengths)} to {max(lengths)} tokens make no array; ask for padding=True with return_tensors."
        )
    return {name: numpy.asarray(values, dtype=numpy.int64) for name, values in columns.items()}

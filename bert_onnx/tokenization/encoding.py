"""The rows that an encoding consists of, and the result that holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from bert_onnx.errors import UsageError
from bert_onnx.tokenization.truncation import Window

Value = TypeVar("Value")
Offset = tuple[int, int]

#: What padding puts into each column, but for input_ids, whose padding is the tokenizer's pad_token_id.
PAD_VALUES: Mapping[str, Any] = {
    "attention_mask": 0,
    "token_type_ids": 0,
    "special_tokens_mask": 1,
    "offset_mapping": (0, 0),
}


class TokenizedText(Protocol):
    """One text as tokens, without special ones; what the tokenizers library calls an Encoding."""

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
    with `return_tensors="np"`. Results of BertTokenizerFast also answer, row by row, `word_ids`, `sequence_ids`,
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
        return [details.padding.apply(row_offsets(row), (0, 0)) for row in details.rows]

    def _require_details(self) -> RowDetails:
        if self._details is None:
            raise UsageError("Words and offsets are known to BertTokenizerFast only; encode with it instead.")
        return self._details

    def _row(self, index: int) -> tuple[RowDetails, Row]:
        details = self._require_details()
        if not -len(details.rows) <= index < len(details.rows):
            raise UsageError(f"Row {index} was asked for, but this encoding has {len(details.rows)} rows.")
        return details, details.rows[index]


def row_offsets(row: Row) -> list[Offset]:
    """Offsets of a row before padding."""
    none = (0, 0)
    return row.lay_out(row.first.offsets, [] if row.second is None else row.second.offsets, none, none, none)


def padded_length(lengths: Sequence[int], padding: str, max_length: int | None, multiple: int | None) -> int | None:
    """The length that rows of `lengths` tokens are padded to; None for no padding."""
    if padding == "do_not_pad" or not lengths:
        return None
    target = max(lengths) if padding == "longest" or max_length is None else max_length
    return -(-target // multiple) * multiple if multiple else target


def pad_columns(columns: Mapping[str, list[Any]], padding: Padding, pad_token_id: int) -> dict[str, list[Any]]:
    """Every column of rows padded; columns with one number a row are left as they are."""
    fill = {"input_ids": pad_token_id, **PAD_VALUES}
    return {
        name: [padding.apply(row, fill[name]) for row in rows] if name in fill else rows
        for name, rows in columns.items()
    }


def to_arrays(columns: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Columns as int64 numpy arrays, [B, S] or [B]. Raises UsageError for rows of different lengths."""
    import numpy

    lengths = {len(row) for row in columns["input_ids"]}
    if len(lengths) > 1:
        raise UsageError(
            f"Rows of {min(lengths)} to {max(lengths)} tokens make no array; ask for padding=True with return_tensors."
        )
    return {name: numpy.asarray(rows, dtype=numpy.int64) for name, rows in columns.items()}

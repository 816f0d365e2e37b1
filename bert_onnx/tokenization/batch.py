"""What an encoding returns: columns of rows, and where tokens, words and characters stand in each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bert_onnx.errors import UsageError
from bert_onnx.tokenization.encoding import NO_OFFSET, Offset, Row, RowDetails, to_arrays


class CharSpan(NamedTuple):
    """Characters of a text, `end` past the last."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens of a row, `end` past the last."""

    start: int
    end: int


class BatchEncoding(Mapping[str, Any]):
    """The columns of an encoding, by key (`encoding["input_ids"]`) and by attribute (`encoding.input_ids`).

    A column is a list of integers for a single text, a list of such lists for a batch, or an int64 array [B, S]
    with `return_tensors`. Results of fast tokenizers also know, row by row, words, offsets and sequences; those of
    BertTokenizer raise UsageError there. Methods with two indices take the row first; one index alone means row 0.
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

    @property
    def data(self) -> dict[str, Any]:
        """The columns as a dictionary."""
        return self._columns

    @property
    def is_fast(self) -> bool:
        """Whether words and offsets are known."""
        return self._details is not None

    @property
    def n_sequences(self) -> int | None:
        """1, or 2 for pairs; None where that is not known."""
        return len(self._details.rows[0].texts) if self._details is not None and self._details.rows else None

    def convert_to_tensors(self, tensor_type: str = "np") -> BatchEncoding:
        """The same with arrays for columns; see `return_tensors`."""
        single = not isinstance(next(iter(self._columns["input_ids"]), []), list)
        columns = {name: [value] for name, value in self._columns.items()} if single else self._columns
        return BatchEncoding(to_arrays(columns, tensor_type), self._details)

    # -- a row as a whole

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of a row the index of its word in its text; None for special tokens and padding."""
        details, row = self._row(batch_index)
        return details.padding.apply(row.word_ids(), None)

    words = word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of a row 0 for the first text, 1 for the second, None for special tokens and padding."""
        details, row = self._row(batch_index)
        return details.padding.apply(row.fill(row.template.sequences), None)

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a row, special ones and padding included."""
        details, row = self._row(batch_index)
        return details.padding.apply(row.tokens(), details.pad_token)

    @property
    def offsets(self) -> list[list[Offset]]:
        """Where each token of each row stands in its text, in characters; (0, 0) for special ones and padding."""
        details = self._require_details()
        return [details.padding.apply(row.offsets(), NO_OFFSET) for row in details.rows]

    # -- from one to the other

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """0 or 1 for a token of the first or second text, None for a special token."""
        row, token = self._pick(batch_or_token_index, token_index)
        return self._at(self.sequence_ids(row), token)

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The word that a token is a part of, None for a special token."""
        row, token = self._pick(batch_or_token_index, token_index)
        return self._at(self.word_ids(row), token)

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters that a token stands for, None for a special token."""
        row, token = self._pick(batch_or_token_index, token_index)
        if self._at(self.sequence_ids(row), token) is None:
            return None
        return CharSpan(*self._at(self._offsets(row), token))

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The token that a character of a text is in, None for white space and what was cut off."""
        row, char = self._pick(batch_or_char_index, char_index)
        offsets = self._offsets(row)
        found = (i for i in self._tokens_of(row, sequence_index) if offsets[i][0] <= char < offsets[i][1])
        return next(found, None)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The word that a character of a text is in."""
        row, char = self._pick(batch_or_char_index, char_index)
        token = self.char_to_token(row, char, sequence_index)
        return None if token is None else self.word_ids(row)[token]

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The tokens of a word of a text, None where the row holds none of them."""
        row, word = self._pick(batch_or_word_index, word_index)
        words = self.word_ids(row)
        tokens = [i for i in self._tokens_of(row, sequence_index) if words[i] == word]
        return TokenSpan(tokens[0], tokens[-1] + 1) if tokens else None

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """The characters of a word of a text, None where the row holds none of its tokens."""
        row, word = self._pick(batch_or_word_index, word_index)
        tokens = self.word_to_tokens(row, word, sequence_index)
        if tokens is None:
            return None
        offsets = self._offsets(row)
        return CharSpan(offsets[tokens.start][0], offsets[tokens.end - 1][1])

    def _require_details(self) -> RowDetails:
        if self._details is None:
            raise UsageError("Words and offsets are known to BertTokenizerFast only; encode with it instead.")
        return self._details

    def _row(self, index: int) -> tuple[RowDetails, Row]:
        details = self._require_details()
        if not -len(details.rows) <= index < len(details.rows):
            raise UsageError(f"Row {index} was asked for, but this encoding has {len(details.rows)} rows.")
        return details, details.rows[index]

    def _offsets(self, index: int) -> list[Offset]:
        details, row = self._row(index)
        return details.padding.apply(row.offsets(), NO_OFFSET)

    def _tokens_of(self, row: int, sequence: int) -> list[int]:
        return [i for i, own in enumerate(self.sequence_ids(row)) if own == sequence]

    @staticmethod
    def _pick(first: int, second: int | None) -> tuple[int, int]:
        return (0, first) if second is None else (first, second)

    @staticmethod
    def _at(values: list[Any], index: int) -> Any:
        if not -len(values) <= index < len(values):
            raise UsageError(f"Token {index} was asked for, but the row has {len(values)}.")
        return values[index]

"""Token ids of texts to the arrays of a batch: cut, with special tokens, padded on the right.

Everything is integers and operators of ai.onnx. Shapes: N texts, P second texts, R rows of the batch (with an axis
of choices after it for multiple choice), S tokens of the longest row.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from export.text_input.operators import TextWriter
from export.text_input.words import TokenRows

_INT64 = ir.DataType.INT64


@dataclass(frozen=True)
class RowFormat:
    """How rows are built.

    Args:
        longest: most tokens of a row.
        first_id, end_id, pad_id: `[CLS]`, `[SEP]`, `[PAD]`.
        types: second texts are of type 1.
    """

    longest: int
    first_id: int
    end_id: int
    pad_id: int
    types: bool


@dataclass(frozen=True)
class Span:
    """The tokens of one text of every row: where they begin in the ids, and how many are kept. int64 [R]."""

    starts: ir.Value
    kept: ir.Value


@dataclass(frozen=True)
class Arrays:
    """What goes into the model, int64 [R, S], and whether the end of a text was cut off, int64 [R]."""

    input_ids: ir.Value
    attention_mask: ir.Value
    token_type_ids: ir.Value
    truncated: ir.Value


def single_rows(op: TextWriter, tokens: TokenRows, form: RowFormat) -> Arrays:
    """`[CLS] A [SEP]` for every text."""
    room = op.integer(form.longest - 2)
    kept = op.Min(tokens.lengths, room)
    cut = op.Greater(tokens.lengths, room)
    return _arrays(op, tokens.ids, Span(tokens.starts, kept), None, None, cut, form)


def pair_rows(
    op: TextWriter,
    tokens: TokenRows,
    first: Span,
    second: Span,
    has_second: ir.Value | None,
    only_second: bool,
    form: RowFormat,
) -> Arrays:
    """`[CLS] A [SEP] B [SEP]` for every pair; `[CLS] A [SEP]` where `has_second` is 0.

    Args:
        tokens: of all texts.
        first, second: the texts of each row, not yet cut.
        has_second: int64 [R] or [1], 1 where the row has a second text; None where all have.
        only_second: cut the second text and leave the first whole; else both give up what the longer has too much.
    """
    room = op.integer(form.longest - 3)
    if has_second is not None:
        room = op.Sub(op.integer(form.longest - 2), has_second)
    kept = (_only_second if only_second else _longest_first)(op, first.kept, second.kept, room)
    cut = op.Greater(op.Add(first.kept, second.kept), room)
    return _arrays(op, tokens.ids, Span(first.starts, kept[0]), Span(second.starts, kept[1]), has_second, cut, form)


def _only_second(op: TextWriter, first: ir.Value, second: ir.Value, room: ir.Value) -> tuple[ir.Value, ir.Value]:
    kept = op.Min(first, room)
    return kept, op.Min(second, op.Sub(room, kept))


def _longest_first(op: TextWriter, first: ir.Value, second: ir.Value, room: ir.Value) -> tuple[ir.Value, ir.Value]:
    """As `bert_onnx.tokenization.truncation.shared_lengths_fast`: the shorter text stays whole while it fits into half.

    Both longer than half of the room: each keeps half, and the longer one of them the odd token. Else the shorter one
    is whole, and the longer one keeps what is left.
    """
    half = op.Div(room, op.integer(2))
    rest = op.Sub(room, half)
    first_is_longer = op.Greater(first, second)
    half_of_first = op.Where(first_is_longer, rest, half)
    half_of_second = op.Sub(room, half_of_first)

    def kept(length: ir.Value, other: ir.Value, share: ir.Value) -> ir.Value:
        left = op.Max(op.Sub(room, other), share)
        return op.Min(length, left)

    return kept(first, second, half_of_first), kept(second, first, half_of_second)


def _arrays(
    op: TextWriter,
    ids: ir.Value,
    first: Span,
    second: Span | None,
    has_second: ir.Value | None,
    cut: ir.Value,
    form: RowFormat,
) -> Arrays:
    one, two, last_axis = op.integer(1), op.integer(2), op.vector(-1)

    def column(value: ir.Value) -> ir.Value:
        return op.Unsqueeze(value, last_axis)

    # Places of the special tokens: [CLS] at 0, the first [SEP] at `middle`, a second one before `total`.
    middle = op.Add(first.kept, one)
    total = op.Add(first.kept, two)
    if second is not None:
        further = op.Add(second.kept, one)
        if has_second is not None:
            further = op.Mul(further, has_second)
        total = op.Add(total, further)
    longest = op.ReduceMax(total, keepdims=0)
    places = op.Range(op.integer(0), longest, one)
    real = op.Less(places, column(total))
    # What a place of the first text holds: its start, and the [CLS] before it.
    source = op.Add(column(op.Sub(first.starts, one)), places)
    types = op.And(real, op.Greater(places, column(middle)))
    if second is not None:
        shift = op.Sub(second.starts, op.Add(middle, one))
        source = op.Where(types, op.Add(column(shift), places), source)
    highest = op.Sub(op.Size(ids), one)
    source = op.Max(op.Min(source, highest), op.integer(0))
    found = op.Gather(ids, source)
    at_last = op.Equal(places, column(op.Sub(total, one)))
    at_end = op.Or(at_last, op.Equal(places, column(middle)))
    found = op.Where(at_end, op.integer(form.end_id), found)
    found = op.Where(op.Equal(places, op.integer(0)), op.integer(form.first_id), found)
    found = op.Where(real, found, op.integer(form.pad_id))

    def integers(value: ir.Value) -> ir.Value:
        return op.Cast(value, to=_INT64)

    kinds = integers(types) if form.types else op.Mul(integers(types), op.integer(0))
    return Arrays(found, integers(real), kinds, integers(cut))

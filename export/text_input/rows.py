"""Token ids of texts to the arrays of a batch: cut, with special tokens, padded on the right.

Everything is integers and operators of ai.onnx. Shapes: N texts, P second texts, R rows of the batch (with an axis
of choices after it for multiple choice), S tokens of the longest row.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from export.text_input.operators import Front
from export.text_input.words import TokenRows

_INT64 = ir.DataType.INT64
_BOOL = ir.DataType.BOOL


@dataclass(frozen=True)
class RowFormat:
    """How rows are built.

    Args:
        longest: most tokens of a row.
        first_id, end_id, pad_id: `[CLS]`, `[SEP]`, `[PAD]`.
    """

    longest: int
    first_id: int
    end_id: int
    pad_id: int


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


def single_rows(front: Front, tokens: TokenRows, form: RowFormat) -> Arrays:
    """`[CLS] A [SEP]` for every text."""
    room = front.integer(form.longest - 2)
    kept = front.add("Min", [tokens.lengths, room])
    cut = front.add("Greater", [tokens.lengths, room], _BOOL)
    return _arrays(front, tokens.ids, Span(tokens.starts, kept), None, None, cut, form)


def pair_rows(
    front: Front,
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
    room = front.integer(form.longest - 3)
    if has_second is not None:
        room = front.add("Sub", [front.integer(form.longest - 2), has_second])
    kept = (_only_second if only_second else _longest_first)(front, first.kept, second.kept, room)
    cut = front.add("Greater", [front.add("Add", [first.kept, second.kept]), room], _BOOL)
    return _arrays(front, tokens.ids, Span(first.starts, kept[0]), Span(second.starts, kept[1]), has_second, cut, form)


def _only_second(front: Front, first: ir.Value, second: ir.Value, room: ir.Value) -> tuple[ir.Value, ir.Value]:
    kept = front.add("Min", [first, room])
    return kept, front.add("Min", [second, front.add("Sub", [room, kept])])


def _longest_first(front: Front, first: ir.Value, second: ir.Value, room: ir.Value) -> tuple[ir.Value, ir.Value]:
    """As `bert_onnx.tokenization.truncation.shared_lengths_fast`: the shorter text stays whole while it fits into half.

    Both longer than half of the room: each keeps half, and the longer one of them the odd token. Else the shorter one
    is whole, and the longer one keeps what is left.
    """
    half = front.add("Div", [room, front.integer(2)])
    rest = front.add("Sub", [room, half])
    first_is_longer = front.add("Greater", [first, second], _BOOL)
    half_of_first = front.add("Where", [first_is_longer, rest, half], _INT64)
    half_of_second = front.add("Sub", [room, half_of_first])

    def kept(length: ir.Value, other: ir.Value, share: ir.Value) -> ir.Value:
        left = front.add("Max", [front.add("Sub", [room, other]), share])
        return front.add("Min", [length, left])

    return kept(first, second, half_of_first), kept(second, first, half_of_second)


def _arrays(
    front: Front,
    ids: ir.Value,
    first: Span,
    second: Span | None,
    has_second: ir.Value | None,
    cut: ir.Value,
    form: RowFormat,
) -> Arrays:
    one, two, last_axis = front.integer(1), front.integer(2), front.integers(-1)

    def column(value: ir.Value) -> ir.Value:
        return front.add("Unsqueeze", [value, last_axis])

    # Places of the special tokens: [CLS] at 0, the first [SEP] at `middle`, a second one before `total`.
    middle = front.add("Add", [first.kept, one])
    total = front.add("Add", [first.kept, two])
    if second is not None:
        further = front.add("Add", [second.kept, one])
        if has_second is not None:
            further = front.add("Mul", [further, has_second])
        total = front.add("Add", [total, further])
    longest = front.add("ReduceMax", [total], attributes={"keepdims": 0})
    places = front.add("Range", [front.integer(0), longest, one])
    real = front.add("Less", [places, column(total)], _BOOL)
    # What a place of the first text holds: its start, and the [CLS] before it.
    source = front.add("Add", [column(front.add("Sub", [first.starts, one])), places])
    types = front.add("And", [real, front.add("Greater", [places, column(middle)], _BOOL)], _BOOL)
    if second is not None:
        shift = front.add("Sub", [second.starts, front.add("Add", [middle, one])])
        source = front.add("Where", [types, front.add("Add", [column(shift), places]), source], _INT64)
    highest = front.add("Sub", [front.add("Size", [ids], _INT64), one])
    source = front.add("Max", [front.add("Min", [source, highest]), front.integer(0)])
    found = front.add("Gather", [ids, source])
    at_last = front.add("Equal", [places, column(front.add("Sub", [total, one]))], _BOOL)
    at_end = front.add("Or", [at_last, front.add("Equal", [places, column(middle)], _BOOL)])
    found = front.add("Where", [at_end, front.integer(form.end_id), found], _INT64)
    found = front.add(
        "Where", [front.add("Equal", [places, front.integer(0)], _BOOL), front.integer(form.first_id), found], _INT64
    )
    found = front.add("Where", [real, found, front.integer(form.pad_id)], _INT64)

    def integers(value: ir.Value) -> ir.Value:
        return front.add("Cast", [value], _INT64, {"to": _INT64.value})

    return Arrays(found, integers(real), integers(types), integers(cut))

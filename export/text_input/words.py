"""Texts to token ids, all texts of a batch in one string; no rows and no special tokens yet.

    texts ──mark──▶ one string ──split into characters, look up, join──▶ one normalised string
          ──split at spaces──▶ words ──WordpieceTokenizer──▶ pieces ──look up──▶ ids

onnxruntime-extensions has whole BERT tokenizers (BertTokenizer, HfBertTokenizer). They take one text at a time, lower
the case of few alphabets, know the accents of Latin-1 alone, take `[MASK]` apart and never cut pairs. So what looks at
characters is a table here, made from the checkpoint's tokenizer, and what is taken from the extensions is the search
for word pieces and the handling of strings.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import onnx_ir as ir

from export.text_input.characters import character_class
from export.text_input.operators import Front
from export.text_input.settings import UNWRITABLE, TokenizerTables

_INT64 = ir.DataType.INT64
_STRING = ir.DataType.STRING

#: The id of what ends a text; no token has it.
END_ID = -1


@dataclass(frozen=True)
class TokenRows:
    """Token ids of all texts, one after the other.

    Args:
        ids: int64 [T], each text followed by END_ID.
        starts: where each text begins, int64 [N].
        lengths: how many tokens each text has, int64 [N].
    """

    ids: ir.Value
    starts: ir.Value
    lengths: ir.Value


def tokenize(front: Front, texts: ir.Value, tables: TokenizerTables) -> TokenRows:
    """Nodes that make the tokens of `texts`, string [N]."""
    words = _words(front, _normalised(front, texts, tables))
    return _rows(front, _without_broken_words(front, *_pieces(front, words, tables), tables.unknown_id))


def _normalised(front: Front, texts: ir.Value, tables: TokenizerTables) -> ir.Value:
    """One string [1]: words between spaces, and the end of every text a word of its own."""
    characters, marks = tables.characters, tables.marks
    # Characters that stand for something below must not come from the text.
    unwanted = character_class(characters.removed, [marks.end, *marks.special.values()])
    (clean,) = front.extension(
        "StringRegexReplace",
        [texts, front.text("unwanted", unwanted), front.text("erased", marks.erased)],
    )
    rows = front.add("Concat", [clean, front.text("empty", "")], attributes={"axis": 0})
    first_axis = front.integers(0)
    (joined,) = front.extension("StringJoin", [rows, front.text("end", marks.end), first_axis])
    # Patterns are compiled at every run: what stays as it is beyond ASCII is looked up, too, which costs less.
    other = character_class(characters.isolated, tables.plain_ascii, negated=True)
    special = [_literal(content) for content in sorted(marks.special, key=len, reverse=True)]
    parts, *_ = front.extension(
        "StringRegexSplitWithOffsets",
        [joined, front.text("changed", f"({'|'.join([*special, other])})"), front.text("kept", "(?s).+")],
        (_STRING, _INT64, _INT64, _INT64),
    )
    (mapped,) = front.extension("StringMapping", [parts], attributes={"map": tables.mapping()})
    (text,) = front.extension("StringJoin", [mapped, front.text("nothing", ""), first_axis])
    (text,) = front.extension(
        "StringRegexReplace",
        [text, front.text("erased_again", f"{character_class((), [marks.erased])}+"), front.text("nothing_again", "")],
    )
    if characters.isolated:
        ideographs = f"({character_class(characters.isolated)})"
        (text,) = front.extension(
            "StringRegexReplace", [text, front.text("ideographs", ideographs), front.text("spaced", r" \1 ")]
        )
    return text


def _words(front: Front, text: ir.Value) -> ir.Value:
    """The words of `text`, string [W]."""
    words, *_ = front.extension(
        "StringRegexSplitWithOffsets",
        [text, front.text("spaces", f"({character_class((), [' ', *UNWRITABLE])}+)"), front.text("dropped", "")],
        (_STRING, _INT64, _INT64, _INT64),
    )
    return words


def _pieces(front: Front, words: ir.Value, tables: TokenizerTables) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Ids of the pieces of all words [T], where each word begins and ends among them [W]."""
    known = tables.vocabulary | {tables.marks.end: END_ID} | tables.special_ids()
    pieces, _, begins, ends = front.extension(
        "WordpieceTokenizer",
        [words, front.integers()],
        (_STRING, _INT64, _INT64, _INT64),
        {
            # The operator returns pieces, not the numbers that it is given here; -1 would mean a piece that is missing.
            "vocab": json.dumps(dict.fromkeys(known, 0), ensure_ascii=False),
            "suffix_indicator": tables.prefix,
            "unknown_token": tables.unknown,
            "max_input_chars_per_word": tables.longest_word,
        },
    )
    return front.look_up(pieces, known, tables.unknown_id), begins, ends


def _without_broken_words(front: Front, ids: ir.Value, begins: ir.Value, ends: ir.Value, unknown: int) -> ir.Value:
    """`ids` without the pieces of words that end in the unknown token.

    The operator keeps the pieces that it found before it met a part that no piece covers, and puts the unknown token
    after them. BERT's tokenizer makes one unknown token of the whole word.
    """
    boolean = ir.DataType.BOOL
    unknown_id = front.integer(unknown)
    last = front.add("Gather", [ids, front.add("Sub", [ends, front.integer(1)])])
    broken = front.add("Equal", [last, unknown_id], boolean)
    ones = front.add("Expand", [front.integers(1), front.add("Shape", [begins], _INT64)])
    zeros = front.add("Expand", [front.integers(0), front.add("Shape", [ids], _INT64)])
    heads = front.add("ScatterElements", [zeros, begins, ones], attributes={"axis": 0})
    counted = front.add("CumSum", [heads, front.integer(0)])
    word = front.add("Sub", [counted, front.integer(1)])
    whole = front.add("Not", [front.add("Gather", [broken, word])])
    kept = front.add("Or", [whole, front.add("Equal", [ids, unknown_id], boolean)])
    return front.add("Compress", [ids, kept], attributes={"axis": 0})


def _rows(front: Front, ids: ir.Value) -> TokenRows:
    """Where every text begins, and how long it is."""
    at_end = front.add("Equal", [ids, front.integer(END_ID)], ir.DataType.BOOL)
    found = front.add("NonZero", [at_end], _INT64)
    ends = front.add("Squeeze", [found, front.integers(0)])
    after = front.add("Add", [ends, front.integer(1)])
    before = front.add("Slice", [after, front.integers(0), front.integers(-1)])
    starts = front.add("Concat", [front.integers(0), before], attributes={"axis": 0})
    return TokenRows(ids, starts, front.add("Sub", [ends, starts]))


def _literal(text: str) -> str:
    """A pattern that finds `text` and nothing else."""
    return "".join(char if char.isalnum() or not char.isascii() else f"\\{char}" for char in text)

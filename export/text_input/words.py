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
from export.text_input.operators import TextWriter
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


def tokenize(op: TextWriter, texts: ir.Value, tables: TokenizerTables) -> TokenRows:
    """Nodes that make the tokens of `texts`, string [N]."""
    words = _words(op, _normalised(op, texts, tables))
    return _rows(op, _without_broken_words(op, *_pieces(op, words, tables), tables.unknown_id))


def _normalised(op: TextWriter, texts: ir.Value, tables: TokenizerTables) -> ir.Value:
    """One string [1]: words between spaces, and the end of every text a word of its own."""
    characters, marks = tables.characters, tables.marks
    # Characters that stand for something below must not come from the text.
    unwanted = character_class(characters.removed, [marks.end, *marks.special.values()])
    (clean,) = op.extension(
        "StringRegexReplace",
        [texts, op.text("unwanted", unwanted), op.text("erased", marks.erased)],
    )
    rows = op.Concat(clean, op.text("empty", ""), axis=0)
    first_axis = op.vector(0)
    (joined,) = op.extension("StringJoin", [rows, op.text("end", marks.end), first_axis])
    # Patterns are compiled at every run: what stays as it is beyond ASCII is looked up, too, which costs less.
    other = character_class(characters.isolated, tables.plain_ascii, negated=True)
    special = [_literal(content) for content in sorted(marks.special, key=len, reverse=True)]
    parts, *_ = op.extension(
        "StringRegexSplitWithOffsets",
        [joined, op.text("changed", f"({'|'.join([*special, other])})"), op.text("kept", "(?s).+")],
        (_STRING, _INT64, _INT64, _INT64),
    )
    (mapped,) = op.extension("StringMapping", [parts], attributes={"map": tables.mapping()})
    (text,) = op.extension("StringJoin", [mapped, op.text("nothing", ""), first_axis])
    (text,) = op.extension(
        "StringRegexReplace",
        [text, op.text("erased_again", f"{character_class((), [marks.erased])}+"), op.text("nothing_again", "")],
    )
    if characters.isolated:
        ideographs = f"({character_class(characters.isolated)})"
        (text,) = op.extension(
            "StringRegexReplace", [text, op.text("ideographs", ideographs), op.text("spaced", r" \1 ")]
        )
    return text


def _words(op: TextWriter, text: ir.Value) -> ir.Value:
    """The words of `text`, string [W]."""
    words, *_ = op.extension(
        "StringRegexSplitWithOffsets",
        [text, op.text("spaces", f"({character_class((), [' ', *UNWRITABLE])}+)"), op.text("dropped", "")],
        (_STRING, _INT64, _INT64, _INT64),
    )
    return words


def _pieces(op: TextWriter, words: ir.Value, tables: TokenizerTables) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Ids of the pieces of all words [T], where each word begins and ends among them [W]."""
    known = tables.vocabulary | {tables.marks.end: END_ID} | tables.special_ids()
    pieces, _, begins, ends = op.extension(
        "WordpieceTokenizer",
        [words, op.vector()],
        (_STRING, _INT64, _INT64, _INT64),
        {
            # The operator returns pieces, not the numbers that it is given here; -1 would mean a piece that is missing.
            "vocab": json.dumps(dict.fromkeys(known, 0), ensure_ascii=False),
            "suffix_indicator": tables.prefix,
            "unknown_token": tables.unknown,
            "max_input_chars_per_word": tables.longest_word,
        },
    )
    return op.look_up(pieces, known, tables.unknown_id), begins, ends


def _without_broken_words(op: TextWriter, ids: ir.Value, begins: ir.Value, ends: ir.Value, unknown: int) -> ir.Value:
    """`ids` without the pieces of words that end in the unknown token.

    The operator keeps the pieces that it found before it met a part that no piece covers, and puts the unknown token
    after them. BERT's tokenizer makes one unknown token of the whole word.
    """
    unknown_id = op.integer(unknown)
    last = op.Gather(ids, op.Sub(ends, op.integer(1)))
    broken = op.Equal(last, unknown_id)
    ones = op.Expand(op.vector(1), op.Shape(begins))
    zeros = op.Expand(op.vector(0), op.Shape(ids))
    heads = op.ScatterElements(zeros, begins, ones, axis=0)
    counted = op.CumSum(heads, op.integer(0))
    word = op.Sub(counted, op.integer(1))
    whole = op.Not(op.Gather(broken, word))
    kept = op.Or(whole, op.Equal(ids, unknown_id))
    return op.Compress(ids, kept, axis=0)


def _rows(op: TextWriter, ids: ir.Value) -> TokenRows:
    """Where every text begins, and how long it is."""
    at_end = op.Equal(ids, op.integer(END_ID))
    found = op.NonZero(at_end)
    ends = op.Squeeze(found, op.vector(0))
    after = op.Add(ends, op.integer(1))
    before = op.Slice(after, op.vector(0), op.vector(-1))
    starts = op.Concat(op.vector(0), before, axis=0)
    return TokenRows(ids, starts, op.Sub(ends, starts))


def _literal(text: str) -> str:
    """A pattern that finds `text` and nothing else."""
    return "".join(char if char.isalnum() or not char.isascii() else f"\\{char}" for char in text)

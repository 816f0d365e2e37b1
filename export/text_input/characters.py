"""What a tokenizer makes of every single character, as tables that operators of a graph can look up.

BERT's normaliser and its first splitting look at one character at a time, so that 1.1 million results say all there is
to know. They are asked of the checkpoint's own tokenizer, not worked out from a Unicode database of our own: lower
case, accents, ideographs and controls come out as its settings and its version of Unicode have them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tokenizers

#: First and last code point of a range.
Range = tuple[int, int]

#: Characters that are asked about together: mostly blocks of which nothing changes.
_CHUNK = 1 << 8
#: Stands between characters in one long text; splitting on it gives the results back.
_BETWEEN = "|"
#: Characters that are treated alike and lie side by side: from so many on, they are a range in a pattern and not rows
#: of the table. Patterns are compiled whenever the graph runs, so that they must stay short.
_LONG = 128
_SURROGATES = range(0xD800, 0xE000)
_LAST = 0x10FFFF
#: Tables that were made, by the settings of the tokenizer's first two stages: making one takes a second.
_KNOWN: dict[str, CharacterTable] = {}


@dataclass(frozen=True)
class CharacterTable:
    """What becomes of characters. What is in none of these stays as it is.

    Args:
        changed: single characters and what takes their place: lower-cased, without accents, `" . "` where a mark is a
            word of its own, `" "` for white space, `""` where it is removed.
        removed: ranges of further characters that are removed.
        isolated: ranges of characters that are words of their own, ideographs.
    """

    changed: dict[str, str]
    removed: tuple[Range, ...]
    isolated: tuple[Range, ...]

    def is_removed(self, char: str) -> bool:
        """Whether nothing is left of `char`."""
        return self.changed.get(char) == "" or any(low <= ord(char) <= high for low, high in self.removed)


def character_table(tokenizer: tokenizers.Tokenizer) -> CharacterTable:
    """The table of a tokenizer whose normaliser is BERT's. It depends on that and on the first splitting alone."""
    document = json.loads(tokenizer.to_str())
    settings = json.dumps([document["normalizer"], document["pre_tokenizer"]])
    if settings not in _KNOWN:
        _KNOWN[settings] = _table(tokenizer.normalizer, tokenizer.pre_tokenizer)
    return _KNOWN[settings]


def _table(normalizer: Any, splitter: Any) -> CharacterTable:
    results = dict(_changes(normalizer, splitter))
    removed = _runs((code for code, result in results.items() if result == ""), _LONG)
    isolated = _runs((code for code, result in results.items() if result == f" {chr(code)} "), _LONG)
    in_ranges = {code for low, high in (*removed, *isolated) for code in range(low, high + 1)}
    changed = {chr(code): result for code, result in results.items() if code not in in_ranges}
    return CharacterTable(changed, removed, isolated)


def character_class(ranges: Iterable[Range], chars: Iterable[str] = (), negated: bool = False) -> str:
    """A class of RE2's syntax, `[...]`."""
    pairs = sorted([*ranges, *((ord(char), ord(char)) for char in chars)])
    body = "".join(rf"\x{{{low:x}}}" if low == high else rf"\x{{{low:x}}}-\x{{{high:x}}}" for low, high in pairs)
    return f"[{'^' if negated else ''}{body}]"


def _changes(normalizer: Any, splitter: Any) -> Iterator[tuple[int, str]]:
    """Every code point that does not stay as it is, and what becomes of it: normalised, with spaces where words end."""
    known: dict[str, str] = {}
    for start in range(0, _LAST + 1, _CHUNK):
        block = "".join(chr(code) for code in range(start, start + _CHUNK) if code not in _SURROGATES)
        if normalizer.normalize_str(block) == block and _words(splitter, block) == [block]:
            continue  # nothing is changed, and no word ends
        chars = list(block)
        parts = _normalised(normalizer, chars)
        letters = sorted({letter for part in parts for letter in part if letter not in known})
        known |= zip(letters, _spaced(splitter, letters), strict=True)
        for char, part in zip(chars, parts, strict=True):
            result = known[part] if len(part) == 1 else "".join(known[letter] for letter in part)
            if result != char:
                yield ord(char), result


def _normalised(normalizer: Any, chars: list[str]) -> list[str]:
    """Each of `chars`, normalised."""
    parts = str(normalizer.normalize_str(_BETWEEN.join(chars))).split(_BETWEEN)
    return parts if len(parts) == len(chars) else [str(normalizer.normalize_str(char)) for char in chars]


def _spaced(splitter: Any, chars: list[str]) -> list[str]:
    """Each of `chars`: with spaces around it where it is a word of its own, a space where it only ends words."""
    words = iter(_words(splitter, " ".join(f"a{char}a" for char in chars)))
    spaced = []
    for char in chars:
        if next(words) != "a":
            spaced.append(char)
        elif next(words) == "a":
            spaced.append(" ")
        else:
            next(words)
            spaced.append(f" {char} ")
    return spaced


def _words(splitter: Any, text: str) -> list[str]:
    return [word for word, _ in splitter.pre_tokenize_str(text)]


def _runs(codes: Iterable[int], shortest: int) -> tuple[Range, ...]:
    """The ranges of at least `shortest` code points in a row among `codes`, which ascend."""
    found: list[Range] = []
    low = high = -1
    for code in codes:
        if code == high + 1 or (high + 1 == _SURROGATES.start and code == _SURROGATES.stop):
            high = code
            continue
        found.append((low, high))
        low = high = code
    found.append((low, high))
    return tuple((low, high) for low, high in found if low >= 0 and high - low + 1 >= shortest)

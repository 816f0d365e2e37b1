"""Cleaning, lower-casing and splitting on white space and punctuation, one pass over the text."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection

# The blocks that BERT surrounds with spaces; Hangul and the kana are written with spaces and stay together.
_CJK_BLOCKS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)
_WHITE_SPACE_CONTROLS = "\t\n\r"
_TABLE_LIMIT = 1 << 16  # entries; what a text of all 1.1 million code points could make a table grow to is bounded


def is_cjk(char: str) -> bool:
    """Whether `char` is an ideograph that becomes a word of its own."""
    code = ord(char)
    return any(first <= code <= last for first, last in _CJK_BLOCKS)


def is_control(char: str) -> bool:
    """Whether `char` is removed as a control: every category C except tab, line feed and carriage return."""
    return char not in _WHITE_SPACE_CONTROLS and unicodedata.category(char)[0] == "C"


def is_whitespace(char: str) -> bool:
    """Whether `char` is turned into a space before splitting."""
    return char in _WHITE_SPACE_CONTROLS or unicodedata.category(char) == "Zs"


def is_punctuation(char: str) -> bool:
    """Whether `char` is a word of its own: Unicode punctuation, and all ASCII that is neither letter nor digit."""
    code = ord(char)
    return 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126 or _category(char) == "P"


def _category(char: str) -> str:
    return unicodedata.category(char)[0]


class _Table(dict[int, str]):
    """A `str.translate` table that works out a character's replacement when it is first met."""

    def __init__(self, replace: Callable[[str], str]) -> None:
        super().__init__()
        self._replace = replace

    def __missing__(self, code: int) -> str:
        replacement = self._replace(chr(code))
        if len(self) < _TABLE_LIMIT:
            self[code] = replacement
        return replacement


def _clean(char: str) -> str:
    if char in "\0\ufffd" or is_control(char):
        return ""
    return " " if is_whitespace(char) else char


def _clean_and_space_cjk(char: str) -> str:
    kept = _clean(char)  # first: the blocks have unassigned code points, which are removed as controls
    return f" {char} " if kept and is_cjk(char) else kept


def _space_punctuation(char: str) -> str:
    return f" {char} " if is_punctuation(char) else char


def _drop_accent(char: str) -> str:
    return "" if unicodedata.category(char) == "Mn" else char


class BasicTokenizer:
    """Splits text into words and punctuation marks, as BERT's first step does.

    `strip_accents=None` means: strip exactly when lower-casing. Words in `never_split` keep their case, accents
    and punctuation.
    """

    def __init__(
        self,
        do_lower_case: bool = True,
        never_split: Collection[str] = (),
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
    ) -> None:
        self.do_lower_case = do_lower_case
        self.never_split = frozenset(never_split)
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = strip_accents
        self._strips = do_lower_case if strip_accents is None else strip_accents
        self._cleaning = _Table(_clean_and_space_cjk if tokenize_chinese_chars else _clean)
        self._punctuation = _Table(_space_punctuation)
        self._accents = _Table(_drop_accent)

    def tokenize(self, text: str, never_split: Collection[str] = ()) -> list[str]:
        """The words of `text`; `never_split` adds to the words that stay whole."""
        kept = self.never_split.union(never_split)
        return [part for word in self.words(text) for part in self.split_word(word, kept)]

    def words(self, text: str) -> list[str]:
        """`text` cleaned, composed (NFC) and split on white space; ideographs are words of their own."""
        cleaned = text.translate(self._cleaning)
        # Composition makes equal what looks equal; ASCII is composed already.
        return (cleaned if cleaned.isascii() else unicodedata.normalize("NFC", cleaned)).split()

    def split_word(self, word: str, kept: Collection[str]) -> list[str]:
        """One word without white space, lower-cased, stripped and split on punctuation, unless it is in `kept`."""
        if word in kept:
            return [word]
        if self.do_lower_case:
            word = word.lower()
        if self._strips and not word.isascii():
            word = unicodedata.normalize("NFD", word).translate(self._accents)
        if word in kept:
            return word.split()
        return word.translate(self._punctuation).split()

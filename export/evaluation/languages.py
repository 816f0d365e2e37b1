"""THE table of languages that built-in texts are in, and which of them a tokenizer's vocabulary covers.

Other languages have fewer texts than English, and the same ones, translated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bert_onnx.errors import InputError
from bert_onnx.tokenization import FastTokenizer


@dataclass(frozen=True)
class Language:
    """One row.

    Args:
        code: ISO 639-1.
        name: in English.
        script: in which it is written; Chinese characters count as one, whoever writes them.
        density: tokens a character (spaces left out) of its texts with a vocabulary of its own. Measured: English,
            Chinese and Korean with those of bert-base-uncased, bert-base-chinese and KoELECTRA; Japanese by MeCab's
            words; Thai with Unigram on all built-in texts; others with 30,000 pieces of wordfreq's likeliest words.
    """

    code: str
    name: str
    script: str
    density: float


LANGUAGES: dict[str, Language] = {
    language.code: language
    for language in (
        Language("en", "English", "Latin", 0.27),
        Language("de", "German", "Latin", 0.25),
        Language("fr", "French", "Latin", 0.31),
        Language("es", "Spanish", "Latin", 0.27),
        Language("tr", "Turkish", "Latin", 0.22),
        Language("ru", "Russian", "Cyrillic", 0.26),
        Language("ar", "Arabic", "Arabic", 0.28),
        Language("hi", "Hindi", "Devanagari", 0.33),
        Language("th", "Thai", "Thai", 0.35),
        Language("zh", "Chinese", "Han", 1.0),
        Language("ja", "Japanese", "Han", 0.66),
        Language("ko", "Korean", "Hangul", 0.52),
    )
}

ENGLISH = "en"

#: Share of unknown tokens up to which a vocabulary covers a text, and up to which it is any evidence.
COVERED, EVIDENCE = 0.01, 0.5

#: How many times the tokens of a vocabulary of its own a covered language may take; spelled out, it takes 3 to 5.
_SPELLED = 2.0

#: Scripts from which on a vocabulary counts as multilingual. The Chinese one has English words, too.
_SCRIPTS = 3

#: English is taken unless its strain is this many times another's: most vocabularies have all Latin letters.
_BETTER = 1.2


@dataclass(frozen=True)
class Coverage:
    """How a vocabulary writes a text: the share of unknown tokens, and tokens relative to a vocabulary of its own."""

    unknown: float
    strain: float


def unknown_share(tokenizer: FastTokenizer, texts: Sequence[str]) -> float:
    """The share of the tokens of `texts`, special ones left out, that are the unknown one; 0 where there is none."""
    return _count(tokenizer, texts)[0]


def coverage(tokenizer: FastTokenizer, language: Language, texts: Sequence[str]) -> Coverage:
    """How `tokenizer` writes `texts`, which are in `language`."""
    unknown, tokens = _count(tokenizer, texts)
    characters = sum(len("".join(text.split())) for text in texts)
    return Coverage(unknown, tokens / characters / language.density)


def choose_languages(found: dict[str, Coverage]) -> tuple[str, ...]:
    """The languages to take texts in, by what a vocabulary covers: several for a multilingual one, else one.

    Args:
        found: the coverage of each language by its code, English among them.

    Returns:
        English where nothing is known.
    """
    covered = [code for code, one in found.items() if one.unknown <= COVERED and one.strain <= _SPELLED]
    if len({LANGUAGES[code].script for code in covered}) >= _SCRIPTS:
        return tuple(covered)
    readable = {code: one for code, one in found.items() if one.unknown <= EVIDENCE}
    readable = {code: one for code, one in readable.items() if one.strain <= _SPELLED} or readable
    if not readable:
        return (ENGLISH,)
    least = min(one.unknown for one in readable.values())
    known = {code: one.strain for code, one in readable.items() if one.unknown <= least + COVERED}
    best = min(known, key=lambda code: known[code])
    return (ENGLISH,) if known.get(ENGLISH, float("inf")) <= _BETTER * known[best] else (best,)


def _count(tokenizer: FastTokenizer, texts: Sequence[str]) -> tuple[float, int]:
    """(share of unknown tokens, number of tokens) of `texts`; of a text that cannot be read, every word is unknown."""
    total = count = 0
    for text in texts:
        try:
            row = tokenizer.encode(text, add_special_tokens=False)
        except InputError:  # the vocabulary lacks a token for the unknown
            words = len(text.split())
            total, count = total + words, count + words
        else:
            total, count = total + len(row), count + row.count(tokenizer.unk_token_id)
    return count / max(1, total), total

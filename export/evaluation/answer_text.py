"""How well a text answers a question whose answers are known: exact match and F1 of words.

Source: Rajpurkar et al., SQuAD (https://arxiv.org/abs/1606.05250), section 6.1: punctuation and articles do not count.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def words_of(answer: str) -> list[str]:
    """The words of `answer` in lower case, without punctuation and English articles."""
    return _ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split()


def exact_match(found: str, answers: Sequence[str]) -> float:
    """1 where `found` has the words of one of `answers`, else 0; no answers means that "" is right."""
    return float(any(words_of(found) == words_of(answer) for answer in answers or ("",)))


def f1(found: str, answers: Sequence[str]) -> float:
    """The best F1 of the words of `found` against one of `answers`, 0 to 1."""
    return max(_f1(words_of(found), words_of(answer)) for answer in answers or ("",))


def _f1(found: list[str], expected: list[str]) -> float:
    if not found or not expected:
        return float(found == expected)
    shared = (Counter(found) & Counter(expected)).total()
    # 2PR / (P + R) with P = shared / found and R = shared / expected.
    return 2 * shared / (len(found) + len(expected))

"""Finding added tokens in a text before anything else looks at it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from bert_onnx.tokenization.vocab import AddedToken


class AddedTokenFinder:
    """Cuts a text around added tokens, the longest of those that start first.

    Args:
        tokens: added tokens by content.
        cased: tokens that lower-casing leaves alone.
    """

    def __init__(self, tokens: Mapping[str, AddedToken], cased: Sequence[str]) -> None:
        self._tokens = tokens
        by_length = sorted(filter(None, tokens), key=len, reverse=True)
        self._pattern = _any_of(by_length)
        self._cased = _any_of(cased)

    def lower(self, text: str) -> str:
        """Lower-case all but the cased tokens.

        Capital sigma is replaced first: `str.lower` makes a final sigma of it at the end of words, the reference
        never does.
        """
        parts = self._cased.split(text)
        parts[::2] = [part.replace("\u03a3", "\u03c3").lower() for part in parts[::2]]
        return "".join(parts)

    def split(self, text: str) -> list[str]:
        """`text` in parts, without the white space that lstrip and rstrip swallow; a part may be empty."""
        parts = [part for part in self._pattern.split(text) if part]
        for i, part in enumerate(parts):
            token = self._tokens.get(part)
            if token is None:
                continue
            left, right = parts[i - 1] if i else "", parts[i + 1] if i + 1 < len(parts) else ""
            if token.rstrip and right:
                parts[i + 1] = right.lstrip()
            if token.lstrip and left:
                parts[i - 1] = left.rstrip()
            if token.single_word and left and left[-1] != " ":
                parts[i - 1], parts[i] = parts[i - 1] + part, ""
            elif token.single_word and right and right[0] != " ":
                parts[i], parts[i + 1] = "", part + parts[i + 1]
        return parts


def _any_of(contents: Sequence[str]) -> re.Pattern[str]:
    return re.compile("(" + "|".join(map(re.escape, contents)) + ")")

"""Markdown for the model card: tables, and names from outside made harmless."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

_MARKUP = str.maketrans(
    {"`": "'", "<": "&lt;", ">": "&gt;", "\\": "\\\\", "|": "\\|", "[": "\\[", "]": "\\]", "*": "\\*"}
)


def inline(text: str) -> str:
    """`text` on one line, without what Markdown or HTML would take for markup: names come from outside."""
    return " ".join(text.split()).translate(_MARKUP)


def code(text: str) -> str:
    """`text` as code, with its blanks: a quoted string on one line."""
    return "`" + json.dumps(text, ensure_ascii=False).replace("`", "'") + "`"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its cells are Markdown already."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

"""A tiny vocabulary, and files to write for tokenizer tests."""

from __future__ import annotations

import json
from pathlib import Path

TINY_VOCAB = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "want", "##ed", "a", "b", "c", "d", "e"),
    *("##a", "##b", ".", ",", "hello", "world", "中", "x", "y", "z"),
]


def write_vocab(path: Path, tokens: list[str]) -> Path:
    path.write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    return path


def edit_json(path: Path, **changes: object) -> None:
    """Change top-level keys of a JSON file; Ellipsis removes one."""
    data = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    data = {name: value for name, value in (data | changes).items() if value is not ...}
    path.write_text(json.dumps(data), encoding="utf-8")

"""A tiny checkpoint folder for tokenizer tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bert_onnx.tokenization import BertTokenizer, BertTokenizerFast

TINY_VOCAB = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "want", "##ed", "a", "b", "c", "d", "e"),
    *("##a", "##b", ".", ",", "hello", "world", "中", "x", "y", "z"),
]


@pytest.fixture
def vocab_file(tmp_path: Path) -> Path:
    return write_vocab(tmp_path / "vocab.txt", TINY_VOCAB)


@pytest.fixture
def folder(tmp_path: Path, vocab_file: Path) -> Path:
    """A folder with vocab.txt, tokenizer.json and tokenizer_config.json."""
    BertTokenizerFast(vocab_file, model_max_length=16).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def slow(vocab_file: Path) -> BertTokenizer:
    return BertTokenizer(vocab_file)


@pytest.fixture
def fast(vocab_file: Path) -> BertTokenizerFast:
    return BertTokenizerFast(vocab_file)


@pytest.fixture(params=["slow", "fast"])
def tokenizer(request: pytest.FixtureRequest, vocab_file: Path) -> BertTokenizer | BertTokenizerFast:
    return BertTokenizer(vocab_file) if request.param == "slow" else BertTokenizerFast(vocab_file)


def write_vocab(path: Path, tokens: list[str]) -> Path:
    path.write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    return path


def edit_json(path: Path, **changes: object) -> None:
    """Change top-level keys of a JSON file; Ellipsis removes one."""
    data = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    data = {name: value for name, value in (data | changes).items() if value is not ...}
    path.write_text(json.dumps(data), encoding="utf-8")

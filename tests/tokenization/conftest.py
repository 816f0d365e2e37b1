"""A tiny checkpoint folder for tokenizer tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from vocabularies import TINY_VOCAB, write_vocab

from bert_onnx.tokenization import BertTokenizer, BertTokenizerFast


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

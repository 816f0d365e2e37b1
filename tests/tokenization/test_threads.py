"""One tokenizer, many threads, each with its own padding and truncation."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bert_onnx.tokenization import BertTokenizer, BertTokenizerFast

TEXTS = ["a b c d e " * 4, "hello world, unaffable.", "中 x y z " * 7, ""]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"padding": True},
    {"padding": "max_length", "max_length": 40},
    {"padding": "max_length", "max_length": 40, "padding_side": "left"},
    {"truncation": True, "max_length": 5},
    {"truncation": True, "max_length": 9, "padding": True, "pad_to_multiple_of": 3},
    {"add_special_tokens": False},
]
WINDOWS = {"truncation": True, "max_length": 6, "stride": 2, "return_overflowing_tokens": True}


@pytest.mark.parametrize("kind", [BertTokenizer, BertTokenizerFast])
def test_threads_do_not_disturb_each_other(kind: Any, vocab_file: Path) -> None:
    shared = kind(vocab_file)
    settings = [*SETTINGS, WINDOWS] if shared.is_fast else SETTINGS
    expected = [dict(kind(vocab_file)(TEXTS, **options)) for options in settings]

    def work(seed: int) -> int:
        checked = 0
        for i in range(60):
            which = (seed * 7 + i) % len(settings)
            assert dict(shared(TEXTS, **settings[which])) == expected[which]
            checked += 1
        return checked

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 480


def test_the_library_keeps_no_padding_or_truncation(fast: BertTokenizerFast) -> None:
    for options in (*SETTINGS, WINDOWS):
        fast(TEXTS, **options)
        assert fast.backend_tokenizer.padding is None
        assert fast.backend_tokenizer.truncation is None

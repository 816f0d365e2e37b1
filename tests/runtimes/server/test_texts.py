"""Long texts are cut before they are tokenized, and nobody can tell."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_models import SAMPLE

from bert_onnx.errors import InputError
from bert_onnx.tokenization import load_tokenizer
from runtimes.pipelines.encoding import encode
from runtimes.server.texts import cut_text, windows_of

MAX = 16


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(SAMPLE)


_PIECES = st.sampled_from(
    ["hello ", "unbelievable ", ".", "…", "北京", " ", "\n", "\u0301", "e\u0301", "[MASK]", "[SEP] ", "🙂", "naïve",
     "don't ", "a" * 150, " " * 500, "x" * 3000, "。", "ab" * 40, "\u00a0", "\u3000"]
)  # fmt: skip


@given(pieces=st.lists(st.tuples(_PIECES, st.integers(1, 80)), max_size=8))
@settings(max_examples=40)
def test_a_cut_text_has_the_same_tokens(tokenizer, pieces) -> None:
    text = "".join(piece * count for piece, count in pieces)
    (found,) = windows_of(tokenizer, [text], "", MAX, True)
    (expected,) = encode(tokenizer, [text], None, MAX)
    assert (found.ids, found.type_ids, found.truncated) == (expected.ids, expected.type_ids, expected.truncated)


@pytest.mark.parametrize(
    "text", ["." * 1_000_000, "hello world " * 90_000, "北京" * 500_000], ids=["dots", "words", "chinese"]
)
def test_a_megabyte_costs_no_more_than_a_page(tokenizer, text: str) -> None:
    assert len(cut_text(tokenizer, text, 256)) < 40_000
    began = time.monotonic()
    windows_of(tokenizer, [text], "", 256, True)
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("text", [" " * 300_000, "a" * 300_000], ids=["spaces", "one word"])
def test_what_has_few_tokens_is_read_whole(tokenizer, text: str) -> None:
    assert cut_text(tokenizer, text, MAX) == text


def test_prompts_stand_before_texts_and_not_before_ids(tokenizer) -> None:
    with_prompt, ids = windows_of(tokenizer, ["world", [2088]], "hello ", MAX, True)
    assert with_prompt.ids == [101, 7592, 2088, 102]
    assert ids.ids == [101, 2088, 102]


def test_ids_are_cut_around_their_special_tokens(tokenizer) -> None:
    (bare,) = windows_of(tokenizer, [[2088] * 50], "", MAX, True)
    (dressed,) = windows_of(tokenizer, [[101, *[2088] * 50, 102]], "", MAX, True)
    assert bare.ids == dressed.ids == [101, *[2088] * (MAX - 2), 102]
    assert bare.truncated
    assert dressed.truncated
    (fits,) = windows_of(tokenizer, [[101, *[2088] * (MAX - 2), 102]], "", MAX, False)
    assert not fits.truncated


def test_what_must_not_be_cut_is_refused(tokenizer) -> None:
    for long in ("hello " * 20, "hello " * 20_000, [2088] * 20):
        with pytest.raises(InputError, match="input 1 is longer than the 16 tokens"):
            windows_of(tokenizer, ["hello", long], "", MAX, False)


@pytest.mark.parametrize("index", [-1, 30522, 10**30])
def test_ids_that_there_are_not(tokenizer, index: int) -> None:
    with pytest.raises(InputError, match="there is no token"):
        windows_of(tokenizer, [[5, index]], "", MAX, True)

"""Calling a tokenizer: what goes in, what is refused, what comes out."""

from __future__ import annotations

import pickle
from typing import Any

import numpy
import pytest

from bert_onnx.errors import InputError, UsageError
from bert_onnx.tokenization import BatchEncoding, BertTokenizer, BertTokenizerFast

HELLO = [2, 19, 20, 3]  # [CLS] hello world [SEP]
AnyTokenizer = BertTokenizer | BertTokenizerFast


def test_forms_of_input(tokenizer: AnyTokenizer) -> None:
    assert tokenizer("hello world").input_ids == HELLO
    assert tokenizer(["hello world"]).input_ids == [HELLO]
    assert tokenizer(("hello world", "a")).input_ids == [HELLO, [2, 10, 3]]
    pair = [2, 19, 3, 20, 3]
    assert tokenizer("hello", "world")["input_ids"] == pair
    assert tokenizer("hello", "world")["token_type_ids"] == [0, 0, 0, 1, 1]
    assert tokenizer(["hello"], ["world"]).input_ids == [pair]
    assert tokenizer([("hello", "world"), "hello world"]).input_ids == [pair, HELLO]
    assert tokenizer(["hello", "world"], is_split_into_words=True).input_ids == HELLO
    assert tokenizer([["hello"], ["world"]], is_split_into_words=True).input_ids == [[2, 19, 3], [2, 20, 3]]
    assert tokenizer([(["hello"], ["world"])], is_split_into_words=True).input_ids == [pair]


def test_empty_inputs(tokenizer: AnyTokenizer) -> None:
    assert tokenizer("").input_ids == [2, 3]
    assert tokenizer([""], [""]).input_ids == [[2, 3, 3]]
    assert tokenizer("", add_special_tokens=False).input_ids == []
    assert tokenizer("\u0301\x00\t").input_ids == [2, 3]
    assert tokenizer([]).input_ids == []
    assert tokenizer([], padding=True).attention_mask == []
    assert tokenizer([], padding=True, return_tensors="np").input_ids.shape == (0, 0)
    assert tokenizer([], is_split_into_words=True).input_ids == [2, 3]
    assert tokenizer([[], ["a"]], is_split_into_words=True).input_ids == [[2, 3], [2, 10, 3]]
    assert tokenizer.tokenize("") == []
    assert tokenizer.decode([]) == ""
    assert tokenizer.batch_decode([]) == []


@pytest.mark.parametrize(
    ("text", "pair", "named"),
    [
        (None, None, "NoneType"),
        (5, None, "int"),
        (b"bytes", None, "bytes"),
        (["a", 5], None, "text 1"),
        (["a", None], None, "text 1"),
        ([["a", "b", "c"]], None, "text 0"),
        ("a", 5, "the pair"),
        (["a"], [None, "b"], "2"),
        (["a", "b"], ["c"], "1"),
        (["a"], "b", "str"),
        ([("a", 5)], None, "pair 0"),
    ],
)
def test_what_is_no_text(tokenizer: AnyTokenizer, text: Any, pair: Any, named: str) -> None:
    with pytest.raises(InputError, match=named):
        tokenizer(text, pair)


def test_what_are_no_words(tokenizer: AnyTokenizer) -> None:
    with pytest.raises(InputError, match="a str"):
        tokenizer("hello world", is_split_into_words=True)
    with pytest.raises(InputError, match="word 1 of text 0"):
        tokenizer([["a", 5]], is_split_into_words=True)


@pytest.mark.parametrize("code", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_lone_surrogates(tokenizer: AnyTokenizer, code: int) -> None:
    surrogate, name = chr(code), f"U\\+{code:04X}"
    with pytest.raises(InputError, match=rf"{name}\) stands at position 3 of the text;"):
        tokenizer("abc" + surrogate)
    with pytest.raises(InputError, match=rf"{name}\) stands at position 0 of text 1;"):
        tokenizer(["fine", surrogate + "é"])
    with pytest.raises(InputError, match="position 1 of pair 0"):
        tokenizer(["fine"], ["é" + surrogate])
    with pytest.raises(InputError, match="position 0 of word 1 of text 0"):
        tokenizer([["a", surrogate]], is_split_into_words=True)
    with pytest.raises(InputError, match="position 0"):
        tokenizer.tokenize(surrogate)
    with pytest.raises(InputError, match="position 0"):
        tokenizer.encode(surrogate)


def test_whole_pairs_of_surrogates_are_text(tokenizer: AnyTokenizer) -> None:
    assert tokenizer("\U0001f600").input_ids == [2, 1, 3]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"padding": "longst"}, "padding is 'longst'"),
        ({"padding": 1.5}, "padding is 1.5"),
        ({"truncation": "only"}, "truncation is 'only'"),
        ({"max_length": -1}, "max_length is -1"),
        ({"max_length": 4.0}, "max_length is 4.0"),
        ({"max_length": True}, "max_length is True"),
        ({"stride": -1}, "stride is -1"),
        ({"pad_to_multiple_of": 0}, "pad_to_multiple_of is 0"),
        ({"padding_side": "top"}, "padding_side is 'top'"),
        ({"return_tensors": "tf"}, "return_tensors is 'tf'"),
        ({"padding": "max_length"}, "needs a max_length"),
        ({"padding": True, "truncation": True, "max_length": 7, "pad_to_multiple_of": 4}, "not a multiple"),
    ],
)
def test_bad_options(tokenizer: AnyTokenizer, options: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        tokenizer("hello world", **options)


def test_pad_refuses_arrays_that_it_does_not_know(tokenizer: AnyTokenizer) -> None:
    with pytest.raises(UsageError, match="return_tensors is 'tf'"):
        tokenizer.pad([{"input_ids": [2, 3]}], return_tensors="tf")


def test_texts_that_cannot_be_cut(tokenizer: AnyTokenizer) -> None:
    with pytest.raises(InputError, match="max_length 1 leaves no room for the 2 special tokens"):
        tokenizer("hello", truncation=True, max_length=1)
    with pytest.raises(InputError, match="3 special tokens"):
        tokenizer(["hello"], ["world"], truncation=True, max_length=2)
    with pytest.raises(InputError, match="only_second"):
        tokenizer("hello world", truncation="only_second", max_length=3)
    with pytest.raises(InputError, match="first text has only 1"):
        tokenizer("a", "a b c d e", truncation="only_first", max_length=5)
    with pytest.raises(InputError, match="second text has only 1"):
        tokenizer("a b c d e", "a", truncation="only_second", max_length=5)
    assert tokenizer("hello world", truncation=True, max_length=2).input_ids == [2, 3]
    assert tokenizer("a", truncation="only_second", max_length=3).input_ids == [2, 10, 3]


def test_limits(tokenizer: AnyTokenizer) -> None:
    text = "a b c d e a b c d e"
    assert len(tokenizer(text, truncation=True).input_ids) == 12  # no limit anywhere
    limited = tokenizer.with_limits(model_max_length=5)
    assert limited(text, truncation=True).input_ids == [2, 10, 11, 12, 3]
    assert limited("a", padding="max_length").input_ids == [2, 10, 3, 0, 0]
    assert len(limited(text).input_ids) == 12  # truncation is the caller's choice
    assert tokenizer.model_max_length > 10**9
    left = tokenizer.with_limits(padding_side="left", truncation_side="left")
    assert left(text, max_length=4).input_ids == [2, 13, 14, 3]
    assert left("a", padding="max_length", max_length=5).input_ids == [0, 0, 2, 10, 3]
    assert left("a", padding="max_length", max_length=5, padding_side="right").input_ids == [2, 10, 3, 0, 0]
    assert tokenizer.padding_side == "right"


def test_columns(tokenizer: AnyTokenizer) -> None:
    encoding = tokenizer(["a", "a b"], padding=True, return_special_tokens_mask=True, return_length=True)
    assert dict(encoding) == {
        "input_ids": [[2, 10, 3, 0], [2, 10, 11, 3]],
        "attention_mask": [[1, 1, 1, 0], [1, 1, 1, 1]],
        "token_type_ids": [[0] * 4, [0] * 4],
        "special_tokens_mask": [[1, 0, 1, 1], [1, 0, 0, 1]],
        "length": [4, 4] if tokenizer.is_fast else [3, 4],
    }
    assert list(encoding)[:3] == ["input_ids", "attention_mask", "token_type_ids"]
    assert list(tokenizer("a", return_attention_mask=False, return_token_type_ids=False)) == ["input_ids"]
    assert tokenizer("a", return_length=True).length == ([3] if tokenizer.is_fast else 3)


def test_arrays(tokenizer: AnyTokenizer) -> None:
    encoding = tokenizer(["a", "a b"], padding=True, return_tensors="np", pad_to_multiple_of=8, return_length=True)
    assert encoding.input_ids.shape == (2, 8)
    assert encoding.input_ids.dtype == numpy.int64
    assert encoding.length.tolist() == ([8, 8] if tokenizer.is_fast else [3, 4])
    assert tokenizer("a", return_tensors="np").input_ids.shape == (1, 3)
    with pytest.raises(UsageError, match="Rows of 3 to 4 tokens"):
        tokenizer(["a", "a b"], return_tensors="np")


def test_results_answer_by_key_and_attribute(fast: BertTokenizerFast) -> None:
    encoding = fast("hello")
    assert encoding["input_ids"] is encoding.input_ids
    assert len(encoding) == 3
    assert "input_ids" in repr(encoding)
    with pytest.raises(AttributeError, match="it has input_ids, attention_mask, token_type_ids"):
        _ = encoding.offset_mapping
    with pytest.raises(KeyError):
        _ = encoding["labels"]
    assert pickle.loads(pickle.dumps(encoding)).word_ids(0) == [None, 0, None]


def test_words_and_offsets(fast: BertTokenizerFast) -> None:
    encoding = fast(["unaffable, World", "a"], ["b", "c d"], padding=True, return_offsets_mapping=True)
    assert encoding.tokens(0) == ["[CLS]", "un", "##aff", "##able", ",", "world", "[SEP]", "b", "[SEP]"]
    assert encoding.word_ids(0) == [None, 0, 0, 0, 1, 2, None, 0, None]
    assert encoding.sequence_ids(0) == [None, 0, 0, 0, 0, 0, None, 1, None]
    assert encoding.offsets[0] == [(0, 0), (0, 2), (2, 5), (5, 9), (9, 10), (11, 16), (0, 0), (0, 1), (0, 0)]
    assert encoding.offsets == encoding.offset_mapping
    assert encoding.tokens(1) == ["[CLS]", "a", "[SEP]", "c", "d", "[SEP]", "[PAD]", "[PAD]", "[PAD]"]
    assert encoding.word_ids(-1)[-3:] == [None] * 3
    with pytest.raises(UsageError, match="Row 2 was asked for, but this encoding has 2 rows"):
        encoding.word_ids(2)


def test_offsets_count_characters(fast: BertTokenizerFast) -> None:
    text = "😀 Héllo \u0000中x"
    (offsets,) = fast([text]).offsets
    assert [text[start:stop] for start, stop in offsets[1:-1]] == ["😀", "Héllo", "中", "x"]


def test_windows(fast: BertTokenizerFast) -> None:
    encoding = fast(
        ["a", "b"],
        ["a b c d e", "x"],
        truncation="only_second",
        max_length=7,
        stride=1,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding=True,
    )
    assert encoding.overflow_to_sample_mapping == [0, 0, 1]
    assert [encoding.tokens(i)[3:] for i in range(3)] == [
        ["a", "b", "c", "[SEP]"],
        ["c", "d", "e", "[SEP]"],
        ["x", "[SEP]", "[PAD]", "[PAD]"],
    ]
    assert encoding.offset_mapping[1][3:6] == [(4, 5), (6, 7), (8, 9)]
    with pytest.raises(UsageError, match="stride 3 is not below the 3 tokens"):
        fast("a b c d e", truncation=True, max_length=5, stride=3, return_overflowing_tokens=True)


def test_what_only_the_fast_one_knows(slow: BertTokenizer) -> None:
    for options in ({"return_offsets_mapping": True}, {"return_overflowing_tokens": True}):
        with pytest.raises(UsageError, match="BertTokenizerFast"):
            slow("a", **options)
    encoding = slow("a")
    assert isinstance(encoding, BatchEncoding)
    for ask in (encoding.word_ids, encoding.tokens, encoding.sequence_ids, lambda: encoding.offsets):
        with pytest.raises(UsageError, match="BertTokenizerFast"):
            ask()


def test_decode_takes_arrays_and_single_ids(tokenizer: AnyTokenizer) -> None:
    assert tokenizer.decode(numpy.array(HELLO), skip_special_tokens=True) == "hello world"
    assert tokenizer.decode(19) == "hello"
    assert tokenizer.decode(numpy.int64(19)) == "hello"
    assert tokenizer.batch_decode(numpy.array([HELLO]), skip_special_tokens=True) == ["hello world"]
    assert tokenizer.convert_ids_to_tokens(numpy.array([19, 20])) == ["hello", "world"]
    for bad in ([-1], [1.5], ["hello"], [[1]], None):
        with pytest.raises(InputError):
            tokenizer.decode(bad)


def test_encode_takes_one_text(tokenizer: AnyTokenizer) -> None:
    assert tokenizer.encode("hello", "world", truncation=True, max_length=9) == [2, 19, 3, 20, 3]
    with pytest.raises(InputError, match="one string, not a list"):
        tokenizer.encode(["hello"])  # type: ignore[arg-type]


def test_special_tokens_mask(tokenizer: AnyTokenizer) -> None:
    assert tokenizer.get_special_tokens_mask([19, 2], [3]) == [1, 0, 0, 1, 0, 1]
    assert tokenizer.get_special_tokens_mask([2, 19, 4, 3], already_has_special_tokens=True) == [1, 0, 1, 1]
    with pytest.raises(UsageError):
        tokenizer.get_special_tokens_mask([2], [3], already_has_special_tokens=True)


def test_tokenizers_can_be_sent_to_other_processes(tokenizer: AnyTokenizer) -> None:
    tokenizer.add_tokens(["<e1>"])
    twin = pickle.loads(pickle.dumps(tokenizer))
    text = "hello <e1> WÖRLD 中文"
    assert dict(twin(text)) == dict(tokenizer(text))
    assert twin.get_vocab() == tokenizer.get_vocab()

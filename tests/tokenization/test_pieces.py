"""The steps of the plain tokenizer, one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bert_onnx.tokenization import AddedToken, BasicTokenizer, BertTokenizer, WordpieceTokenizer


def test_basic_tokenizer() -> None:
    lower, cased = BasicTokenizer(), BasicTokenizer(do_lower_case=False)
    assert lower.tokenize("  Héllo,\tWÖRLD!\x00\u200b ") == ["hello", ",", "world", "!"]
    assert cased.tokenize("Héllo,WÖRLD") == ["Héllo", ",", "WÖRLD"]
    assert lower.tokenize("ab中文c") == ["ab", "中", "文", "c"]
    assert BasicTokenizer(tokenize_chinese_chars=False).tokenize("ab中文c") == ["ab中文c"]
    assert BasicTokenizer(strip_accents=False).tokenize("HÉ") == ["hé"]
    assert BasicTokenizer(do_lower_case=False, strip_accents=True).tokenize("HÉ") == ["HE"]
    assert cased.tokenize("e\u0301") == ["é"]
    assert lower.tokenize("a$b^c`d|e~f") == ["a", "$", "b", "^", "c", "`", "d", "|", "e", "~", "f"]
    assert lower.tokenize("a«b»c…") == ["a", "«", "b", "»", "c", "…"]
    assert lower.tokenize("€5 ±3") == ["€5", "±3"]  # symbols beyond ASCII are no punctuation


def test_never_split() -> None:
    assert BasicTokenizer(never_split=["Don't"]).tokenize("Don't don't") == ["Don't", "don", "'", "t"]
    assert BasicTokenizer().tokenize("X[UNK] [UNK]", never_split=["[UNK]"]) == ["x", "[", "unk", "]", "[UNK]"]


def test_wordpiece_tokenizer() -> None:
    pieces = WordpieceTokenizer({t: i for i, t in enumerate(["[UNK]", "un", "##aff", "##able", "##a", "a"])})
    assert pieces.tokenize("unaffable una aun") == ["un", "##aff", "##able", "un", "##a", "[UNK]"]
    assert pieces.tokenize("a" * 100) == ["a", *["##a"] * 99]
    assert pieces.tokenize("a" * 101) == ["[UNK]"]
    assert WordpieceTokenizer({"aa": 0}, "?", max_input_chars_per_word=1).tokenize("aa") == ["?"]
    assert WordpieceTokenizer({}, "?").tokenize("aa") == ["?"]


def test_special_tokens_in_text_stay_whole(slow: BertTokenizer) -> None:
    assert slow.tokenize("HELLO[MASK]world [mask]") == ["hello", "[MASK]", "world", *["[UNK]"] * 3]


def test_added_tokens(slow: BertTokenizer) -> None:
    assert slow.add_tokens(["New York", "hello", AddedToken("<e>", special=True, normalized=False)]) == 2
    assert slow.tokenize("hello new york<e>hello") == ["hello", "new york", "<e>", "hello"]
    assert slow.convert_tokens_to_ids(["new york", "<e>"]) == [25, 26]
    assert slow.additional_special_tokens == ["<e>"]
    assert slow.decode([25, 26, 19], skip_special_tokens=True) == "new york hello"
    assert slow.add_tokens(["<e>", ""]) == 0
    assert len(slow) == 27
    assert slow.vocab_size == 25


def test_words_are_looked_at_again_after_tokens_are_added(slow: BertTokenizer) -> None:
    assert slow.tokenize("zyx") == ["[UNK]"]
    slow.add_tokens(["zyx"])
    assert slow.tokenize("zyx") == ["zyx"]


@pytest.mark.parametrize("limit", [2, 5])
def test_the_memory_for_words_is_bounded(slow: BertTokenizer, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bert_onnx.tokenization.slow._REMEMBERED_WORDS", limit)
    words = ["hello", "world", "a", "unaffable", "b"] * 3
    expected = ["hello", "world", "a", "un", "##aff", "##able", "b"] * 3
    assert slow.tokenize(" ".join(words)) == expected
    assert len(slow._word_pieces) <= limit


def test_no_basic_tokenizer(vocab_file: Path) -> None:
    tokenizer = BertTokenizer(vocab_file, do_basic_tokenize=False)
    assert tokenizer.tokenize("hello Hello hello,") == ["hello", "[UNK]", "[UNK]"]

"""Japanese BERT against transformers' BertJapaneseTokenizer, and what happens without MeCab."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from tokenizer_corpus import MULTILINGUAL, real_strings

from bert_onnx.errors import RuntimeUnavailableError
from bert_onnx.tokenization import load_tokenizer

pytestmark = pytest.mark.slow


def is_unassigned(char: str) -> bool:
    return unicodedata.category(char) == "Cn"


TEXTS = [
    "日本語の文章には漢字とひらがなとカタカナが混ざっています。",
    "私はBERTモデルを東京大学で学んだ。ＡＢＣ　半角ｶﾅ ㈱ ①",
    "吾輩は猫である。名前はまだ無い。どこで生れたか[MASK]見当がつかぬ。",
    "いくつかの語　と 空白",
    # Without unassigned code points, which the plain-Python class drops and the library keeps, as for BERT's own.
    *(text for text in [*MULTILINGUAL, *real_strings()[:150]] if not any(map(is_unassigned, text))),
]
CHARACTERS = sorted({char for text in TEXTS for char in text if not char.isspace()})
WORDS = ["日本", "##語", "文章", "漢字", "東京", "大学", "BERT", "モデル"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS, *(f"##{c}" for c in CHARACTERS[::2]), *WORDS]
CASES = [
    (words, subwords, lower, options)
    for words, options in (("basic", None), ("mecab", {"mecab_dic": "unidic_lite"}), ("mecab", {"mecab_dic": "ipadic"}))
    for subwords in ("wordpiece", "character")
    for lower in (False, True)
]


def folder_of(path: Path, words: str, subwords: str, lower: bool, options: dict[str, Any] | None) -> Path:
    path.mkdir(exist_ok=True)
    (path / "vocab.txt").write_text("\n".join(dict.fromkeys(VOCABULARY)) + "\n", encoding="utf-8")
    config = {"word_tokenizer_type": words, "subword_tokenizer_type": subwords, "do_lower_case": lower}
    config |= {"tokenizer_class": "BertJapaneseTokenizer", "mecab_kwargs": options, "model_max_length": 64}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


@pytest.mark.parametrize(("words", "subwords", "lower", "options"), CASES)
def test_ids_are_those_of_transformers(
    tmp_path: Path, words: str, subwords: str, lower: bool, options: dict[str, Any] | None
) -> None:
    transformers = pytest.importorskip("transformers")
    if options is not None:
        pytest.importorskip("fugashi", reason="MeCab is not installed (extra `japanese`)")
        pytest.importorskip(options["mecab_dic"], reason="this dictionary of MeCab is not installed")
    folder = folder_of(tmp_path / "a", words, subwords, lower, options)
    reference, ours = transformers.BertJapaneseTokenizer.from_pretrained(folder), load_tokenizer(folder)
    ours.save_pretrained(tmp_path / "b")
    again = load_tokenizer(tmp_path / "b")
    for text in TEXTS:
        expected = reference(text, TEXTS[0])
        for tokenizer in (ours, again):
            found = tokenizer(text, TEXTS[0], return_offsets_mapping=True)
            assert found.input_ids == expected["input_ids"], text
            assert found.token_type_ids == expected["token_type_ids"]
            assert tokenizer.decode(found.input_ids) == reference.decode(found.input_ids)
    (row,) = ours(["私は東京大学で"], return_offsets_mapping=True).offset_mapping
    if options is not None:
        assert ["私は東京大学で"[start:end] for start, end in row[1:3]] == ["私", "は"]
    assert (tmp_path / "b" / "tokenizer.json").is_file() == (words == "basic")


@pytest.mark.parametrize("words", ["sudachi", "jumanpp"])
def test_kinds_that_are_not_read(tmp_path: Path, words: str) -> None:
    with pytest.raises(RuntimeUnavailableError, match=words):
        load_tokenizer(folder_of(tmp_path, words, "wordpiece", False, None))


def test_without_mecab(tmp_path: Path) -> None:
    folder_of(tmp_path, "mecab", "wordpiece", False, None)
    program = """
import sys
sys.modules["fugashi"] = None
from bert_onnx.errors import RuntimeUnavailableError
from bert_onnx.tokenization import load_tokenizer
try:
    load_tokenizer(sys.argv[1])
except RuntimeUnavailableError as error:
    print(error)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "bert-onnx[japanese]" in done.stdout

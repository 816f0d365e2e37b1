"""The tokenizer files of an artifact: all of them say what tokenizer.json does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from sentence_transformers.base.modules.transformer import _has_lowercase
from tokenizer_corpus import MULTILINGUAL, code_points
from tokenizers import Tokenizer, normalizers
from trained_tokenizers import KINDS, ROLES, TEXTS, write_folder
from vocabularies import edit_json

from bert_onnx.tokenization import load_tokenizer
from bert_onnx.tokenization.artifact import write_tokenizer

GENERIC = "PreTrainedTokenizerFast"


def written(source: Path, target: Path, lower_case: bool = False, longest: int = 512) -> tuple[Any, tuple[str, ...]]:
    return write_tokenizer(load_tokenizer(source), source, target, lower_case, longest)


def all_same(folder: Path, expected: list[list[int]], texts: list[str]) -> None:
    """Every program that opens `folder` finds the same ids."""
    alone = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert [row.ids for row in alone.encode_batch(texts)] == expected
    assert load_tokenizer(folder)(texts).input_ids == expected
    assert transformers.AutoTokenizer.from_pretrained(folder)(texts)["input_ids"] == expected
    document = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    assert document["truncation"] is document["padding"] is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["XLMRobertaTokenizer", "RobertaTokenizer", "TokenizersBackend"])
def test_every_kind(tmp_path: Path, kind: str, name: str) -> None:
    source = write_folder(tmp_path / "a", kind, {"tokenizer_class": name, **ROLES})
    written(source, tmp_path / "b")
    all_same(tmp_path / "b", load_tokenizer(source)(TEXTS).input_ids, TEXTS)
    assert (tmp_path / "b" / "vocab.txt").exists() == (kind == "pieces")
    pair = Tokenizer.from_file(str(tmp_path / "b" / "tokenizer.json")).encode("a", "b")
    assert (1 in pair.type_ids) == (kind == "words" and name == "TokenizersBackend")  # others' classes give zeros
    assert load_tokenizer(tmp_path / "b")("a", "b").token_type_ids == pair.type_ids


@pytest.mark.parametrize("stated", [None, 10**30, 512, 9])
def test_programs_cut_texts_where_the_artifact_does(folder: Path, tmp_path: Path, stated: int | None) -> None:
    """At `model_max_length`; fastembed opens no folder without one, or with transformers' 1e30."""
    edit_json(folder / "tokenizer_config.json", model_max_length=stated)
    written(folder, tmp_path / "b", longest=64)
    assert json.loads((tmp_path / "b" / "tokenizer_config.json").read_text())["model_max_length"] == 64
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "b")
    for tokenizer in (load_tokenizer(tmp_path / "b"), theirs):
        assert len(tokenizer("hello " * 80, truncation=True)["input_ids"]) == 64


@pytest.mark.parametrize("name", ["BertTokenizer", GENERIC])
def test_truncation_and_other_settings_in_tokenizer_json(folder: Path, tmp_path: Path, name: str) -> None:
    cut = {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    edit_json(folder / "tokenizer.json", truncation=cut)
    edit_json(folder / "tokenizer_config.json", do_lower_case=False, tokenizer_class=name)
    expected = transformers.AutoTokenizer.from_pretrained(folder)("Hello a b c", truncation=False)["input_ids"]
    _, warnings = written(folder, tmp_path / "b")
    all_same(tmp_path / "b", [expected], ["Hello a b c"])
    assert any("do_lower_case" in warning for warning in warnings) == (name == "BertTokenizer")


def test_a_vocabulary_that_is_not_the_tokenizers(folder: Path, tmp_path: Path) -> None:
    lines = (folder / "vocab.txt").read_text().splitlines()
    (folder / "vocab.txt").write_text("\n".join([*lines[:10], *lines[11:], lines[10]]) + "\n")
    _, warnings = written(folder, tmp_path / "b")
    assert any("vocab.txt and tokenizer.json disagree" in warning for warning in warnings)
    assert (tmp_path / "b" / "vocab.txt").read_text().splitlines() == lines


def lowered_as_sentence_transformers(tokenizer: Tokenizer) -> Tokenizer:
    if not _has_lowercase(tokenizer.normalizer):
        parts = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *parts])
    return tokenizer


@pytest.mark.parametrize("kind", KINDS)
def test_texts_in_lower_case(tmp_path: Path, kind: str) -> None:
    source = write_folder(tmp_path / "a", kind, {"tokenizer_class": GENERIC, **ROLES})
    reference = lowered_as_sentence_transformers(Tokenizer.from_file(str(source / "tokenizer.json")))
    written(source, tmp_path / "b", lower_case=True)
    all_same(tmp_path / "b", [row.ids for row in reference.encode_batch(TEXTS)], TEXTS)


@pytest.mark.parametrize("strip", [None, True, False])
def test_cased_word_pieces_in_lower_case(folder: Path, tmp_path: Path, strip: bool | None) -> None:
    edit_json(folder / "tokenizer_config.json", do_lower_case=False, strip_accents=strip)
    cased = transformers.AutoTokenizer.from_pretrained(folder).backend_tokenizer
    reference = lowered_as_sentence_transformers(Tokenizer.from_str(cased.to_str()))
    tokenizer, _ = written(folder, tmp_path / "b", lower_case=True)
    assert tokenizer.is_bert
    for text in [*MULTILINGUAL, *code_points()]:
        made = tokenizer.backend_tokenizer.normalizer.normalize_str(text)
        assert made == reference.normalizer.normalize_str(text)
    texts = ["HELLO World", "H\u00c9LLO", *MULTILINGUAL]
    all_same(tmp_path / "b", [row.ids for row in reference.encode_batch(texts)], texts)


def test_what_no_tokenizer_json_can_say(folder: Path, tmp_path: Path) -> None:
    edit_json(folder / "tokenizer_config.json", split_special_tokens=True)
    _, warnings = written(folder, tmp_path / "b")
    assert any("split_special_tokens" in warning for warning in warnings)

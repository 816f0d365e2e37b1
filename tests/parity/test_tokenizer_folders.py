"""Tokenizer folders whose files disagree, repeat tokens or name them with flags: read as AutoTokenizer reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from bert_onnx.tokenization import load_tokenizer

transformers.logging.set_verbosity(transformers.logging.CRITICAL)

WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "The", "hello", "world", "##s", "un", "##aff", "##able"),
    *("low", "new", "york", "New", "York", "<e1>", "a", "b", "_s", "wor", "京", "東", "##京", ".", ",", "<s>", "</s>"),
    *("<pad>", "<mask>"),
]
TEXTS = [
    *("Hello  the world .", "un[MASK]aff un [MASK] aff", "New York new york", "strip  strip a strip. xstripx"),
    *("low<e1>low", "one<e1>one one. <e1> one", "wor_s worlds hel\x00lo", " <s>a</s> [mask] <mask>b "),
    *("東京 a東b", "[CLS] a [SEP]"),
]
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def token(content: str, *flags: str) -> dict[str, Any]:
    """An added token as files write it, with the flags that are on."""
    return {"content": content, **{name: name in flags for name in _FLAGS}}


def object_token(content: str, *flags: str) -> dict[str, Any]:
    return {"__type": "AddedToken", **token(content, *flags)}


#: Name: (tokenizer_config.json, special_tokens_map.json, added_tokens.json, added tokens of tokenizer.json or None).
FOLDERS: dict[str, tuple[Any, Any, Any, Any]] = {
    "prefix beside vocab.txt": ({"wordpieces_prefix": "_"}, None, None, None),
    "cleaning beside vocab.txt": ({"clean_text": False}, None, None, None),
    "prefix beside tokenizer.json": ({"wordpieces_prefix": "_", "clean_text": False}, None, None, {}),
    "no basic tokenizer": ({"do_basic_tokenize": False}, None, None, None),
    "no basic tokenizer of MPNet": (
        {"do_basic_tokenize": False, "tokenizer_class": "MPNetTokenizer"}, None, None, None,
    ),
    "listed twice": (
        {"added_tokens_decoder": {"31": token("strip"), "33": token("strip", "lstrip")}}, None, None, None,
    ),
    "listed and additional, with other flags": (
        {
            "added_tokens_decoder": {"31": token("strip", "rstrip", "normalized")},
            "additional_special_tokens": [object_token("strip", "lstrip")],
        },
        None, None, None,
    ),
    "listed and additional, without flags": (
        {"added_tokens_decoder": {"31": token("strip", "rstrip")}, "additional_special_tokens": ["strip"]},
        None, None, None,
    ),
    "extra token with flags": (
        {
            "added_tokens_decoder": {"31": token("one")},
            "extra_special_tokens": {"image_token": object_token("one", "rstrip")},
        },
        None, None, None,
    ),
    "mask with other flags than tokenizer.json": (
        {"mask_token": object_token("[MASK]", "lstrip", "normalized", "special")}, None, None,
        {4: token("[MASK]", "rstrip", "special")},
    ),
    "a role that tokenizer.json has as a plain token": ({}, None, None, {2: token("[CLS]", "rstrip")}),
    "additional token that tokenizer.json has with flags": (
        {}, {"additional_special_tokens": ["strip"]}, None, {31: token("strip", "rstrip", "normalized")},
    ),
    "additional token with flags, and tokenizer.json with others": (
        {}, {"additional_special_tokens": [token("one", "single_word")]}, None, {31: token("one", "lstrip")},
    ),
    "added_tokens.json and tokenizer.json share an id": ({}, None, {"one": 31}, {31: token("strip")}),
    "added_tokens.json beside tokenizer.json": ({}, None, {"one": 32, "low": 14}, {31: token("strip", "special")}),
    "added_tokens.json with a role that a file names": (
        {"mask_token": "<mask>"}, None, {"<mask>": 31, "[MASK]": 4}, None,
    ),
}  # fmt: skip


def write(folder: Path, files: tuple[Any, Any, Any, Any]) -> None:
    config, special, added, of_tokenizer = files
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    values = {
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", **config},
        "special_tokens_map.json": special,
        "added_tokens.json": added,
    }
    for name, value in values.items():
        if value is not None:
            (folder / name).write_text(json.dumps(value), encoding="utf-8")
    if of_tokenizer is not None:
        made = transformers.BertTokenizerFast(str(folder / "vocab.txt")).backend_tokenizer
        document = json.loads(made.to_str())
        document["added_tokens"] = [{"id": index, **value} for index, value in of_tokenizer.items()]
        (folder / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")


@pytest.mark.parametrize("name", FOLDERS)
def test_read_as_transformers_reads_them(tmp_path: Path, name: str) -> None:
    write(tmp_path, FOLDERS[name])
    ours, reference = load_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    expected = reference(TEXTS, return_offsets_mapping=True)
    found = ours(TEXTS, return_offsets_mapping=True)
    assert found["input_ids"] == expected["input_ids"]
    assert [list(map(tuple, row)) for row in found["offset_mapping"]] == expected["offset_mapping"]
    for skip in (False, True):
        assert ours.batch_decode(expected["input_ids"], skip) == reference.batch_decode(expected["input_ids"], skip)
    assert ours.get_vocab() == reference.get_vocab()
    theirs = reference.added_tokens_decoder
    mine = {index: tuple(getattr(one, flag) for flag in _FLAGS) for index, one in ours.added_tokens_decoder.items()}
    assert mine == {index: tuple(getattr(one, flag) for flag in _FLAGS) for index, one in theirs.items()}
    assert ours.all_special_ids == reference.all_special_ids


@pytest.mark.parametrize("name", FOLDERS)
def test_written_files_say_the_same(tmp_path: Path, name: str) -> None:
    write(tmp_path, FOLDERS[name])
    ours = load_tokenizer(tmp_path)
    ours.save_pretrained(tmp_path / "saved")
    for again in (
        load_tokenizer(tmp_path / "saved"),
        transformers.AutoTokenizer.from_pretrained(tmp_path / "saved"),
    ):
        assert again(TEXTS)["input_ids"] == ours(TEXTS)["input_ids"]

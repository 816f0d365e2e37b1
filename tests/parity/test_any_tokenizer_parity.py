"""Tokenizers of every kind, under every class name, against transformers' AutoTokenizer."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import transformers
from trained_tokenizers import KINDS, ROLES, TEXTS, write_folder
from vocabularies import TINY_VOCAB, edit_json, write_vocab

from bert_onnx.errors import InputError, TokenizerError, UsageError
from bert_onnx.tokenization import BertTokenizer, BertTokenizerFast, load_tokenizer

pytestmark = pytest.mark.slow

transformers.logging.set_verbosity(transformers.logging.CRITICAL)

GENERIC = "PreTrainedTokenizerFast"
MASK = {"content": "<mask>", "lstrip": True, "rstrip": False, "normalized": False, "single_word": False}
FOLDERS: list[tuple[dict[str, Any], dict[str, Any] | None]] = [
    ({"tokenizer_class": "XLMRobertaTokenizer", **ROLES}, None),
    ({"tokenizer_class": "XLMRobertaTokenizerFast"}, None),
    ({"tokenizer_class": GENERIC, **ROLES}, None),
    ({"tokenizer_class": GENERIC}, None),
    ({"tokenizer_class": GENERIC}, {**ROLES, "mask_token": MASK, "additional_special_tokens": ["<x1>", "<pad>"]}),
    ({"tokenizer_class": GENERIC, **ROLES, "added_tokens_decoder": {"4": {**MASK, "special": True}}}, None),
    ({"tokenizer_class": GENERIC, **ROLES, "split_special_tokens": True}, None),
    (
        {"tokenizer_class": GENERIC, **ROLES, "additional_special_tokens": ["<new>"]},
        {"additional_special_tokens": ["<b>"]},
    ),
    ({"tokenizer_class": GENERIC, **ROLES, "padding_side": "left", "truncation_side": "left"}, None),
    ({"tokenizer_class": GENERIC, **ROLES, "model_max_length": 77, "clean_up_tokenization_spaces": True}, None),
    ({"tokenizer_class": GENERIC, **ROLES, "model_input_names": ["input_ids", "attention_mask"]}, None),
    ({"tokenizer_class": "RobertaTokenizer", **ROLES}, None),
    ({"tokenizer_class": "RobertaTokenizerFast", "add_prefix_space": True, "trim_offsets": False}, None),
    ({"tokenizer_class": "GPT2Tokenizer", **ROLES}, None),
    ({"tokenizer_class": "MPNetTokenizer", **ROLES, "do_lower_case": False}, None),
    ({"tokenizer_class": "DistilBertTokenizer", **ROLES}, None),
    ({"tokenizer_class": "BertTokenizer", **ROLES}, None),
]
ENCODINGS: list[dict[str, Any]] = [
    {},
    {"add_special_tokens": False},
    {"truncation": True, "max_length": 12},
    {"truncation": "only_first", "max_length": 24, "stride": 3, "return_overflowing_tokens": True},
]
PROPERTIES = (
    *("all_special_tokens", "all_special_ids", "pad_token_id", "mask_token_id", "unk_token_id", "cls_token_id"),
    *("sep_token", "bos_token", "eos_token", "padding_side", "truncation_side", "model_max_length", "vocab_size"),
    *("special_tokens_map", "additional_special_tokens", "pad_token_type_id"),
)


def flags(tokenizer: Any) -> dict[int, tuple[Any, ...]]:
    found = tokenizer.added_tokens_decoder.items()
    return {i: (t.content, t.single_word, t.lstrip, t.rstrip, t.normalized, t.special) for i, t in found}


def same(ours: Any, reference: Any, texts: list[str]) -> None:
    for name in PROPERTIES:
        assert getattr(ours, name) == getattr(reference, name), name
    assert set(ours.model_input_names) == set(reference.model_input_names)
    assert (len(ours), flags(ours)) == (len(reference), flags(reference))
    same_rows(ours, reference, texts)


def same_rows(ours: Any, reference: Any, texts: list[str]) -> None:
    for pairs in (None, texts[::-1]):
        for options in ENCODINGS[:3] if pairs else ENCODINGS:
            wanted = {"return_offsets_mapping": True, "return_special_tokens_mask": True, **options}
            expected, found = reference(texts, pairs, **wanted), ours(texts, pairs, **wanted)
            assert set(found) == set(expected.keys())
            for name in expected:
                assert found[name] == expected[name], (name, options)
            for i in range(len(found["input_ids"])):
                assert found.word_ids(i) == expected.word_ids(i)
                assert found.sequence_ids(i) == expected.sequence_ids(i)
                assert found.tokens(i) == expected.tokens(i)
    if type(ours.backend_tokenizer.post_processor).__name__ != "RobertaProcessing":  # which repeats windows of pairs
        question, options = "what?", {"truncation": "only_second", "max_length": 40, "stride": 3}
        options |= {"return_overflowing_tokens": True, "return_token_type_ids": True}
        expected, found = (t([question] * len(texts), texts, **options) for t in (reference, ours))
        for name in expected:
            assert found[name] == expected[name], name
    rows = [reference(text)["input_ids"] for text in texts]
    for skip in (True, False):
        assert ours.batch_decode(rows, skip) == reference.batch_decode(rows, skip)
    for text in texts[::4]:
        tokens = reference.tokenize(text)
        assert ours.tokenize(text) == tokens
        assert ours.convert_tokens_to_string(tokens) == reference.convert_tokens_to_string(tokens)
        assert ours.encode(text, "") == reference.encode(text, "")
    if reference.pad_token is not None:
        expected, found = (t(texts, padding=True, pad_to_multiple_of=8) for t in (reference, ours))
        for name in expected:
            assert found[name] == expected[name], name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("config", "special"), FOLDERS, ids=lambda value: str(value)[:60])
def test_every_kind_under_every_class(
    tmp_path: Path, kind: str, config: dict[str, Any], special: dict[str, Any] | None
) -> None:
    folder = write_folder(tmp_path / "a", kind, config, special)
    ours = load_tokenizer(folder)
    try:
        reference = transformers.AutoTokenizer.from_pretrained(folder)
    except TypeError:  # BERT's classes fail where a tokenizer.json has no normaliser; that is no reason to refuse it
        assert kind == "bpe"
        assert ours(TEXTS).input_ids
        return
    same(ours, reference, TEXTS)
    ours.save_pretrained(tmp_path / "b")
    same(load_tokenizer(tmp_path / "b"), reference, TEXTS[::5])
    same(ours, transformers.AutoTokenizer.from_pretrained(tmp_path / "b"), TEXTS[::5])


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_transformers_4_does_not_know(tmp_path: Path, kind: str) -> None:
    ours = load_tokenizer(write_folder(tmp_path / "a", kind, {"tokenizer_class": "TokenizersBackend", **ROLES}))
    folder = write_folder(tmp_path / "b", kind, {"tokenizer_class": GENERIC, **ROLES})
    same(ours, transformers.AutoTokenizer.from_pretrained(folder), TEXTS[::3])


@pytest.mark.parametrize(
    "name",
    [
        *("RetriBertTokenizer", "SqueezeBertTokenizer", "DPRContextEncoderTokenizer", "LayoutLMTokenizer"),
        *("MPNetTokenizer", "FunnelTokenizer"),
    ],
)
def test_other_classes_that_read_bert_s_vocabulary(tmp_path: Path, name: str) -> None:
    write_vocab(tmp_path / "vocab.txt", [*TINY_VOCAB, "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<unk>", "<mask>"])
    edit_json(tmp_path / "tokenizer_config.json", tokenizer_class=name, model_max_length=64)
    same(load_tokenizer(tmp_path), getattr(transformers, f"{name}Fast").from_pretrained(tmp_path), TEXTS[::3])


def write_merges(folder: Path, model: dict[str, Any]) -> None:
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"])]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("options", [{}, {"trim_offsets": False, "mask_token": "<mask>"}])
def test_a_vocabulary_with_merges(tmp_path: Path, options: dict[str, Any]) -> None:
    model = json.loads((write_folder(tmp_path, "bpe", {}) / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (tmp_path / "tokenizer.json").unlink()
    write_merges(tmp_path, model)
    edit_json(tmp_path / "tokenizer_config.json", tokenizer_class="RobertaTokenizer", **options)
    same_rows(load_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path), TEXTS)
    (tmp_path / "merges.txt").write_text("#version: 0.2\nno such\n")
    with pytest.raises(TokenizerError, match=r"merges\.txt is damaged or belongs to another"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocab.json").write_text('{"a": "b"}')
    with pytest.raises(TokenizerError, match="no object of ids by token"):
        load_tokenizer(tmp_path)


def test_herbert_s_merges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moses = ModuleType("sacremoses")  # transformers' class asks for it and makes no use of it on its way to a fast one
    moses.__dict__.update(MosesPunctNormalizer=lambda **_: None, MosesTokenizer=lambda **_: None)
    monkeypatch.setitem(sys.modules, "sacremoses", moses)
    pieces = ["d", "e", "d</w>", "e</w>", "de</w>"]
    vocabulary = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *pieces])}
    write_merges(tmp_path, {"vocab": vocabulary, "merges": [("d", "e</w>")]})
    edit_json(tmp_path / "tokenizer_config.json", tokenizer_class="HerbertTokenizer")
    ours, reference = load_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = ["de dd, ed\u00e9", "<mask> x"]
    for name in ("input_ids", "token_type_ids", "offset_mapping"):
        found, expected = (t(texts, texts[::-1], return_offsets_mapping=True)[name] for t in (ours, reference))
        assert found == expected


@pytest.mark.parametrize("name", ["roberta", "xlm-roberta", "camembert"])
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_the_class_of_a_family_where_no_file_names_one(tmp_path: Path, kind: str, name: str) -> None:
    folder = write_folder(tmp_path, kind, {})
    (folder / "tokenizer_config.json").unlink()
    (folder / "config.json").write_text(json.dumps({"model_type": name}))
    same(load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder), TEXTS[::9])


@pytest.mark.parametrize(
    "config",
    [
        {"tokenizer_class": "XLMRobertaTokenizer", "mask_token": "<named>"},
        {"tokenizer_class": "BertTokenizer", "from_slow": True},
        {
            "tokenizer_class": GENERIC,
            "added_tokens_decoder": {
                "28": {"content": "<s>", "lstrip": True, "normalized": False, "special": True},
                "8": {"content": "<s>", "lstrip": False, "normalized": False, "special": True},
            },
        },
    ],
    ids=str,
)
def test_what_settings_decide(tmp_path: Path, config: dict[str, Any]) -> None:
    folder = write_folder(tmp_path, "pieces", config)
    write_vocab(folder / "vocab.txt", TINY_VOCAB)
    texts = ["hello <named> world", "a <s> b", "un hello"]
    same(load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder), texts)


def test_the_padding_of_tokenizer_json_names_its_token(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "unigram", {"tokenizer_class": GENERIC})
    block = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None}
    edit_json(folder / "tokenizer.json", padding={**block, "pad_id": 1, "pad_type_id": 0, "pad_token": "<pad>"})
    same(load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder), TEXTS[::9])
    edit_json(folder / "tokenizer_config.json", pad_token=None)
    assert load_tokenizer(folder).pad_token is None


def test_rows_have_the_ids_that_the_settings_list(tmp_path: Path) -> None:
    """Where added_tokens_decoder and vocab.txt disagree, transformers takes one for rows, the other for text."""
    moved = [TINY_VOCAB[0], *TINY_VOCAB[5:8], *TINY_VOCAB[1:5], *TINY_VOCAB[8:]]
    write_vocab(tmp_path / "vocab.txt", moved)
    listed = {str(i): {"content": token, "special": True} for i, token in enumerate(TINY_VOCAB[:5])}
    edit_json(tmp_path / "tokenizer_config.json", tokenizer_class="BertTokenizer", added_tokens_decoder=listed)
    ours, reference = load_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = ["hello [MASK] a", "[SEP] hello"]
    assert ours(texts)["input_ids"] == reference(texts)["input_ids"]
    assert any("is listed with id 2, but the library gives it" in warning for warning in ours.warnings)


@pytest.mark.parametrize("kind", KINDS)
def test_where_things_stand_in_each_other(tmp_path: Path, kind: str) -> None:
    folder = write_folder(tmp_path, kind, {"tokenizer_class": GENERIC, **ROLES})
    ours, reference = load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder)
    text, pair = "Straße, naïve 北京 <mask> words", "it is 日本"
    for arguments in (([text, pair], None), ([text, pair], [pair, text])):
        found, expected = (t(*arguments, padding=True) for t in (ours, reference))
        assert found.n_sequences == expected.n_sequences
        assert found.is_fast
        for row in (0, 1):
            length = len(found["input_ids"][row])
            for token in range(length):
                for name in ("token_to_chars", "token_to_word", "token_to_sequence"):
                    assert getattr(found, name)(row, token) == getattr(expected, name)(row, token), (name, row, token)
            for sequence in range(found.n_sequences):
                for index in range(24):
                    for name in ("char_to_token", "char_to_word", "word_to_tokens", "word_to_chars"):
                        mine = _ask(getattr(found, name), row, index, sequence)
                        assert mine == _ask(getattr(expected, name), row, index, sequence), (name, row, index)
    single, theirs = ours(text), reference(text)
    assert single.char_to_token(3) == theirs.char_to_token(3)
    assert single.word_to_chars(1) == theirs.word_to_chars(1)
    with pytest.raises(UsageError, match="Token 99"):
        single.token_to_word(99)


def _ask(method: Any, *arguments: int) -> Any:
    try:
        return method(*arguments)
    except TypeError:  # the reference unpacks None for a character or a word that is not there
        return None


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "paris", "big", "##ger"]


def both(folder: Path) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    vocab = folder / "vocab.txt"
    vocab.write_text("\n".join(WORDS) + "\n")
    return (
        (BertTokenizer(vocab), transformers.BertTokenizer(str(vocab))),
        (BertTokenizerFast(vocab), transformers.BertTokenizerFast(str(vocab))),
    )


def test_other_ways_to_ask(tmp_path: Path) -> None:
    for ours, reference in both(tmp_path):
        for options in ({}, {"max_length": 4, "truncation": True}, {"padding": "max_length", "max_length": 9}):
            expected = reference.encode_plus("hello bigger", "world", **options)
            assert dict(ours.encode_plus("hello bigger", "world", **options)) == dict(expected)
            batch = [("hello bigger", "world"), ("paris", "hello")]
            expected = reference.batch_encode_plus(batch, return_length=True, **options)
            assert dict(ours.batch_encode_plus(batch, return_length=True, **options)) == dict(expected)
            for pair in (None, [7, 8]):
                expected = reference.prepare_for_model([5, 6, 7, 8], pair, **options)
                assert dict(ours.prepare_for_model([5, 6, 7, 8], pair, **options)) == dict(expected)
        rows = [reference("hello"), reference("hello bigger world")]
        for options in ({}, {"pad_to_multiple_of": 8}, {"padding": "max_length", "max_length": 9}):
            assert dict(ours.pad(list(map(dict, rows)), **options)) == dict(reference.pad(rows, **options))
        expected = reference.pad({"input_ids": [2, 5, 3]}, padding="max_length", max_length=5)
        assert dict(ours.pad({"input_ids": [2, 5, 3]}, padding="max_length", max_length=5)) == dict(expected)
        for arguments in ({"text": "hello", "text_target": "world"}, {"text_target": ["world", "hello"]}):
            assert dict(ours(**arguments)) == dict(reference(**arguments))
        assert ours.encode(["hello", "big"], is_split_into_words=True) == reference.encode(
            ["hello", "big"], is_split_into_words=True
        )
        for kind in ("np", "pt"):
            found = ours(["hello", "hello big"], padding=True, return_tensors=kind)
            expected = reference(["hello", "hello big"], padding=True, return_tensors=kind)
            assert all((found[name] == expected[name]).all() for name in expected)
        assert ours("hello", return_length=True).length == reference("hello", return_length=True)["length"]
        with pytest.raises(InputError, match="takes a list"):
            ours.batch_encode_plus("hello")
        with pytest.raises(InputError, match="needs a column input_ids"):
            ours.pad({"ids": [1]})


def test_added_tokens(tmp_path: Path) -> None:
    for ours, reference in both(tmp_path):
        for tokenizer in (ours, reference):
            assert tokenizer.add_tokens("<new>") == 1
            assert tokenizer.add_tokens(["<n2>", "<n3>"], special_tokens=True) == 2
        texts = ["hello <new> <n2>", "<n2><n3> big"]
        assert ours(texts).input_ids == reference(texts)["input_ids"]
        assert ours.additional_special_tokens == reference.additional_special_tokens
        row = reference(texts[0])["input_ids"]
        assert ours.decode(row, skip_special_tokens=True) == reference.decode(row, skip_special_tokens=True)
        changes = {"cls_token": "<c>", "additional_special_tokens": ["<x>"]}
        assert ours.add_special_tokens(changes) == reference.add_special_tokens(changes)
        for replace in (False, True):
            changes = {"additional_special_tokens": ["<y>" if replace else "<z>"]}
            for tokenizer in (ours, reference):
                tokenizer.add_special_tokens(changes, replace_additional_special_tokens=replace)
            assert ours.additional_special_tokens == reference.additional_special_tokens
        assert ours.cls_token == reference.cls_token == "<c>"
        assert ours("hello <x> <c>").input_ids == reference("hello <x> <c>")["input_ids"]
        with pytest.raises(UsageError, match="no_role"):
            ours.add_special_tokens({"no_role": "x"})


@pytest.mark.parametrize("fast", [True, False])
def test_settings_of_a_call_win_over_the_folder(tmp_path: Path, fast: bool) -> None:
    both(tmp_path)
    mine, theirs = (
        (BertTokenizerFast, transformers.BertTokenizerFast) if fast else (BertTokenizer, transformers.BertTokenizer)
    )
    options: dict[str, Any] = {"do_lower_case": False, "mask_token": "<m>", "model_max_length": 5}
    ours, reference = mine.from_pretrained(tmp_path, **options), theirs.from_pretrained(tmp_path, **options)
    assert ours("Hello <m> big", truncation=True).input_ids == reference("Hello <m> big", truncation=True)["input_ids"]
    with pytest.raises(UsageError, match="no setting 'nonsense'"):
        mine.from_pretrained(tmp_path, nonsense=1)
    split = mine.from_pretrained(tmp_path, split_special_tokens=True, additional_special_tokens=["<new>"])
    reference = theirs.from_pretrained(tmp_path, split_special_tokens=True, additional_special_tokens=["<new>"])
    text = "hello [MASK] <new> world"
    assert split(text).input_ids == reference(text)["input_ids"]

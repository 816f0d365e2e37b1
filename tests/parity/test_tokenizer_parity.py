"""Both tokenizers against the transformers classes of the same name: ids, type ids, masks, offsets, words, text."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizer_corpus import MODEL, MULTILINGUAL, TEXT, TINY_VOCAB, VOCAB, WANTED, code_points, real_strings

from bert_onnx.tokenization import AddedToken, BertTokenizer, BertTokenizerFast, load_tokenizer

pytestmark = pytest.mark.slow

transformers.logging.set_verbosity(transformers.logging.CRITICAL)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "vocab.txt"
    path.write_text("".join(f"{token}\n" for token in TINY_VOCAB), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def slow_pair() -> tuple[BertTokenizer, Any]:
    return BertTokenizer.from_pretrained(MODEL), transformers.BertTokenizer.from_pretrained(MODEL)


@pytest.fixture(scope="module")
def fast_pair() -> tuple[BertTokenizerFast, Any]:
    return load_tokenizer(MODEL), transformers.BertTokenizerFast.from_pretrained(MODEL)


def same(ours: Any, reference: Any, texts: Any, pairs: Any = None, **options: Any) -> tuple[Any, Any]:
    """Encode with both and compare every column; returns both results."""
    expected = reference(texts, pairs, return_special_tokens_mask=True, **options)
    found = ours(texts, pairs, return_special_tokens_mask=True, **options)
    assert set(found) == set(expected.keys())
    for name in expected:
        if found[name] != expected[name]:
            raise AssertionError(_first_difference(name, texts, pairs, found[name], expected[name], options))
    return found, expected


def _first_difference(name: str, texts: Any, pairs: Any, found: Any, expected: Any, options: Any) -> str:
    if isinstance(texts, list) and len(found) == len(expected) == len(texts):
        i = next(i for i, row in enumerate(expected) if row != found[i])
        texts, found, expected = texts[i], found[i], expected[i]
    return f"{name} of {texts!r}, {pairs!r} with {options}:\n{found}\nis not the reference's\n{expected}"


def same_details(ours: BertTokenizerFast, reference: Any, texts: Any, pairs: Any = None, **options: Any) -> None:
    """The same, with offsets, and what a result can be asked row by row."""
    found, expected = same(ours, reference, texts, pairs, return_offsets_mapping=True, **options)
    rows = list(enumerate(expected.encodings))
    assert [found.word_ids(i) for i, _ in rows] == [row.word_ids for _, row in rows]
    assert [found.sequence_ids(i) for i, _ in rows] == [row.sequence_ids for _, row in rows]
    assert [found.tokens(i) for i, _ in rows] == [row.tokens for _, row in rows]
    assert found.offsets == [row.offsets for _, row in rows]


def chunks(strings: tuple[str, ...] | list[str], size: int = 1000) -> list[list[str]]:
    return [list(strings[i : i + size]) for i in range(0, len(strings), size)]


# -- real strings


def test_corpus_is_large_enough() -> None:
    assert len(set(real_strings())) >= WANTED >= 20_000


def test_slow_on_real_strings(slow_pair: tuple[BertTokenizer, Any]) -> None:
    for chunk in chunks(real_strings()):
        same(*slow_pair, chunk)


def test_fast_on_real_strings(fast_pair: tuple[BertTokenizerFast, Any]) -> None:
    for chunk in chunks(real_strings()):
        same_details(*fast_pair, chunk)


def test_slow_on_every_code_point(slow_pair: tuple[BertTokenizer, Any]) -> None:
    for chunk in chunks(code_points()):
        same(*slow_pair, chunk)


def test_fast_on_every_code_point(fast_pair: tuple[BertTokenizerFast, Any]) -> None:
    for chunk in chunks(code_points()):
        same_details(*fast_pair, chunk)


def test_single_texts_and_tokens(
    slow_pair: tuple[BertTokenizer, Any], fast_pair: tuple[BertTokenizerFast, Any]
) -> None:
    for text in MULTILINGUAL:
        for ours, reference in (slow_pair, fast_pair):
            same(ours, reference, text)
            assert ours.encode(text) == reference.encode(text)
            assert ours.tokenize(text) == reference.tokenize(text)


# -- options

OPTIONS = [
    {"do_lower_case": lower, "strip_accents": strip, "tokenize_chinese_chars": cjk}
    for lower, strip, cjk in itertools.product((True, False), (None, True, False), (True, False))
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options(options: dict[str, Any]) -> None:
    texts = [*MULTILINGUAL, *real_strings()[60:1200:4], *code_points()[::9]]
    same(BertTokenizer(VOCAB, **options), transformers.BertTokenizer(str(VOCAB), **options), texts)
    same_details(BertTokenizerFast(VOCAB, **options), transformers.BertTokenizerFast(str(VOCAB), **options), texts)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("strip", [None, True])
def test_never_split(lower: bool, strip: bool | None) -> None:
    kept = ["don't", "C:\\dir\\file", "Straße", "naïve", "text[MASK]glued[SEP]together", "it's", "ΣΑΣ", "snake_case"]
    options = {"never_split": kept, "do_lower_case": lower, "strip_accents": strip}
    texts = [*MULTILINGUAL, *kept, " ".join(kept), *real_strings()[100:600]]
    same(BertTokenizer(VOCAB, **options), transformers.BertTokenizer(str(VOCAB), **options), texts)


def test_without_basic_tokenizer() -> None:
    texts = [*MULTILINGUAL, *real_strings()[:1000], *code_points()[::11]]
    for lower in (True, False):
        options = {"do_basic_tokenize": False, "do_lower_case": lower}
        same(BertTokenizer(VOCAB, **options), transformers.BertTokenizer(str(VOCAB), **options), texts)


def test_tiny_vocabulary(tiny: Path) -> None:
    texts = [
        *MULTILINGUAL,
        *TINY_VOCAB,
        "unaffable UNWANTED,running lowest low low abcbc ab.c é中文K mask [unused1] ##",
    ]
    for options in ({}, {"do_lower_case": False}, {"strip_accents": False}):
        same(BertTokenizer(tiny, **options), transformers.BertTokenizer(str(tiny), **options), texts)
        same_details(BertTokenizerFast(tiny, **options), transformers.BertTokenizerFast(str(tiny), **options), texts)


def test_other_special_tokens(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    names = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
    path.write_text("\n".join([*names, *TINY_VOCAB[5:]]) + "\n", encoding="utf-8")
    tokens = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), names, strict=True))
    texts = [*MULTILINGUAL, "low<mask>low </s> [MASK] <MASK>", "<s>unaffable"]
    same(BertTokenizer(path, **tokens), transformers.BertTokenizer(str(path), **tokens), texts, padding=True)
    same_details(
        BertTokenizerFast(path, **tokens), transformers.BertTokenizerFast(str(path), **tokens), texts, padding=True
    )


# -- added tokens

ADDED = [
    ("<e1>", {"special": True, "normalized": False}),
    ("<e1>x", {"special": True, "normalized": False}),
    ("New York", {}),
    ("café", {}),
    ("strip", {"lstrip": True, "rstrip": True, "normalized": False}),
    ("left", {"lstrip": True}),
    ("one", {"single_word": True, "normalized": False}),
]
ADDED_TEXTS = [
    "a <e1> b <e1>x c <E1>",
    "in new york or New York or NEW YORK city",
    "café Cafe CAFÉ",
    "un strip ed  strip  strip",
    "a  left b left",
    "one stone, one. someone one",
    "one<e1>one strip<e1>left one",
    "<e1><e1>x<e1> [MASK]<e1>",
]


@pytest.mark.parametrize("lower", [True, False])
def test_added_tokens(lower: bool) -> None:
    ours, reference = BertTokenizer(VOCAB, lower), transformers.BertTokenizer(str(VOCAB), lower)
    fast, fast_reference = (
        BertTokenizerFast(VOCAB, do_lower_case=lower),
        transformers.BertTokenizerFast(str(VOCAB), do_lower_case=lower),
    )
    mine = [AddedToken(content, **flags) for content, flags in ADDED]

    def theirs() -> list[Any]:  # anew for each: the slow class changes what it is given
        return [transformers.AddedToken(content, **flags) for content, flags in ADDED]

    assert ours.add_tokens(mine) == reference.add_tokens(theirs())
    assert fast.add_tokens(mine) == fast_reference.add_tokens(theirs())
    assert len(ours) == len(reference)
    assert len(fast) == len(fast_reference)
    assert ours.get_vocab() == reference.get_vocab()
    assert fast.get_vocab() == fast_reference.get_vocab()
    texts = [*ADDED_TEXTS, *MULTILINGUAL]
    same(ours, reference, texts)
    same_details(fast, fast_reference, texts)
    for text in ADDED_TEXTS:
        for skip in (True, False):
            assert ours.decode(ours.encode(text), skip) == reference.decode(reference.encode(text), skip)
            assert fast.decode(fast.encode(text), skip) == fast_reference.decode(fast_reference.encode(text), skip)


def test_additional_special_tokens() -> None:
    names = ["<e1>", "</e1>", "[unused1]"]
    for ours, reference in (
        (BertTokenizer, transformers.BertTokenizer),
        (BertTokenizerFast, transformers.BertTokenizerFast),
    ):
        a = ours(VOCAB, additional_special_tokens=names)
        b = reference(str(VOCAB), additional_special_tokens=names)
        same(a, b, ["x <e1>y</e1> z <E1> [unused1] [UNUSED1]"])
        assert a.all_special_tokens == b.all_special_tokens
        assert a.all_special_ids == b.all_special_ids
        assert a.additional_special_tokens == b.additional_special_tokens
        assert a.special_tokens_map == b.special_tokens_map
        ids = b.encode("x <e1>y</e1> z")
        assert a.get_special_tokens_mask(ids, already_has_special_tokens=True) == b.get_special_tokens_mask(
            ids, already_has_special_tokens=True
        )


# -- pairs, truncation, padding

FIRSTS = [
    "The quick brown fox jumps over the lazy dog.",
    "short",
    "unaffable antidisestablishmentarianism " * 3,
    "中文 a b",
]
SECONDS = ["A second text that is a little longer than most others, is it not?", "tiny words", "x y z " * 9, "naïve"]


@pytest.mark.parametrize("padding", [False, True, "longest", "max_length"])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("truncation_side", ["right", "left"])
def test_truncation_and_padding(padding: bool | str, side: str, truncation_side: str) -> None:
    options = {"padding_side": side, "truncation_side": truncation_side, "model_max_length": 24}
    slow = (BertTokenizer(VOCAB, **options), transformers.BertTokenizer(str(VOCAB), **options))
    fast = (BertTokenizerFast(VOCAB, **options), transformers.BertTokenizerFast(str(VOCAB), **options))
    for truncation, max_length, multiple in itertools.product(
        (None, False, True, "longest_first"), (None, 7, 8, 16), (None, 8)
    ):
        if multiple and max_length == 7:
            continue
        kwargs = {
            "padding": padding,
            "truncation": truncation,
            "max_length": max_length,
            "pad_to_multiple_of": multiple,
        }
        for pairs in (None, SECONDS):
            same(*slow, FIRSTS, pairs, **kwargs)
            same_details(*fast, FIRSTS, pairs, **kwargs)
            same(*slow, FIRSTS, pairs, add_special_tokens=False, **kwargs)
            same_details(*fast, FIRSTS, pairs, add_special_tokens=False, **kwargs)
        same(*slow, FIRSTS[0], SECONDS[0], **kwargs)
        same_details(*fast, FIRSTS[0], SECONDS[0], **kwargs)


@pytest.mark.parametrize("truncation_side", ["right", "left"])
def test_truncation_of_one_side(truncation_side: str) -> None:
    options = {"truncation_side": truncation_side}
    slow = (BertTokenizer(VOCAB, **options), transformers.BertTokenizer(str(VOCAB), **options))
    fast = (BertTokenizerFast(VOCAB, **options), transformers.BertTokenizerFast(str(VOCAB), **options))
    long, short = FIRSTS[2] * 3, "short text"
    for length in range(9, 40):
        same(*slow, [long, FIRSTS[0] * 4], [short, short], truncation="only_first", max_length=length)
        same_details(*fast, [long, FIRSTS[0] * 4], [short, short], truncation="only_first", max_length=length)
        same(*slow, [short, short], [long, SECONDS[0] * 3], truncation="only_second", max_length=length)
        same_details(*fast, [short, short], [long, SECONDS[0] * 3], truncation="only_second", max_length=length)


def test_longest_first_for_all_lengths(
    slow_pair: tuple[BertTokenizer, Any], fast_pair: tuple[BertTokenizerFast, Any]
) -> None:
    sizes = [(a, b) for a in (0, 1, 2, 3, 5, 8, 9) for b in (0, 1, 2, 4, 7, 9)]
    firsts, seconds = ["a " * a for a, _ in sizes], ["b " * b for _, b in sizes]
    for limit in range(3, 22):
        for ours, reference in (slow_pair, fast_pair):
            same(ours, reference, firsts, seconds, truncation=True, max_length=limit)


@pytest.mark.parametrize("truncation_side", ["right", "left"])
@pytest.mark.parametrize("strategy", ["only_first", "only_second", "longest_first"])
def test_overflowing_windows(truncation_side: str, strategy: str) -> None:
    ours = BertTokenizerFast(VOCAB, truncation_side=truncation_side)
    reference = transformers.BertTokenizerFast(str(VOCAB), truncation_side=truncation_side)
    long, short = "unaffable words run on and on, " * 7, "what is it?"
    firsts = [short, short, long] if strategy == "only_second" else [long, short, long]
    seconds = [long, short, long] if strategy == "only_second" else [short, short, "it is"]
    if strategy == "only_second":
        firsts = [short] * 3
    for length, stride, padding in itertools.product((16, 17, 31), (0, 1, 3), (False, True, "max_length")):
        options = {
            "truncation": strategy,
            "max_length": length,
            "stride": stride,
            "padding": padding,
            "return_overflowing_tokens": True,
        }
        same_details(ours, reference, firsts, seconds, **options)
        same_details(ours, reference, firsts[0], seconds[0], **options)
        if strategy != "only_second":
            same_details(ours, reference, firsts, **options)


def test_batch_of_tuples_and_words(
    slow_pair: tuple[BertTokenizer, Any], fast_pair: tuple[BertTokenizerFast, Any]
) -> None:
    words = [text.split() or [""] for text in MULTILINGUAL]
    for ours, reference in (slow_pair, fast_pair):
        same(ours, reference, list(zip(FIRSTS, SECONDS, strict=True)), padding=True)
        same(ours, reference, words, is_split_into_words=True)
        same(ours, reference, words, words[::-1], is_split_into_words=True, truncation=True, max_length=20)
        same(ours, reference, words[3], is_split_into_words=True)
    same_details(*fast_pair, words, words[::-1], is_split_into_words=True, padding=True)


def test_empty_second_text(slow_pair: tuple[BertTokenizer, Any], fast_pair: tuple[BertTokenizerFast, Any]) -> None:
    for ours, reference in (slow_pair, fast_pair):
        same(ours, reference, "a", "")
        same(ours, reference, ["a", "", ""], ["", "b", ""])


def test_arrays(slow_pair: tuple[BertTokenizer, Any], fast_pair: tuple[BertTokenizerFast, Any]) -> None:
    for ours, reference in (slow_pair, fast_pair):
        for texts in ("one text", FIRSTS):
            found = ours(texts, padding=True, return_tensors="np")
            expected = reference(texts, padding=True, return_tensors="np")
            for name in expected:
                assert found[name].dtype == expected[name].dtype == "int64"
                assert found[name].tolist() == expected[name].tolist()
    found = fast_pair[0](FIRSTS, padding=True, return_tensors="np", return_offsets_mapping=True)
    expected = fast_pair[1](FIRSTS, padding=True, return_tensors="np", return_offsets_mapping=True)
    assert found.offset_mapping.tolist() == expected["offset_mapping"].tolist()


# -- the parts that make up a row


def test_rows_by_hand(slow_pair: tuple[BertTokenizer, Any], fast_pair: tuple[BertTokenizerFast, Any]) -> None:
    first, second = [7592, 2088], [102, 5]
    for ours, reference in (slow_pair, fast_pair):
        for pair in (None, second, []):
            assert ours.build_inputs_with_special_tokens(first, pair) == reference.build_inputs_with_special_tokens(
                first, pair
            )
            assert ours.create_token_type_ids_from_sequences(
                first, pair
            ) == reference.create_token_type_ids_from_sequences(first, pair)
        for pair in (True, False):
            assert ours.num_special_tokens_to_add(pair) == reference.num_special_tokens_to_add(pair)
        names = ("vocab_size", "unk_token_id", "sep_token_id", "pad_token_id", "cls_token_id", "mask_token_id")
        names += ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "model_max_length", "padding_side")
        names += ("truncation_side", "all_special_tokens", "all_special_ids", "is_fast")
        for name in names:
            assert getattr(ours, name) == getattr(reference, name), name
        assert ours.get_vocab() == reference.get_vocab()
        assert len(ours) == len(reference)
        tokens = ["[MASK]", "hello", "##ing", "no such token"]
        assert ours.convert_tokens_to_ids(tokens) == reference.convert_tokens_to_ids(tokens)
        assert ours.convert_tokens_to_ids("hello") == reference.convert_tokens_to_ids("hello")
        ids = [101, 7592, 0, 29999, 40000, 102]
        for skip in (True, False):
            assert ours.convert_ids_to_tokens(ids, skip) == reference.convert_ids_to_tokens(ids, skip)
        assert ours.convert_ids_to_tokens(7592) == reference.convert_ids_to_tokens(7592)
    slow, reference = slow_pair
    for pair in (None, second):
        assert slow.get_special_tokens_mask(first, pair) == reference.get_special_tokens_mask(first, pair)


def test_decode(slow_pair: tuple[BertTokenizer, Any], fast_pair: tuple[BertTokenizerFast, Any]) -> None:
    strings = [*MULTILINGUAL, *real_strings()[60:21_000:20]]
    for ours, reference in (slow_pair, fast_pair):
        rows = reference(strings)["input_ids"]
        for skip, clean in itertools.product((True, False), (True, False, None)):
            options = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": clean}
            assert ours.batch_decode(rows, **options) == reference.batch_decode(rows, **options)
    assert slow_pair[0].decode(7592) == slow_pair[1].decode(7592)
    assert slow_pair[0].decode([7592, 40000]) == slow_pair[1].decode([7592, 40000])
    assert fast_pair[0].decode([7592, 40000]) == fast_pair[1].decode([7592, 40000])


# -- files


@pytest.mark.parametrize("lower", [True, False])
def test_saved_files_open_in_both(tmp_path: Path, lower: bool) -> None:
    ours = BertTokenizerFast(VOCAB, do_lower_case=lower, model_max_length=77, additional_special_tokens=["<e1>"])
    ours.save_pretrained(tmp_path)
    texts = [*MULTILINGUAL, "a <e1> b"]
    for reference in (
        transformers.AutoTokenizer.from_pretrained(tmp_path),
        transformers.BertTokenizerFast.from_pretrained(tmp_path),
        transformers.BertTokenizer.from_pretrained(tmp_path),
    ):
        assert reference.model_max_length == 77
        again = (BertTokenizerFast if reference.is_fast else BertTokenizer).from_pretrained(tmp_path)
        same(again, reference, texts, truncation=True, padding="max_length")
        assert again.all_special_tokens == reference.all_special_tokens == ours.all_special_tokens
        row = reference("Hello, world!")["input_ids"]
        assert again.decode(row) == reference.decode(row)
    (tmp_path / "tokenizer.json").unlink()
    same_details(load_tokenizer(tmp_path), transformers.BertTokenizerFast.from_pretrained(tmp_path), texts)


@pytest.mark.parametrize("fast", [True, False])
def test_folders_that_transformers_saved(tmp_path: Path, fast: bool) -> None:
    mask = transformers.AddedToken("[MASK]", lstrip=True, special=True)
    kind = transformers.BertTokenizerFast if fast else transformers.BertTokenizer
    tokenizer = kind(str(VOCAB), do_lower_case=False, strip_accents=True, mask_token=mask, model_max_length=99)
    tokenizer.add_tokens(["newword", transformers.AddedToken("left", lstrip=True)])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<e1>"]})
    tokenizer.save_pretrained(tmp_path)
    texts = [*MULTILINGUAL, *ADDED_TEXTS, "a  [MASK] b newword Newword"]
    same(BertTokenizer.from_pretrained(tmp_path), transformers.BertTokenizer.from_pretrained(tmp_path), texts)
    same_details(load_tokenizer(tmp_path), transformers.BertTokenizerFast.from_pretrained(tmp_path), texts)
    assert load_tokenizer(tmp_path).model_max_length == 99


def test_older_folders(tmp_path: Path) -> None:
    """Added tokens spread over special_tokens_map.json and added_tokens.json, as before added_tokens_decoder."""
    (tmp_path / "vocab.txt").write_bytes(VOCAB.read_bytes())
    mask = {"content": "[MASK]", "single_word": False, "lstrip": True, "rstrip": False, "normalized": True}
    config = {
        "do_lower_case": False,
        "mask_token": {"__type": "AddedToken", **mask},
        "tokenizer_class": "BertTokenizer",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "max_len": 128}))
    special = {"mask_token": mask, "additional_special_tokens": ["<e1>"], "cls_token": "[CLS]"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(special))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<e1>": 30522, "newword": 30523}))
    texts = [*MULTILINGUAL, *ADDED_TEXTS, "a  [MASK] b newword Newword"]
    ours, reference = BertTokenizer.from_pretrained(tmp_path), transformers.BertTokenizer.from_pretrained(tmp_path)
    same(ours, reference, texts)
    assert ours.model_max_length == reference.model_max_length == 128
    same_details(load_tokenizer(tmp_path), transformers.BertTokenizerFast.from_pretrained(tmp_path), texts)


@pytest.mark.parametrize("class_name", ["BertTokenizer", "PreTrainedTokenizerFast", None])
@pytest.mark.parametrize("lower", [True, False, None])
def test_configuration_against_tokenizer_json(tmp_path: Path, class_name: str | None, lower: bool | None) -> None:
    """Which of tokenizer_config.json and tokenizer.json decides about the normaliser."""
    source = json.loads((MODEL / "tokenizer.json").read_text())
    source["normalizer"]["lowercase"] = False
    source["padding"]["direction"] = source["truncation"]["direction"] = "Left"
    (tmp_path / "tokenizer.json").write_text(json.dumps(source))
    config = {"tokenizer_class": class_name, "do_lower_case": lower, "model_max_length": 16}
    roles = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
    config = {name: value for name, value in (config | roles).items() if value is not None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    kind = getattr(
        transformers, "PreTrainedTokenizerFast" if class_name == "PreTrainedTokenizerFast" else "BertTokenizerFast"
    )
    ours, reference = load_tokenizer(tmp_path), kind.from_pretrained(tmp_path)
    assert ours.padding_side == reference.padding_side == "left"
    assert ours.truncation_side == reference.truncation_side == "left"
    names = {"return_token_type_ids": True}
    same_details(ours, reference, [*MULTILINGUAL, *FIRSTS], truncation=True, padding=True, **names)
    row = reference.encode("it 's a test , isn 't it ?")
    assert ours.decode(row) == reference.decode(row)


def test_save_vocabulary(tmp_path: Path, tiny: Path) -> None:
    for source in (VOCAB, tiny):
        for kind in (BertTokenizer, BertTokenizerFast):
            (path,) = kind(source).save_vocabulary(tmp_path, "copy")
            assert Path(path).name == "copy-vocab.txt"
            assert Path(path).read_bytes() == source.read_bytes()


def test_repeated_tokens_take_the_last_line(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*TINY_VOCAB, "low", "##est", "zzz"]) + "\n", encoding="utf-8")
    texts = ["low lowest zzz", *MULTILINGUAL]
    for ours, reference in (
        (BertTokenizer(path), transformers.BertTokenizer(str(path))),
        (BertTokenizerFast(path), transformers.BertTokenizerFast(str(path))),
    ):
        same(ours, reference, texts)
        assert ours.vocab_size == reference.vocab_size


# -- generated text

GENERATED = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@GENERATED
@given(text=TEXT, pair=st.none() | TEXT)
def test_generated_text(
    slow_pair: tuple[BertTokenizer, Any], fast_pair: tuple[BertTokenizerFast, Any], text: str, pair: str | None
) -> None:
    same(*slow_pair, text, pair)
    same_details(*fast_pair, text, pair)


@pytest.fixture(scope="module")
def cased_pairs(tiny: Path) -> list[tuple[Any, Any]]:
    added = ["ab", "abc", "bc[", "Σ", "é", "one two"]
    pairs: list[tuple[Any, Any]] = []
    for lower in (True, False):
        pairs.append((BertTokenizer(tiny, lower), transformers.BertTokenizer(str(tiny), lower)))
        pairs.append(
            (
                BertTokenizerFast(tiny, do_lower_case=lower),
                transformers.BertTokenizerFast(str(tiny), do_lower_case=lower),
            )
        )
    for ours, reference in pairs:
        ours.add_tokens(added)
        reference.add_tokens(added)
    return pairs


@GENERATED
@given(text=TEXT | st.text("abc[]Σσé one tw", max_size=40))
def test_generated_text_with_added_tokens(cased_pairs: list[tuple[Any, Any]], text: str) -> None:
    for ours, reference in cased_pairs:
        same(ours, reference, text)


@GENERATED
@given(ids=st.lists(st.integers(0, 31_000) | st.sampled_from([0, 100, 101, 102, 103, 1012, 1005, 1056]), max_size=20))
def test_generated_ids(
    slow_pair: tuple[BertTokenizer, Any], fast_pair: tuple[BertTokenizerFast, Any], ids: list[int]
) -> None:
    for ours, reference in (slow_pair, fast_pair):
        for skip, clean in itertools.product((True, False), (True, False)):
            assert ours.decode(ids, skip, clean) == reference.decode(ids, skip, clean)

"""The tokenizer in a graph against transformers' BertTokenizerFast: real strings, every code point, pairs, settings."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizer_corpus import MODEL, MULTILINGUAL, TEXT, TINY_VOCAB, VOCAB, code_points, real_strings

from bert_onnx.errors import UsageError
from bert_onnx.tasks import TASKS
from bert_onnx.text_input import takes_pairs, text_inputs, token_outputs
from bert_onnx.tokenization import AddedToken, BertTokenizerFast
from export.onnx_file.stream import write_model
from export.text_input.front import TextPlan, tokenizer_graph
from export.text_input.settings import TokenizerTables, tokenizer_tables
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.ort.text import TextRuntime

pytestmark = pytest.mark.slow

pytest.importorskip("onnxruntime_extensions")

transformers.logging.set_verbosity(transformers.logging.CRITICAL)

Arrays = dict[str, np.ndarray]
Make = Callable[..., TextRuntime]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    folder = tmp_path_factory.mktemp("tokenizers")
    numbers = itertools.count()
    known: dict[int, tuple[BertTokenizerFast, TokenizerTables]] = {}  # with the tokenizer: its id is not used anew

    def of(tokenizer: BertTokenizerFast, task: str = "fill-mask", longest: int = 256, opset: int = 18) -> TextRuntime:
        row = TASKS[task]
        if id(tokenizer) not in known:
            known[id(tokenizer)] = tokenizer, tokenizer_tables(tokenizer)
        plan = TextPlan(row, takes_pairs(row, True), known[id(tokenizer)][1], longest)
        path = folder / f"{next(numbers)}.onnx"
        write_model(tokenizer_graph(plan, opset, 8), path)
        return TextRuntime.open(path, text_inputs(row, plan.paired), token_outputs(row), RuntimeOptions(threads=1))

    return of


@pytest.fixture(scope="module")
def plain() -> BertTokenizerFast:
    return BertTokenizerFast(VOCAB)


@pytest.fixture(scope="module")
def sample(make: Make) -> tuple[TextRuntime, Any]:
    reference = transformers.BertTokenizerFast.from_pretrained(MODEL)
    return make(BertTokenizerFast.from_pretrained(MODEL)), reference


def same(runtime: TextRuntime, reference: Any, texts: list[str], pairs: Any = None, **options: Any) -> Arrays:
    """Run both, and compare every array; returns the graph's."""
    options = {"max_length": 256, "truncation": True, **options}
    expected = reference(texts, pairs, padding=True, return_tensors="np", return_token_type_ids=True, **options)
    found = runtime.run(texts, pairs)
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        if not np.array_equal(found[name], expected[name]):
            rows = range(len(texts))
            row = next(i for i in rows if _real(found, i) != _real(expected, i))
            raise AssertionError(
                f"{name} of {texts[row]!r}, {pairs and pairs[row]!r}: {_real(found, row)} is not {_real(expected, row)}"
            )
    return found


def _real(arrays: Any, row: int) -> list[int]:
    return [int(token) for token in arrays["input_ids"][row][arrays["attention_mask"][row] > 0]]


def in_batches(texts: Any, size: int = 200) -> list[list[str]]:
    return [list(texts[start : start + size]) for start in range(0, len(texts), size)]


# -- texts


def test_real_strings(sample: tuple[TextRuntime, Any]) -> None:
    """20,000 of them: none differs."""
    for batch in in_batches(sorted(real_strings(), key=len)):
        same(*sample, batch)


def test_every_code_point(sample: tuple[TextRuntime, Any]) -> None:
    for batch in in_batches(code_points()):
        same(*sample, batch)


def test_padding_between_short_and_long(sample: tuple[TextRuntime, Any]) -> None:
    found = same(*sample, ["a", "", "word " * 300, "b c"])
    assert found["attention_mask"].sum(axis=1).tolist() == [3, 2, 256, 4]
    assert found["truncated"].tolist() == [0, 0, 1, 0]


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(TEXT, min_size=1, max_size=4))
def test_generated_texts(sample: tuple[TextRuntime, Any], texts: list[str]) -> None:
    same(*sample, texts)


def test_text_cannot_forge_what_the_graph_marks_with(sample: tuple[TextRuntime, Any]) -> None:
    """Private-use characters stand for ends of texts and special tokens inside; a text's own are removed first."""
    marks = [chr(code) for code in range(0xE000, 0xE020)]
    texts = ["".join(f"{mark}a{mark} {mark} " for mark in marks), *(f"x{mark}y" for mark in marks), "".join(marks)]
    found = same(*sample, texts)
    assert len(found["input_ids"]) == len(texts)


# -- settings

OPTIONS = [
    {"do_lower_case": lower, "strip_accents": strip, "tokenize_chinese_chars": cjk}
    for lower, strip, cjk in ((True, False, True), (True, None, False), (False, None, True), (False, True, False))
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options(make: Make, options: dict[str, Any]) -> None:
    runtime = make(BertTokenizerFast(VOCAB, **options))
    reference = transformers.BertTokenizerFast(str(VOCAB), **options)
    for batch in in_batches([*MULTILINGUAL, *real_strings()[60:1200:9], *code_points()[::19]]):
        same(runtime, reference, batch)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "vocab.txt"
    path.write_text("".join(f"{token}\n" for token in TINY_VOCAB), encoding="utf-8")
    return path


def test_words_that_pieces_cover_in_part_are_unknown_as_a_whole(make: Make, tiny: Path) -> None:
    """The operator alone keeps the pieces before the gap: `un [UNK]`."""
    runtime, reference = make(BertTokenizerFast(tiny)), transformers.BertTokenizerFast(str(tiny))
    found = same(runtime, reference, ["unaffable unwxyz want unable abcx", "unx", "[UNK] unx[UNK]", "un unaff"])
    assert found["input_ids"][1].tolist()[:3] == [2, 1, 3]
    same(runtime, reference, list(MULTILINGUAL))


def test_other_special_tokens_and_added_ones(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    names = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
    path.write_text("\n".join([*names, *TINY_VOCAB[5:]]) + "\n", encoding="utf-8")
    roles = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), names, strict=True))
    further = ["<e1>", "<e1>x", "[unused1]", "a.b*c\\d", "two words", "Übung"]
    ours, reference = BertTokenizerFast(path, **roles), transformers.BertTokenizerFast(str(path), **roles)
    ours.add_tokens([AddedToken(content, normalized=False, special=True) for content in further])
    reference.add_tokens([transformers.AddedToken(content, normalized=False, special=True) for content in further])
    texts = ["low<mask>low </s> [MASK] <MASK>", "<s>unaffable a.b*c\\d a.bxc\\d", "<e1>x <e1><e1>xx [unused1]"]
    same(make(ours), reference, [*texts, "two words two  words Übung übung", *MULTILINGUAL])


@pytest.mark.parametrize(
    ("token", "complaint"),
    [
        (AddedToken("newword"), "normalised text"),
        (AddedToken("one", single_word=True, normalized=False), "between spaces"),
        (AddedToken("a\tb", normalized=False), "control characters"),
    ],
)
def test_added_tokens_that_no_operator_finds_are_refused(token: AddedToken, complaint: str) -> None:
    tokenizer = BertTokenizerFast(VOCAB)
    tokenizer.add_tokens([token])
    with pytest.raises(UsageError, match=complaint):
        tokenizer_tables(tokenizer)


def test_settings_that_no_operator_follows_are_refused() -> None:
    keeps_control = BertTokenizerFast(VOCAB)
    keeps_control.backend_tokenizer.normalizer.clean_text = False
    with pytest.raises(UsageError, match="clean_text"):
        tokenizer_tables(keeps_control)
    with pytest.raises(UsageError, match="on the left"):
        tokenizer_tables(BertTokenizerFast(VOCAB, truncation_side="left"))


# -- pairs

PAIRS = [
    ("", ""),
    ("a", ""),
    ("", "b"),
    ("short", "word " * 30),
    ("word " * 30, "short"),
    ("one two three four five six", "one two three four five"),
    ("one two three four five", "one two three four five six"),
    ("a b c d e f g h i j k l", "m n o p q r s t u v w x"),
    ("Who?", "Ada Lovelace was born in London [SEP] in 1815."),
]


@pytest.mark.parametrize("longest", [4, 5, 6, 8, 13, 16, 64])
def test_pairs_are_cut_like_the_reference(make: Make, plain: BertTokenizerFast, longest: int) -> None:
    runtime = make(plain, "next-sentence-prediction", longest)
    reference = transformers.BertTokenizerFast(str(VOCAB))
    found = same(runtime, reference, *map(list, zip(*PAIRS, strict=True)), max_length=longest)
    uncut = reference(*map(list, zip(*PAIRS, strict=True)))["input_ids"]
    assert found["truncated"].tolist() == [int(len(row) > longest) for row in uncut]


def test_contexts_are_cut_and_questions_are_not(make: Make, plain: BertTokenizerFast) -> None:
    runtime = make(plain, "question-answering", 12)
    reference = transformers.BertTokenizerFast(str(VOCAB))
    pairs = [(first, second) for first, second in PAIRS if len(first.split()) < 9 and second]
    texts, contexts = map(list, zip(*pairs, strict=True))
    same(runtime, reference, texts, contexts, max_length=12, truncation="only_second")
    cut = runtime.run(["word " * 30], ["context"])  # the reference refuses this; the graph keeps to its length
    assert cut["input_ids"].shape == (1, 12)
    assert cut["truncated"].tolist() == [1]


@pytest.mark.parametrize("task", ["text-classification", "pretraining"])
def test_second_texts_may_be_left_out(make: Make, plain: BertTokenizerFast, task: str) -> None:
    runtime, reference = make(plain, task, 12), transformers.BertTokenizerFast(str(VOCAB))
    texts, others = ["one two", "three", "word " * 30], ["", "four five six", ""]
    alone = same(runtime, reference, texts, max_length=12)
    mixed = runtime.run(texts, others)
    pair = same(runtime, reference, texts[1:2], others[1:2], max_length=12)
    assert _real(mixed, 0) == _real(alone, 0)
    assert _real(mixed, 1) == _real(pair, 0)
    assert _real(mixed, 2) == _real(alone, 2)
    assert alone["truncated"].tolist() == mixed["truncated"].tolist() == [0, 0, 1]


def test_choices(make: Make, plain: BertTokenizerFast) -> None:
    runtime, reference = (
        make(plain, "multiple-choice", 16),
        transformers.BertTokenizerFast(str(VOCAB)),
    )
    prompts = ["It was raining, so", "word " * 30]
    choices = [["she took an umbrella.", "the sun shone.", ""], ["a", "b " * 30, "c"]]
    flat = [(prompt, choice) for prompt, own in zip(prompts, choices, strict=True) for choice in own]
    expected = reference(
        *map(list, zip(*flat, strict=True)), max_length=16, truncation=True, padding=True, return_tensors="np"
    )
    found = runtime.run(prompts, choices)
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert np.array_equal(found[name], expected[name].reshape(2, 3, -1)), name
    assert found["truncated"].tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize("opset", [17, 20, 23])
def test_other_opsets(make: Make, plain: BertTokenizerFast, opset: int) -> None:
    runtime = make(plain, "next-sentence-prediction", 16, opset)
    same(runtime, transformers.BertTokenizerFast(str(VOCAB)), *map(list, zip(*PAIRS, strict=True)), max_length=16)

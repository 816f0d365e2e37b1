"""What each pipeline says of input that it cannot take, and what it says of text that it had to cut."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runtimes import VOCABULARY, rule_pipeline, zeros

from bert_onnx.errors import BertOnnxError, InputError, TokenizerError, UsageError

V = str(len(VOCABULARY))
RULES: dict[str, Any] = {
    "fill-mask": zeros(logits=f"B S {V}"),
    "pretraining": zeros(prediction_logits=f"B S {V}", seq_relationship_logits="B 2"),
    "text-classification": zeros(logits="B 2"),
    "token-classification": zeros(logits="B S 2"),
    "question-answering": zeros(start_logits="B S", end_logits="B S"),
    "next-sentence-prediction": zeros(logits="B 2"),
    "multiple-choice": zeros(logits="B C"),
    "text-generation": zeros(logits=f"B S {V}"),
}


def refused(folder: Path, task: str, *arguments: Any, **options: Any) -> BertOnnxError:
    changes = {"is_decoder": True} if task == "text-generation" else {}
    pipeline = rule_pipeline(folder, task, RULES[task], **changes)
    with pytest.raises(BertOnnxError) as caught:
        pipeline(*arguments, **options)
    assert not pipeline.runtime.calls, "nothing may run before everything is checked"
    return caught.value


@pytest.mark.parametrize(
    ("task", "arguments", "options", "kind", "words"),
    [
        ("fill-mask", (["[MASK]", "a b"],), {}, InputError, "text 1 has no [MASK]"),
        ("fill-mask", (["a " * 20 + "[MASK]"],), {}, InputError, "text 0 has no [MASK] in its first 12 tokens"),
        ("fill-mask", ("[MASK]",), {"targets": []}, UsageError, "no targets"),
        ("fill-mask", ("[MASK]",), {"targets": ["", " "]}, UsageError, "none that has a token"),
        ("fill-mask", ("[MASK]",), {"targets": ["a", 5]}, InputError, "target 1 is a int"),
        ("fill-mask", ("[MASK]",), {"tokenizer_kwargs": {"stride": 1}}, UsageError, "has 'stride'; it may have"),
        ("fill-mask", ("[MASK]",), {"tokenizer_kwargs": {"max_length": 0}}, UsageError, "max_length is 0"),
        ("fill-mask", ("[MASK]" * 20,), {"tokenizer_kwargs": {"truncation": False}}, InputError, "12"),
        ("fill-mask", ("[MASK]",), {"top_k": 0}, UsageError, "top_k is 0"),
        ("pretraining", ("[MASK]",), {"top_k": -1}, UsageError, "top_k is -1"),
        ("text-classification", ("a",), {"top_k": 1.5}, UsageError, "top_k is 1.5"),
        (
            "text-classification",
            ("a",),
            {"function_to_apply": "tanh"},
            UsageError,
            "None or one of sigmoid, softmax, none",
        ),
        ("text-classification", ("a",), {"truncation": "both"}, UsageError, "truncation is 'both'"),
        ("text-classification", ("a",), {"max_length": 0}, UsageError, "max_length is 0"),
        ("fill-mask", ("[MASK]",), {"batch_size": 0}, UsageError, "batch_size is 0"),
        ("pretraining", (["a", "b"], ["c"]), {}, InputError, "2 texts but 1"),
        ("text-classification", (["a", 3],), {}, InputError, "text 1 is a int"),
        ("text-classification", (["a", "b"], ["c"]), {}, InputError, "2 texts but 1"),
        ("text-classification", (["a"], [None]), {}, InputError, "pair 0 is a NoneType"),
        ("token-classification", ("a",), {"aggregation": "most"}, UsageError, "none, simple, first, average, max"),
        ("token-classification", ("a",), {"aggregation": "none", "stride": 2}, UsageError, "tokens would come twice"),
        ("token-classification", ("a " * 20,), {"stride": 10}, UsageError, "stride 10"),
        ("question-answering", (["a"], None), {}, InputError, "needs a context"),
        ("question-answering", (["a", ""], "b"), {}, InputError, "question 1 is empty"),
        ("question-answering", (["a"], [""]), {}, InputError, "context 0 is empty"),
        ("question-answering", ("a " * 12, "b"), {}, InputError, "question 0 leaves no room"),
        ("question-answering", ("a", "b"), {"top_k": 0}, UsageError, "top_k is 0"),
        ("question-answering", ("a", "b"), {"max_answer_len": 0}, UsageError, "max_answer_len is 0"),
        ("question-answering", ("a", "b"), {"max_seq_len": 13}, UsageError, "1 to 12 tokens"),
        ("question-answering", ("a", "b " * 12), {"doc_stride": 8}, UsageError, "from 0 to 7"),
        ("next-sentence-prediction", (["a"], None), {}, InputError, "needs a second text"),
        ("multiple-choice", (["a"], ["b", "c"]), {}, InputError, "one list of choices for each text"),
        ("multiple-choice", (["a", "b"], [["c"]]), {}, InputError, "2 texts but 1 lists"),
        ("multiple-choice", (["a", "b"], [["c"], []]), {}, InputError, "text 1 has no choices"),
        ("multiple-choice", (["a"], [["c", 1]]), {}, InputError, "of text 0 choice 1 is a int"),
        ("text-generation", (["a"],), {"max_new_tokens": 0}, UsageError, "max_new_tokens is 0"),
        ("text-generation", (["a", "b " * 10],), {}, InputError, "prompt 1 has 12 tokens"),
        ("text-generation", ([""],), {"add_special_tokens": False}, InputError, "prompt 0 has no tokens"),
    ],
)
def test_one_sentence_says_what_is_wrong(
    tmp_path: Path, task: str, arguments: tuple[Any, ...], options: dict[str, Any], kind: type, words: str
) -> None:
    error = refused(tmp_path, task, *arguments, **options)
    assert type(error) is kind
    assert words in str(error)


def test_a_decoder_that_reads_an_encoder_needs_its_states(tmp_path: Path) -> None:
    pipeline = rule_pipeline(
        tmp_path, "text-generation", RULES["text-generation"], is_decoder=True, add_cross_attention=True
    )
    with pytest.raises(UsageError, match="reads an encoder's states"):
        pipeline("a")


def test_filling_masks_needs_a_mask_token(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"mask_token": null}')
    with pytest.raises(TokenizerError, match="no mask token"):
        rule_pipeline(tmp_path, "fill-mask", RULES["fill-mask"])


@pytest.mark.parametrize("task", [task for task in RULES if task not in ("multiple-choice", "question-answering")])
def test_no_texts_give_no_results(tmp_path: Path, task: str) -> None:
    changes = {"is_decoder": True} if task == "text-generation" else {}
    pipeline = rule_pipeline(tmp_path, task, RULES[task], **changes)
    arguments = ([], []) if task == "next-sentence-prediction" else ([],)
    assert pipeline(*arguments) == []
    assert not pipeline.runtime.calls


def test_no_questions_and_no_prompts_give_no_results(tmp_path: Path) -> None:
    assert rule_pipeline(tmp_path, "question-answering", RULES["question-answering"])([], []) == []
    assert rule_pipeline(tmp_path, "multiple-choice", RULES["multiple-choice"])([], []) == []


LONG, SHORT = "a " * 20, "a b"


@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        ("fill-mask", (["[MASK] " + LONG, "[MASK] " + SHORT],)),
        ("pretraining", ([LONG, SHORT],)),
        ("text-classification", ([LONG, SHORT],)),
        ("text-classification", ([SHORT, SHORT], [LONG, SHORT])),
        ("token-classification", ([LONG, SHORT],)),
        ("next-sentence-prediction", ([SHORT, SHORT], [LONG, SHORT])),
        ("multiple-choice", ([SHORT, SHORT], [[SHORT, LONG], [SHORT, SHORT]])),
    ],
)
def test_text_that_was_cut_is_marked(tmp_path: Path, task: str, arguments: tuple[Any, ...]) -> None:
    pipeline = rule_pipeline(tmp_path, task, RULES[task])
    assert [result.truncated for result in pipeline(*arguments)] == [True, False]
    assert max(call["input_ids"].shape[-1] for call in pipeline.runtime.calls) == 12


def test_a_long_question_narrows_the_overlap(tmp_path: Path) -> None:
    pipeline = rule_pipeline(tmp_path, "question-answering", RULES["question-answering"])
    (answers,) = pipeline("a " * 7, "b c d e f g")
    assert answers.windows == 5  # two tokens of context fit; each window shares one with the one before
    context = [call["input_ids"][:, 9:11].tolist() for call in pipeline.runtime.calls]
    ids = [VOCABULARY.index(letter) for letter in "bcdefg"]
    assert [row for rows in context for row in rows] == [list(pair) for pair in pairwise(ids)]


def test_one_second_text_serves_all(tmp_path: Path) -> None:
    pipeline = rule_pipeline(tmp_path, "text-classification", RULES["text-classification"])
    pipeline(["a", "b"], "c")
    (call,) = pipeline.runtime.calls
    np.testing.assert_array_equal(call["input_ids"][:, 3], [VOCABULARY.index("c")] * 2)
    np.testing.assert_array_equal(call["token_type_ids"], [[0, 0, 0, 1, 1]] * 2)

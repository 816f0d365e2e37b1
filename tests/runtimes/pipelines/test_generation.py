"""Greedy generation by rule: what the runtime is asked, with and without a cache, and where texts end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runtimes import VOCABULARY, rule_pipeline

SIZE = len(VOCABULARY)
END = VOCABULARY.index("z")
TASKS = ("text-generation", "text-generation-with-past")


def alphabet(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The letter after the last one is the likeliest; [SEP] is followed by `a`. The cache holds the ids themselves."""
    ids = inputs["input_ids"]
    follows = np.where(ids == VOCABULARY.index("[SEP]"), VOCABULARY.index("a"), ids + 1)
    present = {}
    for part in ("key", "value"):
        if f"past_key_values.0.{part}" in inputs:
            new = np.broadcast_to(ids[:, None, :, None], (len(ids), 2, ids.shape[1], 2)).astype(np.float32)
            present[f"present.0.{part}"] = np.concatenate([inputs[f"past_key_values.0.{part}"], new], axis=2)
    return {"logits": np.eye(SIZE + 1, dtype=np.float32)[follows][..., :SIZE], **present}


def generator(folder: Path, task: str, **changes: Any) -> Any:
    return rule_pipeline(folder, task, alphabet, is_decoder=True, **changes)


def letters(tokens: tuple[int, ...]) -> str:
    return "".join(VOCABULARY[token] for token in tokens)


@pytest.mark.parametrize("task", TASKS)
def test_texts_grow_token_by_token(tmp_path: Path, task: str) -> None:
    pipeline = generator(tmp_path, task, max_position_embeddings=32)
    answers = pipeline(["p", "q r", "s t", "u v w", ""], max_new_tokens=3)
    assert [letters(answer.tokens) for answer in answers] == ["abc"] * 5
    assert [answer.text for answer in answers] == ["p a b c", "q r a b c", "s t a b c", "u v w a b c", "a b c"]
    assert {answer.continuation for answer in answers} == {"a b c"}
    assert {answer.finished for answer in answers} == {"length"}


def test_with_a_cache_the_prompt_is_read_once(tmp_path: Path) -> None:
    pipeline = generator(tmp_path, "text-generation-with-past", max_position_embeddings=32)
    pipeline(["q r", "s t"], max_new_tokens=4)
    calls = pipeline.runtime.calls
    assert [call["input_ids"].shape for call in calls] == [(2, 4), (2, 1), (2, 1), (2, 1)]
    assert [call["attention_mask"].shape for call in calls] == [(2, 4), (2, 5), (2, 6), (2, 7)]
    assert [call["past_key_values.0.key"].shape[2] for call in calls] == [0, 4, 5, 6]
    last = calls[-1]["past_key_values.0.value"][0, 0, :, 0]
    np.testing.assert_array_equal(last, [VOCABULARY.index(t) for t in ("[CLS]", "q", "r", "[SEP]", "a", "b")])


def test_without_a_cache_everything_is_read_again(tmp_path: Path) -> None:
    pipeline = generator(tmp_path, "text-generation", max_position_embeddings=32)
    pipeline(["q r"], max_new_tokens=3)
    assert [call["input_ids"].shape for call in pipeline.runtime.calls] == [(1, 4), (1, 5), (1, 6)]


@pytest.mark.parametrize("task", TASKS)
def test_a_text_that_ends_leaves_the_batch(tmp_path: Path, task: str) -> None:
    pipeline = generator(tmp_path, task, max_position_embeddings=32)
    answers = pipeline(["x", "b", "y"], max_new_tokens=5, eos_token_id=END, add_special_tokens=False)
    assert [letters(answer.tokens) for answer in answers] == ["yz", "cdefg", "z"]
    assert [answer.finished for answer in answers] == ["eos", "length", "eos"]
    assert [call["input_ids"].shape[0] for call in pipeline.runtime.calls] == [3, 2, 1, 1, 1]


@pytest.mark.parametrize("task", TASKS)
def test_each_of_several_tokens_ends_a_text(tmp_path: Path, task: str) -> None:
    ends = tuple(map(VOCABULARY.index, "ez"))
    pipeline = generator(tmp_path, task, max_position_embeddings=32, eos_token_id=ends)
    answers = pipeline(["x", "b", "h"], max_new_tokens=4, add_special_tokens=False)
    assert [(letters(a.tokens), a.finished) for a in answers] == [("yz", "eos"), ("cde", "eos"), ("ijkl", "length")]
    (one,) = pipeline(["b"], max_new_tokens=4, eos_token_id=[VOCABULARY.index("d")], add_special_tokens=False)
    assert letters(one.tokens) == "cd"
    (never,) = pipeline(["b"], max_new_tokens=4, eos_token_id=[], add_special_tokens=False)
    assert letters(never.tokens) == "cdef"


def test_all_texts_that_end_end_the_work(tmp_path: Path) -> None:
    pipeline = generator(tmp_path, "text-generation-with-past", max_position_embeddings=32, eos_token_id=END)
    pipeline(["y"], max_new_tokens=20, add_special_tokens=False)
    assert len(pipeline.runtime.calls) == 1


@pytest.mark.parametrize("task", TASKS)
def test_the_last_position_is_used_and_none_beyond_it(tmp_path: Path, task: str) -> None:
    pipeline = generator(tmp_path, task, max_position_embeddings=6)
    (answer,) = pipeline("q r", max_new_tokens=9)
    assert (letters(answer.tokens), answer.finished) == ("ab", "positions")
    (exact,) = pipeline("q r", max_new_tokens=2)
    assert exact.finished == "length"


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batches_hold_prompts_of_one_length(tmp_path: Path, batch_size: int) -> None:
    pipeline = generator(tmp_path, "text-generation-with-past", max_position_embeddings=32)
    texts = ["a b", "c", "d e", "f", "g h i", "j"]
    answers = pipeline(texts, max_new_tokens=1, batch_size=batch_size)
    assert [answer.text for answer in answers] == [f"{text} a" for text in texts]
    assert max(call["input_ids"].shape[0] for call in pipeline.runtime.calls) == min(batch_size, 3)
    assert all(call["attention_mask"].all() for call in pipeline.runtime.calls)

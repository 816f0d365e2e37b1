"""What the input check lets through, and what it says of the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bert_onnx.config import BertConfig
from bert_onnx.errors import InputError
from bert_onnx.tasks import find_task, input_ports
from runtimes.engines.inputs import check_inputs, check_right_padding

CONFIG = BertConfig(
    vocab_size=100,
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=8,
    max_position_embeddings=10,
    type_vocab_size=2,
    is_decoder=True,
    add_cross_attention=True,
)
PLAIN = input_ports(find_task("fill-mask"), CONFIG)
CACHED = input_ports(find_task("text-generation-with-past"), CONFIG)
CHOICES = input_ports(find_task("multiple-choice"), CONFIG)


def plain(batch: int = 2, sequence: int = 5) -> dict[str, np.ndarray]:
    ids = np.arange(batch * sequence, dtype=np.int64).reshape(batch, sequence)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def cached(past: int = 3, sequence: int = 2) -> dict[str, np.ndarray]:
    inputs = plain(2, sequence)
    inputs["attention_mask"] = np.ones((2, past + sequence), np.int64)
    inputs["encoder_hidden_states"] = np.zeros((2, 4, 8), np.float32)
    inputs["encoder_attention_mask"] = np.ones((2, 4), np.int64)
    for part in ("key", "value"):
        inputs[f"past_key_values.0.{part}"] = np.zeros((2, 2, past, 4), np.float32)
    return inputs


def with_value(name: str, index: tuple[int, ...], value: float) -> dict[str, np.ndarray]:
    inputs = plain()
    inputs[name][index] = value
    return inputs


def test_good_inputs_pass_unchanged_and_uncopied() -> None:
    inputs = plain()
    checked = check_inputs(inputs, PLAIN, CONFIG)
    assert list(checked) == [port.name for port in PLAIN]
    assert all(checked[name] is inputs[name] for name in inputs)


@pytest.mark.parametrize("dtype", [np.int32, np.int16, np.uint8, np.uint64, ">i4"])
def test_whole_numbers_of_any_width_become_int64(dtype: Any) -> None:
    inputs = {name: array.astype(dtype) for name, array in plain().items()}
    checked = check_inputs(inputs, PLAIN, CONFIG)
    for name, array in plain().items():
        assert checked[name].dtype == np.int64
        np.testing.assert_array_equal(checked[name], array)


def test_a_mask_of_booleans_and_a_transposed_array_pass() -> None:
    inputs = plain(2, 5)
    inputs["attention_mask"] = np.array([[True] * 5, [True] * 2 + [False] * 3])
    inputs["input_ids"] = np.arange(10).reshape(5, 2).T
    checked = check_inputs(inputs, PLAIN, CONFIG)
    assert checked["attention_mask"].sum() == 7
    assert checked["input_ids"].flags.c_contiguous
    np.testing.assert_array_equal(checked["input_ids"][1], [1, 3, 5, 7, 9])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input_ids": None}, ["missing input_ids", "It takes input_ids, attention_mask, token_type_ids"]),
        ({"position_ids": np.zeros((2, 5), np.int64)}, ["unknown position_ids"]),
        ({"input_ids": [[1, 2]]}, ["input_ids is a list"]),
        ({"input_ids": np.zeros((2, 5), np.float32)}, ["input_ids holds float32", "int64"]),
        ({"input_ids": np.array([["a"] * 5] * 2)}, ["input_ids holds"]),
        ({"input_ids": np.full((2, 5), 2**63, np.uint64)}, ["input_ids holds 9223372036854775808"]),
        ({"input_ids": np.zeros(5, np.int64)}, ["shape [5]", "2 axes"]),
        ({"input_ids": np.zeros((2, 5, 1), np.int64)}, ["shape [2, 5, 1]"]),
        ({"input_ids": np.zeros((3, 5), np.int64)}, ["attention_mask has length 2 on axis 0", "input_ids has 3"]),
        ({"token_type_ids": np.zeros((2, 4), np.int64)}, ["token_type_ids has length 4 on axis 1"]),
        (dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), np.zeros((0, 5), np.int64)), ["batch_size"]),
        (
            dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), np.zeros((2, 0), np.int64)),
            ["input_ids is empty", "sequence_length"],
        ),
        (with_value("input_ids", (1, 2), 100), ["input_ids[1, 2] is 100", "0 to 99"]),
        (with_value("input_ids", (0, 4), -1), ["input_ids[0, 4] is -1"]),
        (with_value("token_type_ids", (0, 1), 2), ["token_type_ids[0, 1] is 2", "0 to 1"]),
        (with_value("attention_mask", (1, 0), 2), ["attention_mask[1, 0] is 2"]),
        (with_value("attention_mask", (1, 0), -1), ["attention_mask[1, 0] is -1"]),
        (with_value("attention_mask", (1,), 0), ["attention_mask[1] is all 0"]),
        (plain(1, 11), ["11 tokens", "10 positions"]),
    ],
)
def test_bad_inputs_are_refused_by_name_and_index(change: dict[str, Any], words: list[str]) -> None:
    inputs = {name: array for name, array in {**plain(), **change}.items() if array is not None}
    with pytest.raises(InputError) as caught:
        check_inputs(inputs, PLAIN, CONFIG)
    for word in words:
        assert word in str(caught.value)


def test_without_limits_only_shapes_and_masks_count() -> None:
    inputs = plain(1, 11)
    inputs["input_ids"][:] = 10**6
    assert check_inputs(inputs, PLAIN)["input_ids"].max() == 10**6


@pytest.mark.parametrize(("past", "sequence"), [(0, 1), (0, 10), (3, 2), (9, 1)])
def test_a_cache_may_be_empty_and_may_fill_all_positions(past: int, sequence: int) -> None:
    assert len(check_inputs(cached(past, sequence), CACHED, CONFIG)) == len(CACHED)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"attention_mask": np.ones((2, 2), np.int64)}, ["attention_mask has length 2", "make it 5"]),
        ({"past_key_values.0.value": np.zeros((2, 2, 4, 4), np.float32)}, ["past_key_values.0.value has length 4"]),
        ({"past_key_values.0.key": np.zeros((2, 3, 3, 4), np.float32)}, ["length 3 on axis 1", "has 2"]),
        ({"past_key_values.0.key": np.zeros((2, 2, 3, 4), np.int64)}, ["holds int64", "float32"]),
        ({"past_key_values.0.key": np.full((2, 2, 3, 4), np.nan, np.float32)}, ["key[0, 0, 0, 0] is nan"]),
        ({"encoder_hidden_states": np.full((2, 4, 8), 1e300)}, ["encoder_hidden_states[0, 0, 0] is inf"]),
        ({"encoder_hidden_states": np.zeros((2, 4, 7), np.float32)}, ["length 7 on axis 2", "has 8"]),
        ({"encoder_attention_mask": np.zeros((2, 4), np.int64)}, ["encoder_attention_mask[0] is all 0"]),
    ],
)
def test_caches_and_encoder_states_are_checked(change: dict[str, np.ndarray], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        check_inputs({**cached(), **change}, CACHED, CONFIG)
    for word in words:
        assert word in str(caught.value)


def test_the_cache_counts_against_the_positions() -> None:
    with pytest.raises(InputError, match=r"11 tokens, 9 of them in the cache, and the model has 10"):
        check_inputs(cached(9, 2), CACHED, CONFIG)


def test_half_precision_states_become_float32() -> None:
    inputs = cached()
    inputs["encoder_hidden_states"] = np.full((2, 4, 8), 0.5, np.float16)
    assert check_inputs(inputs, CACHED, CONFIG)["encoder_hidden_states"].dtype == np.float32


def test_choices_have_three_axes() -> None:
    inputs = {name: np.stack([array, array, array], axis=1) for name, array in plain().items()}
    assert check_inputs(inputs, CHOICES, CONFIG)["input_ids"].shape == (2, 3, 5)
    inputs["attention_mask"][1, 2] = 0
    with pytest.raises(InputError, match=r"attention_mask\[1, 2\] is all 0"):
        check_inputs(inputs, CHOICES, CONFIG)


@pytest.mark.parametrize("mask", [[[1, 1, 0], [1, 0, 0]], [[1, 1, 1]], [[[1, 0], [1, 1]]]])
def test_padding_on_the_right_is_right(mask: list[object]) -> None:
    check_right_padding({"attention_mask": np.array(mask)})


@pytest.mark.parametrize(
    ("mask", "place"),
    [([[1, 1, 1], [0, 1, 1]], r"\[1, 1\]"), ([[1, 0, 1]], r"\[0, 2\]"), ([[[1, 1], [0, 1]]], r"\[0, 1, 1\]")],
)
def test_padding_elsewhere_is_named(mask: list[object], place: str) -> None:
    with pytest.raises(InputError, match=rf"attention_mask{place} is a real token after padding"):
        check_right_padding({"attention_mask": np.array(mask)})

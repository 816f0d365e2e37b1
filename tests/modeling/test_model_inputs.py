"""Inputs that a model cannot take: one clear sentence each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from modeling_samples import tiny_inputs, tiny_model

from bert_onnx import ConfigError, InputError

IDS = torch.ones(2, 6, dtype=torch.long)
CACHE = tuple((torch.zeros(2, 4, 3, 8), torch.zeros(2, 4, 3, 8)) for _ in range(2))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "either input_ids or inputs_embeds"),
        ({"input_ids": IDS, "inputs_embeds": torch.zeros(2, 6, 32)}, "either input_ids or inputs_embeds"),
        ({"input_ids": IDS[0]}, "input_ids has the shape \\(6,\\)"),
        ({"inputs_embeds": torch.zeros(2, 6, 31)}, "inputs_embeds has the shape"),
        ({"input_ids": IDS, "token_type_ids": IDS[:, :5]}, "token_type_ids has the shape"),
        ({"input_ids": IDS, "position_ids": IDS[0]}, "position_ids has the shape"),
        ({"input_ids": torch.ones(1, 17, dtype=torch.long)}, "17 tokens is longer than the 16 positions"),
        ({"input_ids": IDS, "head_mask": torch.ones(3, 4)}, "head_mask has the shape"),
        ({"input_ids": IDS, "head_mask": torch.ones(1, 2, 4)}, "head_mask has the shape"),
    ],
)
def test_shapes_that_do_not_fit(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_model()(**inputs)


@pytest.mark.parametrize(
    ("cache", "message"),
    [
        (CACHE[:1], "has 1 layers; the model has 2"),
        (((torch.zeros(2, 4, 3, 8),), CACHE[1]), r"past_key_values\[0\]"),
        ((CACHE[0], (torch.zeros(2, 4, 3), torch.zeros(2, 4, 3))), r"past_key_values\[1\]"),
        ((CACHE[0], (torch.zeros(2, 2, 3, 8), torch.zeros(2, 2, 3, 8))), r"past_key_values\[1\]"),
    ],
)
def test_caches_that_do_not_fit(cache: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_model("BertLMHeadModel")(IDS, past_key_values=cache)


def test_cache_counts_towards_the_longest_sequence() -> None:
    cache = tuple((torch.zeros(2, 4, 11, 8), torch.zeros(2, 4, 11, 8)) for _ in range(2))
    with pytest.raises(InputError, match="17 tokens"):
        tiny_model("BertLMHeadModel")(IDS, past_key_values=cache)


def test_cache_for_an_encoder() -> None:
    with pytest.raises(InputError, match="not a decoder"):
        tiny_model()(IDS, past_key_values=CACHE)


def test_encoder_states_for_a_decoder_without_cross_attention() -> None:
    with pytest.raises(InputError, match="add_cross_attention"):
        tiny_model("BertLMHeadModel")(IDS, encoder_hidden_states=torch.zeros(2, 4, 32))


def test_encoder_states_of_the_wrong_rank() -> None:
    with pytest.raises(InputError, match="encoder_hidden_states"):
        tiny_model("BertLMHeadModel", add_cross_attention=True)(IDS, encoder_hidden_states=torch.zeros(4, 32))


def test_choices_need_their_axis() -> None:
    model = tiny_model("BertForMultipleChoice")
    with pytest.raises(InputError, match="choices"):
        model(IDS)
    with pytest.raises(InputError, match="choices"):
        model()
    with pytest.raises(InputError, match="attention_mask"):
        model(**tiny_inputs("BertForMultipleChoice") | {"attention_mask": IDS})


def test_question_answering_needs_two_labels() -> None:
    with pytest.raises(ConfigError, match="num_labels is 3"):
        tiny_model("BertForQuestionAnswering", num_labels=3)


@torch.no_grad()
def test_choices_take_a_three_dimensional_mask_each() -> None:
    model = tiny_model("BertForMultipleChoice")
    inputs = tiny_inputs("BertForMultipleChoice")
    wide = inputs["attention_mask"][:, :, None, :].expand(-1, -1, 6, -1)
    torch.testing.assert_close(model(**inputs).logits, model(**inputs | {"attention_mask": wide}).logits)


@torch.no_grad()
def test_default_positions_and_segments() -> None:
    model = tiny_model()
    explicit = model(IDS, position_ids=torch.arange(6)[None], token_type_ids=torch.zeros_like(IDS))
    assert torch.equal(model(IDS).last_hidden_state, explicit.last_hidden_state)


@torch.no_grad()
def test_chunks_need_not_divide_the_length() -> None:
    whole, chunked = tiny_model(), tiny_model(chunk_size_feed_forward=4)
    torch.testing.assert_close(whole(IDS).last_hidden_state, chunked(IDS).last_hidden_state, atol=1e-6, rtol=0)

"""Decoding against transformers: caches, cross-attention, masks; and against our own path without a cache."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from model_reference import (
    IMPLEMENTATIONS,
    POSITIONS,
    TINY,
    TOLERANCE,
    difference,
    leaves,
    make_inputs,
    make_pair,
    output_difference,
)
from torch import Tensor

from bert_onnx import BertLMHeadModel

pytestmark = pytest.mark.slow

B, S, E, D, K = 3, 7, 5, TINY["hidden_size"], TINY["hidden_size"] // TINY["num_attention_heads"]
H, L = TINY["num_attention_heads"], TINY["num_hidden_layers"]


def encoder_inputs(mask: str) -> dict[str, Tensor]:
    """States of an encoder, and a mask over them: "none", "2d" or "3d"."""
    generator = torch.Generator().manual_seed(9)
    inputs = {"encoder_hidden_states": torch.randn(B, E, D, generator=generator)}
    if mask == "2d":
        inputs["encoder_attention_mask"] = torch.tensor([[1, 1, 1, 1, 0], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]])
    if mask == "3d":
        inputs["encoder_attention_mask"] = (torch.rand(B, S, E, generator=generator) > 0.4).long()
    return inputs


def part(inputs: dict[str, Tensor], start: int, stop: int) -> dict[str, Any]:
    """The tokens from `start` to `stop`, with the mask over everything up to `stop`."""
    cut = {name: inputs[name][:, start:stop] for name in ("input_ids", "token_type_ids")}
    return cut | {"attention_mask": inputs["attention_mask"][:, :stop]}


def visible_rows(inputs: dict[str, Tensor], start: int, stop: int) -> Tensor:
    """Which rows see a token at all: the others are arbitrary, as a mask hides everything from them."""
    return inputs["attention_mask"][:, :stop].cumsum(1)[:, start:stop] > 0


@torch.no_grad()
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("mask", ["none", "2d", "3d"])
@pytest.mark.parametrize("class_name", ["BertModel", "BertLMHeadModel"])
def test_cross_attention(class_name: str, mask: str, position: str | None, implementation: str) -> None:
    theirs, ours = make_pair(
        class_name,
        is_decoder=True,
        add_cross_attention=True,
        position_embedding_type=position,
        implementation=implementation,
    )
    inputs: dict[str, Any] = make_inputs(class_name) | encoder_inputs(mask) | {"use_cache": position == "absolute"}
    for attentions in (False, True):
        options = {"output_attentions": attentions, "output_hidden_states": True}
        expected, got = theirs(**inputs, **options), ours(**inputs, **options)
        assert output_difference(expected, got) <= TOLERANCE
        assert (got.cross_attentions is not None) == attentions
        assert got.past_key_values is None or [len(layer) for layer in got.past_key_values] == [4] * L


@torch.no_grad()
@pytest.mark.parametrize("head_mask", [[1.0, 0.0, 1.0, 0.5], [[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]]])
def test_cross_attention_with_head_mask(head_mask: list[Any]) -> None:
    theirs, ours = make_pair("BertLMHeadModel", add_cross_attention=True)
    inputs = make_inputs("") | encoder_inputs("2d") | {"head_mask": torch.tensor(head_mask), "output_attentions": True}
    assert output_difference(theirs(**inputs), ours(**inputs)) <= TOLERANCE


@torch.no_grad()
def test_encoder_ignores_encoder_states() -> None:
    theirs, ours = make_pair("BertForMaskedLM")
    inputs = make_inputs("") | encoder_inputs("2d")
    assert output_difference(theirs(**inputs), ours(**inputs)) <= TOLERANCE


@torch.no_grad()
def test_decoder_with_cross_attention_but_no_encoder() -> None:
    theirs, ours = make_pair("BertLMHeadModel", add_cross_attention=True)
    got = ours(**make_inputs(""))
    assert output_difference(theirs(**make_inputs("")), got) <= TOLERANCE
    assert [len(layer) for layer in got.past_key_values] == [2] * L


@torch.no_grad()
@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("position", POSITIONS)
def test_steps_against_transformers(position: str | None, implementation: str, cross: bool) -> None:
    """One token at a time, where transformers is right for every position type."""
    theirs, ours = make_pair(
        "BertLMHeadModel",
        position_embedding_type=position,
        implementation=implementation,
        add_cross_attention=cross,
    )
    inputs = make_inputs("")
    encoder: dict[str, Any] = encoder_inputs("2d") if cross else {}
    their_cache = our_cache = None
    for step in range(S):
        expected = theirs(**part(inputs, step, step + 1), **encoder, past_key_values=their_cache)
        got = ours(
            **part(inputs, step, step + 1),
            **encoder,
            past_key_values=our_cache,
            cache_position=torch.tensor([step]),
            output_hidden_states=True,
        )
        assert difference(expected.logits, got.logits) <= TOLERANCE
        assert difference(expected.past_key_values, got.past_key_values) <= TOLERANCE
        their_cache, our_cache = expected.past_key_values, got.past_key_values
        assert our_cache[0][0].shape == (B, H, step + 1, K)


@torch.no_grad()
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("past", [1, 3, 6])
def test_several_tokens_after_a_cache_against_transformers(past: int, implementation: str) -> None:
    theirs, ours = make_pair("BertLMHeadModel", implementation=implementation)
    inputs = make_inputs("")
    expected, got = theirs(**part(inputs, 0, past)), ours(**part(inputs, 0, past))
    assert output_difference(expected, got) <= TOLERANCE
    options = {"output_attentions": True, "output_hidden_states": True}
    expected = theirs(**part(inputs, past, S), past_key_values=expected.past_key_values, **options)
    got = ours(**part(inputs, past, S), past_key_values=got.past_key_values, **options)
    assert output_difference(expected, got) <= TOLERANCE


def empty_cache() -> tuple[tuple[Tensor, Tensor], ...]:
    return tuple((torch.zeros(B, H, 0, K), torch.zeros(B, H, 0, K)) for _ in range(L))


@torch.no_grad()
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("cuts", [(0, 7), (0, 1, 7), (0, 3, 7), (0, 2, 4, 6, 7), (0, 6, 7)], ids=str)
@pytest.mark.parametrize("padding", ["right", "left"])
def test_pieces_give_what_the_whole_gives(
    padding: str, cuts: tuple[int, ...], position: str | None, implementation: str
) -> None:
    """From an empty cache, in pieces of any length: the numbers of one pass without a cache."""
    _, ours = make_pair("BertLMHeadModel", position_embedding_type=position, implementation=implementation)
    inputs = make_inputs("")
    if padding == "left":
        inputs["attention_mask"] = inputs["attention_mask"].flip(1)
        inputs["attention_mask"][0] = 1  # so that every piece has a row that sees something
    whole = ours(**inputs, use_cache=False)
    assert whole.past_key_values is None
    cache: Any = empty_cache()
    for start, stop in pairwise(cuts):
        got = ours(**part(inputs, start, stop), past_key_values=cache)
        rows = visible_rows(inputs, start, stop)
        assert difference(whole.logits[:, start:stop][rows], got.logits[rows]) <= TOLERANCE
        cache = got.past_key_values
    assert cache[-1][1].shape == (B, H, S, K)


@torch.no_grad()
def test_cached_cross_attention_is_used() -> None:
    """Cross keys and values in the cache win over encoder states, which may then be left out."""
    _, ours = make_pair("BertLMHeadModel", add_cross_attention=True)
    inputs, encoder = make_inputs(""), encoder_inputs("2d")
    whole = ours(**inputs, **encoder)
    cache = ours(**part(inputs, 0, 4), **encoder).past_key_values
    other = encoder | {"encoder_hidden_states": torch.full((B, E, D), 3.0)}
    without = {"encoder_attention_mask": encoder["encoder_attention_mask"]}
    for passed in (encoder, other, without):
        got = ours(**part(inputs, 4, S), **passed, past_key_values=cache)
        assert difference(whole.logits[:, 4:], got.logits) <= TOLERANCE
        assert difference(whole.past_key_values, got.past_key_values) <= TOLERANCE


@torch.no_grad()
def test_cache_of_own_tokens_only_recomputes_cross_attention() -> None:
    """(key, value) without the cross pair: as a graph does it whose cache holds the decoder's tokens only."""
    _, ours = make_pair("BertLMHeadModel", add_cross_attention=True)
    inputs, encoder = make_inputs(""), encoder_inputs("2d")
    whole = ours(**inputs, **encoder)
    cache = tuple(layer[:2] for layer in ours(**part(inputs, 0, 4), **encoder).past_key_values)
    got = ours(**part(inputs, 4, S), **encoder, past_key_values=cache)
    assert difference(whole.logits[:, 4:], got.logits) <= TOLERANCE
    assert difference(whole.past_key_values, got.past_key_values) <= TOLERANCE


@torch.no_grad()
def test_cache_without_returning_one() -> None:
    _, ours = make_pair("BertLMHeadModel")
    inputs = make_inputs("")
    cache = ours(**part(inputs, 0, 4)).past_key_values
    got = ours(**part(inputs, 4, S), past_key_values=cache, use_cache=False)
    assert got.past_key_values is None
    assert difference(ours(**inputs).logits[:, 4:], got.logits) <= TOLERANCE


@torch.no_grad()
def test_three_dimensional_mask_with_a_cache() -> None:
    """Rows of the whole's mask for the new tokens."""
    _, ours = make_pair("BertLMHeadModel")
    inputs = make_inputs("") | {"attention_mask": torch.ones(B, S, S).tril().long()}
    inputs["attention_mask"][:, 3:, 1] = 0
    whole = ours(**inputs)
    cache = ours(**(part(inputs, 0, 4) | {"attention_mask": inputs["attention_mask"][:, :4, :4]})).past_key_values
    mask = {"attention_mask": inputs["attention_mask"][:, 4:]}
    got = ours(**(part(inputs, 4, S) | mask), past_key_values=cache)
    assert difference(whole.logits[:, 4:], got.logits) <= TOLERANCE


@torch.no_grad()
def test_greedy_tokens_are_those_of_transformers() -> None:
    theirs, ours = make_pair("BertLMHeadModel", pad_token_id=0, eos_token_id=None)
    ids = make_inputs("")["input_ids"][:, :3]
    expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
    assert greedy(ours, ids, 12).tolist() == expected.tolist()


def greedy(model: BertLMHeadModel, ids: Tensor, count: int) -> Tensor:
    """`ids` and `count` more, each the most likely one, with a cache."""
    step, cache = ids, None
    for _ in range(count):
        output = model(step, past_key_values=cache)
        cache = output.past_key_values
        step = output.logits[:, -1:].argmax(-1)
        ids = torch.cat((ids, step), dim=1)
    return ids


@torch.no_grad()
def test_pruned_decoder_steps() -> None:
    theirs, ours = make_pair("BertLMHeadModel", pruned_heads={0: [1, 2]})
    expected = theirs(**make_inputs(""))
    got = ours(**make_inputs(""))
    assert output_difference(expected, got) <= TOLERANCE
    assert [layer[0].shape[1] for layer in got.past_key_values] == [2, 4]
    assert len(leaves(got.past_key_values)) == 4

"""Random configs with random inputs against transformers: combinations that nobody listed."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from model_reference import (
    IMPLEMENTATIONS,
    POSITIONS,
    TINY,
    TOLERANCE,
    make_inputs,
    make_pair,
    output_difference,
)
from modeling_samples import CLASSES
from torch import Tensor

SEEDS = range(80)


def random_fields(dice: random.Random) -> dict[str, Any]:
    heads = dice.choice([1, 2, 3, 4])
    fields: dict[str, Any] = {
        "num_attention_heads": heads,
        "hidden_size": heads * dice.choice([2, 5, 8]),
        "intermediate_size": dice.choice([1, 7, 33]),
        "num_hidden_layers": dice.choice([1, 2, 3]),
        "type_vocab_size": dice.choice([2, 4]),
        "hidden_act": dice.choice(["gelu", "gelu_new", "relu", "silu", "tanh"]),
        "position_embedding_type": dice.choice(POSITIONS),
        "pad_token_id": dice.choice([None, 0, 5]),
        "tie_word_embeddings": dice.choice([True, False]),
        "layer_norm_eps": dice.choice([1e-12, 1e-5]),
        "is_decoder": dice.choice([True, False]),
    }
    if fields["is_decoder"]:
        fields["add_cross_attention"] = dice.choice([True, False])
    if heads > 1 and dice.random() < 0.3:
        fields["pruned_heads"] = {0: [dice.randrange(heads)]}
    return fields


def random_mask(dice: random.Random, batch: int, length: int, generator: torch.Generator) -> Tensor:
    shape = dice.choice([(batch, length), (batch, length, length)])
    return (torch.rand(shape, generator=generator) > 0.3).to(dice.choice([torch.int64, torch.float32]))


@torch.no_grad()
@pytest.mark.parametrize("seed", SEEDS)
def test_random_combination(seed: int) -> None:
    dice = random.Random(seed)
    class_name = dice.choice([name for name in CLASSES if name != "BertForMultipleChoice"])
    fields = random_fields(dice)
    theirs, ours = make_pair(class_name, seed=seed, implementation=dice.choice(IMPLEMENTATIONS), **fields)
    batch, length = dice.randrange(1, 5), dice.randrange(1, TINY["max_position_embeddings"] + 1)
    generator = torch.Generator().manual_seed(seed)
    inputs: dict[str, Any] = make_inputs(class_name, batch=batch, length=length, seed=seed)
    inputs["attention_mask"] = dice.choice([None, random_mask(dice, batch, length, generator)])
    inputs |= {name: dice.choice([True, False]) for name in ("output_attentions", "output_hidden_states")}
    if dice.random() < 0.3:
        shape = (batch, length)
        inputs["position_ids"] = torch.randint(0, TINY["max_position_embeddings"], shape, generator=generator)
    if dice.random() < 0.3 and not fields.get("pruned_heads"):
        inputs["head_mask"] = torch.rand(fields["num_attention_heads"], generator=generator)
    cross = bool(fields.get("add_cross_attention"))
    if cross and class_name in ("BertModel", "BertLMHeadModel", "BertForMaskedLM"):
        inputs["encoder_hidden_states"] = torch.randn(batch, 6, fields["hidden_size"], generator=generator)
        inputs["encoder_attention_mask"] = (torch.rand(batch, 6, generator=generator) > 0.3).long()
    elif cross:
        inputs["output_attentions"] = False  # transformers fails for want of cross-attention probabilities
    if class_name in ("BertModel", "BertLMHeadModel"):
        inputs["use_cache"] = fields["position_embedding_type"] == "absolute"  # see test_model_parity
    elif fields["is_decoder"]:
        theirs.config.use_cache = False  # the other heads have no argument for it, and return none
    assert output_difference(theirs(**inputs), ours(**inputs)) <= TOLERANCE

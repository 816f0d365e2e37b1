"""Every class, every optional output and every input against transformers with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
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
from modeling_samples import CLASSES

import bert_onnx
from bert_onnx import BertConfig

pytestmark = pytest.mark.slow

B, S, H, L, D = 3, 7, TINY["num_attention_heads"], TINY["num_hidden_layers"], TINY["hidden_size"]


@torch.no_grad()
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("class_name", CLASSES)
def test_outputs(class_name: str, position: str | None, implementation: str) -> None:
    theirs, ours = make_pair(class_name, position_embedding_type=position, implementation=implementation)
    inputs: dict[str, Any] = make_inputs(class_name)
    if class_name == "BertLMHeadModel":
        # With a cache, transformers places all queries of a prompt at its end: wrong for relative positions.
        inputs["use_cache"] = position == "absolute"
    for attentions in (False, True):
        for states in (False, True):
            options = {"output_attentions": attentions, "output_hidden_states": states}
            assert output_difference(theirs(**inputs, **options), ours(**inputs, **options)) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("class_name", CLASSES)
def test_tuples(class_name: str) -> None:
    theirs, ours = make_pair(class_name)
    options = {"output_attentions": True, "output_hidden_states": True, "return_dict": False}
    expected, got = (model(**make_inputs(class_name), **options) for model in (theirs, ours))
    assert type(got) is tuple
    assert len(got) == len(expected)
    assert difference(expected, got) <= TOLERANCE
    again = ours(**make_inputs(class_name), **(options | {"return_dict": True}))
    if class_name != "BertLMHeadModel":  # where the cache stands differs between the two forms, as in transformers
        assert difference(got, again.to_tuple()) == 0.0


@torch.no_grad()
@pytest.mark.parametrize("states", [False, True])
def test_tuple_keeps_the_place_of_the_pooler(states: bool) -> None:
    theirs, ours = make_pair("BertModel", add_pooling_layer=False, is_decoder=True)
    options = {"output_hidden_states": states, "return_dict": False}
    expected, got = (model(**make_inputs("BertModel"), **options) for model in (theirs, ours))
    assert got[1] is None
    assert expected[1] is None
    assert len(got) == len(expected) == (4 if states else 3)
    assert difference(expected, got) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("source", ["argument", "config"])
def test_defaults_of_the_config(source: str) -> None:
    fields = {"output_attentions": True, "output_hidden_states": True, "return_dict": False}
    theirs, ours = make_pair("BertForTokenClassification", **(fields if source == "config" else {}))
    options = fields if source == "argument" else {}
    expected = theirs(**make_inputs(""), **options)
    got = ours(**make_inputs(""), **options)
    assert len(got) == len(expected) == 3
    assert difference(expected, got) <= TOLERANCE


def holes() -> torch.Tensor:
    return torch.tensor([[1, 0, 1, 1, 0, 0, 1], [0, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]])


def three_dimensional() -> torch.Tensor:
    mask = torch.rand(B, S, S, generator=torch.Generator().manual_seed(5)) > 0.4
    return (mask | torch.eye(S, dtype=torch.bool)).long()


def embeddings() -> torch.Tensor:
    return torch.randn(B, S, D, generator=torch.Generator().manual_seed(6))


#: Changes to the usual inputs; None removes one.
VARIATIONS: dict[str, dict[str, Any]] = {
    "no_mask": {"attention_mask": None},
    "no_types": {"token_type_ids": None},
    "ids_only": {"attention_mask": None, "token_type_ids": None},
    "left_padding": {"attention_mask": holes().sort(dim=1).values},
    "holes": {"attention_mask": holes()},
    "mask_of_floats": {"attention_mask": holes().float()},
    "row_of_zeros": {"attention_mask": holes() * torch.tensor([[1], [0], [1]])},
    "all_ones": {"attention_mask": torch.ones(B, S, dtype=torch.long)},
    "mask_3d": {"attention_mask": three_dimensional()},
    "positions": {"position_ids": torch.tensor([[3, 1, 4, 1, 5, 9, 2]]).repeat(B, 1)},
    "one_row_of_positions": {"position_ids": torch.arange(10, 10 + S)[None]},
    "head_mask": {"head_mask": torch.tensor([1.0, 0.0, 0.5, 1.0])},
    "head_mask_by_layer": {"head_mask": torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0]])},
    "embeddings": {"input_ids": None, "inputs_embeds": embeddings()},
    "embeddings_only": {
        "input_ids": None,
        "inputs_embeds": embeddings(),
        "attention_mask": None,
        "token_type_ids": None,
    },
}


@torch.no_grad()
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("decoder", [False, True])
@pytest.mark.parametrize("variation", VARIATIONS)
def test_inputs(variation: str, decoder: bool, position: str | None, implementation: str) -> None:
    theirs, ours = make_pair(
        "BertModel", position_embedding_type=position, implementation=implementation, is_decoder=decoder
    )
    inputs = make_inputs("BertModel") | VARIATIONS[variation] | {"use_cache": False}
    assert output_difference(theirs(**inputs), ours(**inputs)) <= TOLERANCE
    inputs["output_attentions"] = True
    assert output_difference(theirs(**inputs), ours(**inputs)) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 24), (5, 24)])
@pytest.mark.parametrize("class_name", CLASSES)
def test_shapes(class_name: str, shape: tuple[int, int]) -> None:
    theirs, ours = make_pair(class_name)
    inputs = make_inputs(class_name, batch=shape[0], length=shape[1])
    assert output_difference(theirs(**inputs), ours(**inputs)) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh"])
def test_activations(activation: str) -> None:
    theirs, ours = make_pair("BertForMaskedLM", hidden_act=activation)
    assert output_difference(theirs(**make_inputs("")), ours(**make_inputs(""))) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize(
    "fields",
    [
        {"num_labels": 5},
        {"type_vocab_size": 3},
        {"pad_token_id": None},
        {"layer_norm_eps": 1e-3},
        {"tie_word_embeddings": False},
        {"chunk_size_feed_forward": 7},
        {"num_attention_heads": 1},
        {"num_hidden_layers": 1},
        {"hidden_size": 24, "num_attention_heads": 3},
        {"pruned_heads": {0: [1], 1: [0, 3]}},
    ],
    ids=str,
)
@pytest.mark.parametrize("class_name", ["BertForTokenClassification", "BertForMaskedLM"])
def test_config_fields(class_name: str, fields: dict[str, Any]) -> None:
    theirs, ours = make_pair(class_name, **fields)
    inputs = make_inputs("") | {"output_attentions": True}
    assert output_difference(theirs(**inputs), ours(**inputs)) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("class_name", ["BertForSequenceClassification", "BertForMultipleChoice"])
def test_embeddings_into_heads(class_name: str) -> None:
    theirs, ours = make_pair(class_name)
    inputs: dict[str, Any] = make_inputs(class_name)
    vectors = theirs.get_input_embeddings()(inputs.pop("input_ids"))
    got = ours(**inputs, inputs_embeds=vectors)
    assert output_difference(theirs(**inputs, inputs_embeds=vectors), got) <= TOLERANCE


@pytest.mark.parametrize("class_name", CLASSES)
def test_state_dict_names(class_name: str) -> None:
    for fields in ({}, {"is_decoder": True, "add_cross_attention": True, "position_embedding_type": "relative_key"}):
        theirs, ours = make_pair(class_name, **fields)
        assert list(theirs.state_dict()) == list(ours.state_dict())
        assert theirs.num_parameters() == ours.num_parameters()
        assert theirs.num_parameters(exclude_embeddings=True) == ours.num_parameters(exclude_embeddings=True)


@pytest.mark.parametrize("class_name", CLASSES)
def test_same_seed_gives_the_same_weights(class_name: str) -> None:
    fields = TINY | {"is_decoder": True, "add_cross_attention": True}
    torch.manual_seed(7)
    theirs = getattr(transformers, class_name)(transformers.BertConfig(**fields)).state_dict()
    torch.manual_seed(7)
    ours = getattr(bert_onnx, class_name)(BertConfig(**fields)).state_dict()
    assert [name for name in theirs if not torch.equal(theirs[name], ours[name])] == []


@pytest.mark.parametrize("class_name", CLASSES)
def test_same_seed_drops_the_same_while_training(class_name: str) -> None:
    theirs, ours = make_pair(class_name, hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.2)
    outputs = []
    for model in (theirs.train(), ours.train()):
        torch.manual_seed(8)
        outputs.append(model(**make_inputs(class_name), output_attentions=True))
    assert output_difference(*outputs) <= TOLERANCE
    assert difference(ours.eval()(**make_inputs(class_name)).to_tuple()[:1], leaves(outputs[1])[:1]) > TOLERANCE


#: Largest difference allowed by dtype: two units in the last place of numbers from 2 to 4. Measured: 0.
HALF_TOLERANCES = {torch.float16: 2 * 2**-9, torch.bfloat16: 2 * 2**-6}


@torch.no_grad()
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", HALF_TOLERANCES, ids=str)
@pytest.mark.parametrize("class_name", CLASSES)
def test_half_precision(class_name: str, dtype: torch.dtype, implementation: str) -> None:
    theirs, ours = (model.to(dtype) for model in make_pair(class_name, implementation=implementation))
    inputs = make_inputs(class_name) | {"output_hidden_states": True}
    assert ours.dtype == dtype
    assert output_difference(theirs(**inputs), ours(**inputs)) <= HALF_TOLERANCES[dtype]

"""Pruning attention heads: the numbers of a masked head, fewer weights, a config that records it."""

from __future__ import annotations

import pytest
import torch
from modeling_samples import CLASSES, tiny_inputs, tiny_model

import bert_onnx
from bert_onnx import ConfigError
from bert_onnx.modeling.pruning import merge_pruned, places_to_keep


@torch.no_grad()
@pytest.mark.parametrize("class_name", CLASSES)
def test_a_pruned_head_is_a_masked_head(class_name: str) -> None:
    """A head whose probabilities are zero adds nothing, as does one that is gone."""
    model = tiny_model(class_name)
    mask = torch.ones(2, 4)
    mask[0, 1] = mask[0, 3] = mask[1, 0] = 0.0
    masked = model(**tiny_inputs(class_name), head_mask=mask)
    count = model.num_parameters()
    model.prune_heads({0: [3, 1], 1: [0]})
    pruned = model(**tiny_inputs(class_name))
    torch.testing.assert_close(pruned[0], masked[0], atol=1e-5, rtol=0)
    assert model.num_parameters() == count - 3 * (3 * 8 * (32 + 1) + 8 * 32)


@torch.no_grad()
def test_in_two_goes_as_in_one() -> None:
    once, twice = tiny_model(), tiny_model()
    once.prune_heads({0: [0, 2], 1: [3]})
    twice.prune_heads({0: [2]})
    twice.prune_heads({0: [0, 2], 1: [3]})
    assert dict(once.config.pruned_heads) == dict(twice.config.pruned_heads) == {0: (0, 2), 1: (3,)}
    assert torch.equal(once(**tiny_inputs())[0], twice(**tiny_inputs())[0])


def test_config_builds_the_pruned_shapes() -> None:
    model = tiny_model("BertForMaskedLM")
    model.prune_heads({1: [0, 1, 2]})
    assert model.config is model.bert.config
    rebuilt = bert_onnx.BertForMaskedLM(model.config)
    shapes = {name: tensor.shape for name, tensor in rebuilt.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in model.state_dict().items()}
    rebuilt.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(rebuilt.eval()(**tiny_inputs()).logits, model(**tiny_inputs()).logits)


def test_pruned_weights_can_be_trained() -> None:
    model = tiny_model()
    model.prune_heads({0: [1]})
    model(**tiny_inputs()).last_hidden_state.square().sum().backward()
    attention = model.encoder.layer[0].attention
    assert attention.self.value.weight.grad.abs().sum() > 0
    assert attention.output.dense.weight.grad.shape == (32, 24)


@pytest.mark.parametrize("heads", [{0: [4]}, {2: [0]}, {0: [0, 1, 2, 3]}, {-1: [0]}], ids=str)
def test_heads_that_are_not_there(heads: dict[int, list[int]]) -> None:
    model = tiny_model()
    with pytest.raises(ConfigError, match="pruned_heads"):
        model.prune_heads(heads)
    assert dict(model.config.pruned_heads) == {}
    assert model.encoder.layer[0].attention.self.num_heads == 4


def test_pruning_nothing() -> None:
    model = tiny_model()
    before = model(**tiny_inputs())[0]
    model.prune_heads({})
    model.prune_heads({0: []})
    assert dict(model.config.pruned_heads) == {}
    assert torch.equal(model(**tiny_inputs())[0], before)


def test_head_numbers() -> None:
    assert merge_pruned({0: (1,)}, {0: [3, 1], 2: [0]}) == {0: (1, 3), 2: (0,)}
    assert places_to_keep(4, before=(1,), after=(1, 3)) == [0, 1]

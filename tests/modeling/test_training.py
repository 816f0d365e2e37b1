"""Training: random weights, gradients everywhere, dropout."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from modeling_samples import CLASSES, tiny_config, tiny_inputs, tiny_model
from torch import nn

import bert_onnx

LABELS: dict[str, dict[str, torch.Tensor]] = {
    "BertForPreTraining": {"labels": torch.ones(2, 6).long(), "next_sentence_label": torch.tensor([0, 1])},
    "BertLMHeadModel": {"labels": torch.ones(2, 6).long()},
    "BertForMaskedLM": {"labels": torch.ones(2, 6).long()},
    "BertForNextSentencePrediction": {"labels": torch.tensor([0, 1])},
    "BertForSequenceClassification": {"labels": torch.tensor([0, 1])},
    "BertForMultipleChoice": {"labels": torch.tensor([2, 1])},
    "BertForTokenClassification": {"labels": torch.ones(2, 6).long()},
    "BertForQuestionAnswering": {"start_positions": torch.tensor([0, 1]), "end_positions": torch.tensor([2, 3])},
}


@pytest.mark.parametrize("class_name", LABELS)
def test_a_few_steps_bring_the_loss_down(class_name: str) -> None:
    model = tiny_model(class_name, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.02)
    batch: dict[str, Any] = tiny_inputs(class_name) | LABELS[class_name]
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("class_name", LABELS)
def test_every_parameter_has_a_gradient(class_name: str) -> None:
    model = tiny_model(class_name)
    model(**tiny_inputs(class_name), **LABELS[class_name]).loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_dropout_while_training_only() -> None:
    model = tiny_model(hidden_dropout_prob=0.2)
    first, second = model(**tiny_inputs())[0], model(**tiny_inputs())[0]
    assert torch.equal(first, second)
    model.train()
    assert not torch.equal(model(**tiny_inputs())[0], model(**tiny_inputs())[0])


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_dropout_of_attention_probabilities(implementation: str) -> None:
    model = tiny_model(
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5, attn_implementation=implementation
    ).train()
    assert not torch.equal(model(**tiny_inputs())[0], model(**tiny_inputs())[0])


def test_classifier_dropout() -> None:
    for given, expected in ((None, 0.1), (0.0, 0.0), (0.4, 0.4)):
        assert tiny_model("BertForTokenClassification", classifier_dropout=given).dropout.p == expected


@pytest.mark.parametrize("class_name", CLASSES)
def test_random_weights(class_name: str) -> None:
    model = tiny_model(class_name, seed=4)
    again = tiny_model(class_name, seed=4)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
        if name.endswith("LayerNorm.weight"):
            assert torch.equal(tensor, torch.ones_like(tensor))
        elif name.endswith("bias"):
            assert torch.equal(tensor, torch.zeros_like(tensor))
        elif tensor.numel() > 500:
            assert tensor.std().item() == pytest.approx(0.2, rel=0.15)
    assert model.get_input_embeddings().weight[0].abs().max() == 0  # the padding row


def test_padding_row_gets_no_gradient() -> None:
    model = tiny_model()
    inputs = tiny_inputs()
    inputs["input_ids"][0, 0] = 0
    model(**inputs).last_hidden_state.square().sum().backward()
    assert model.get_input_embeddings().weight.grad[0].abs().max() == 0


def test_no_buffers() -> None:
    """Nothing but parameters: a model moves, saves and loads as what it was trained to be."""
    for class_name in CLASSES:
        assert list(tiny_model(class_name).buffers()) == []


def test_repr_and_modules_are_plain() -> None:
    model = bert_onnx.BertModel(tiny_config())
    assert isinstance(model, nn.Module)
    assert model.base_model is model
    assert model.device == torch.device("cpu")
    assert model.dtype == torch.float32
    frozen = model.embeddings.requires_grad_(False)
    count = sum(parameter.numel() for parameter in frozen.parameters())
    assert model.num_parameters() - model.num_parameters(only_trainable=True) == count

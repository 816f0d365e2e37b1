"""Every loss, and its gradient in every parameter, against transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from model_reference import POSITIONS, TINY, TOLERANCE, make_inputs, make_pair, output_difference
from torch import Tensor

B, S, V = 3, 7, TINY["vocab_size"]


def draw(high: int, *shape: int) -> Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(4))


def token_labels(classes: int) -> Tensor:
    """A class for every token of [B, S], -100 for some of them."""
    labels = draw(classes, B, S)
    labels[0, 3:] = -100
    labels[2, 0] = -100
    return labels


def floats(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


POSITION_PAIRS = {
    "inside": (torch.tensor([0, 2, 6]), torch.tensor([1, 2, 6])),
    "some_beyond": (torch.tensor([0, 9, 6]), torch.tensor([7, 2, 99])),
    "negative": (torch.tensor([-1, 3, 2]), torch.tensor([1, -5, 2])),
    "two_dimensional": (torch.tensor([[0], [2], [6]]), torch.tensor([[1], [2], [6]])),
}

#: class, config fields, labels.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Tensor]]] = {
    "pretraining": (
        "BertForPreTraining",
        {},
        {"labels": token_labels(V), "next_sentence_label": torch.tensor([0, 1, 1])},
    ),
    "masked": ("BertForMaskedLM", {}, {"labels": token_labels(V)}),
    "masked_untied": ("BertForMaskedLM", {"tie_word_embeddings": False}, {"labels": token_labels(V)}),
    "causal": ("BertLMHeadModel", {}, {"labels": token_labels(V)}),
    "next_sentence": ("BertForNextSentencePrediction", {}, {"labels": torch.tensor([0, 1, 1])}),
    "next_sentence_column": ("BertForNextSentencePrediction", {}, {"labels": torch.tensor([[0], [1], [1]])}),
    "choice": ("BertForMultipleChoice", {}, {"labels": torch.tensor([0, 1, 1])}),
    "tokens": ("BertForTokenClassification", {"num_labels": 5}, {"labels": token_labels(5)}),
    "one_class": ("BertForSequenceClassification", {"num_labels": 4}, {"labels": torch.tensor([3, 0, -100])}),
    "one_class_named": (
        "BertForSequenceClassification",
        {"num_labels": 4, "problem_type": "single_label_classification"},
        {"labels": torch.tensor([3, 0, 1])},
    ),
    "regression": ("BertForSequenceClassification", {"num_labels": 1}, {"labels": floats(B)}),
    "regression_column": ("BertForSequenceClassification", {"num_labels": 1}, {"labels": floats(B, 1)}),
    "regression_of_several": (
        "BertForSequenceClassification",
        {"num_labels": 4, "problem_type": "regression"},
        {"labels": floats(B, 4)},
    ),
    "many_classes": ("BertForSequenceClassification", {"num_labels": 4}, {"labels": draw(2, B, 4).float()}),
    "many_classes_named": (
        "BertForSequenceClassification",
        {"num_labels": 4, "problem_type": "multi_label_classification"},
        {"labels": draw(2, B, 4).float()},
    ),
} | {
    f"span_{name}": ("BertForQuestionAnswering", {}, {"start_positions": start, "end_positions": end})
    for name, (start, end) in POSITION_PAIRS.items()
}


def gradients(model: Any) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters(remove_duplicate=True) if p.grad is not None}


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradients(case: str, position: str) -> None:
    class_name, fields, labels = CASES[case]
    theirs, ours = make_pair(class_name, position_embedding_type=position, **fields)
    inputs = make_inputs(class_name)
    expected, got = theirs(**inputs, **labels), ours(**inputs, **labels)
    assert output_difference(expected, got) <= TOLERANCE
    assert got.loss.dim() == 0
    expected.loss.backward()
    got.loss.backward()
    left, right = gradients(theirs), gradients(ours)
    assert set(left) == set(right)
    worst = max((left[name] - right[name]).abs().max().item() for name in left)
    assert worst <= TOLERANCE
    assert max(gradient.abs().max().item() for gradient in right.values()) > 100 * TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_tuple_starts_with_the_loss(case: str) -> None:
    class_name, fields, labels = CASES[case]
    theirs, ours = make_pair(class_name, **fields)
    inputs = make_inputs(class_name) | labels | {"return_dict": False}
    expected, got = theirs(**inputs), ours(**inputs)
    assert len(expected) == len(got)
    torch.testing.assert_close(got[0], expected[0], atol=TOLERANCE, rtol=0)


def test_cross_attention_gradients() -> None:
    theirs, ours = make_pair("BertLMHeadModel", add_cross_attention=True)
    states = floats(B, 4, TINY["hidden_size"])
    inputs = make_inputs("") | {"labels": token_labels(V)}
    worst = 0.0
    gradients_of_states = []
    for model in (theirs, ours):
        leaf = states.clone().requires_grad_()
        model(**inputs, encoder_hidden_states=leaf).loss.backward()
        gradients_of_states.append(leaf.grad)
    left, right = gradients(theirs), gradients(ours)
    assert set(left) == set(right)
    worst = max((left[name] - right[name]).abs().max().item() for name in left)
    assert worst <= TOLERANCE
    torch.testing.assert_close(gradients_of_states[1], gradients_of_states[0], atol=TOLERANCE, rtol=0)


def test_fused_attention_gradients() -> None:
    theirs, ours = make_pair("BertForMaskedLM", implementation="sdpa")
    for model in (theirs, ours):
        model(**make_inputs(""), labels=token_labels(V)).loss.backward()
    left, right = gradients(theirs), gradients(ours)
    assert max((left[name] - right[name]).abs().max().item() for name in left) <= TOLERANCE


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_losses(dtype: torch.dtype) -> None:
    """The causal loss is taken in float32, the others in the model's dtype, as in transformers."""
    for case in ("causal", "masked", "one_class", "span_inside"):
        class_name, fields, labels = CASES[case]
        theirs, ours = (model.to(dtype) for model in make_pair(class_name, **fields))
        inputs = make_inputs(class_name) | labels
        expected, got = theirs(**inputs).loss, ours(**inputs).loss
        assert got.dtype == expected.dtype == (torch.float32 if case == "causal" else dtype)
        torch.testing.assert_close(got, expected, rtol=0.02, atol=0.02)

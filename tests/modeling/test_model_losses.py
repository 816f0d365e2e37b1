"""Losses: which one is taken, what is left out, labels that do not fit."""

from __future__ import annotations

import math

import pytest
import torch
from modeling_samples import tiny_config, tiny_inputs, tiny_model
from torch.nn import functional as F

from bert_onnx import InputError
from bert_onnx.modeling.losses import causal_loss, classification_loss, problem_type, sequence_loss, span_loss


@pytest.mark.parametrize(
    ("count", "labels", "expected"),
    [
        (1, torch.ones(2), "regression"),
        (1, torch.ones(2, dtype=torch.long), "regression"),
        (3, torch.ones(2, dtype=torch.long), "single_label_classification"),
        (3, torch.ones(2, dtype=torch.int32), "single_label_classification"),
        (3, torch.ones(2, 3), "multi_label_classification"),
    ],
)
def test_problem_type_from_the_labels(count: int, labels: torch.Tensor, expected: str) -> None:
    config = tiny_config(num_labels=count)
    assert problem_type(config, labels) == expected
    assert config.problem_type is None
    assert problem_type(config.replace(problem_type="regression"), labels) == "regression"


def test_forward_leaves_the_config_alone() -> None:
    """One kind of labels must not decide how the next are taken."""
    model = tiny_model("BertForSequenceClassification", num_labels=3)
    before = model.config
    single = model(**tiny_inputs(), labels=torch.tensor([0, 2]))
    several = model(**tiny_inputs(), labels=torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
    assert model.config == before
    torch.testing.assert_close(single.loss, F.cross_entropy(single.logits, torch.tensor([0, 2])))
    expected = F.binary_cross_entropy_with_logits(several.logits, torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
    torch.testing.assert_close(several.loss, expected)


def test_whole_numbers_serve_as_regression_targets() -> None:
    logits = torch.tensor([[0.5], [2.0]], requires_grad=True)
    loss = sequence_loss(tiny_config(num_labels=1), logits, torch.tensor([1, 4]))
    loss.backward()
    assert loss.item() == pytest.approx((0.25 + 4.0) / 2)
    assert logits.grad is not None


def test_ignored_labels() -> None:
    logits = torch.tensor([[[2.0, 0.0], [0.0, 5.0]]])
    assert classification_loss(logits, torch.tensor([[0, -100]])).item() == pytest.approx(math.log1p(math.exp(-2)))


def test_causal_loss_predicts_the_next_token() -> None:
    logits = torch.full((1, 3, 4), -20.0)
    logits[0, 0, 2] = logits[0, 1, 3] = 20.0
    assert causal_loss(logits, torch.tensor([[1, 2, 3]])).item() == pytest.approx(0.0, abs=1e-6)
    assert causal_loss(logits, torch.tensor([[1, 3, 2]])).item() > 10


def test_spans_beyond_the_sequence_do_not_count() -> None:
    logits = torch.randn(2, 5)
    loss = span_loss(logits, logits, torch.tensor([1, 9]), torch.tensor([4, 5]))
    expected = (F.cross_entropy(logits[:1], torch.tensor([1])) + F.cross_entropy(logits[:1], torch.tensor([4]))) / 2
    torch.testing.assert_close(loss, expected)


def test_pretraining_loss_needs_both_labels() -> None:
    model = tiny_model("BertForPreTraining")
    inputs = tiny_inputs()
    assert model(**inputs, labels=inputs["input_ids"]).loss is None
    assert model(**inputs, next_sentence_label=torch.tensor([0, 1])).loss is None
    both = model(**inputs, labels=inputs["input_ids"], next_sentence_label=torch.tensor([0, 1]))
    sum_of_two = classification_loss(both.prediction_logits, inputs["input_ids"]) + classification_loss(
        both.seq_relationship_logits, torch.tensor([0, 1])
    )
    torch.testing.assert_close(both.loss, sum_of_two)


def test_no_cache_beside_a_loss() -> None:
    model = tiny_model("BertLMHeadModel")
    inputs = tiny_inputs()
    assert model(**inputs).past_key_values is not None
    assert model(**inputs, labels=inputs["input_ids"], use_cache=True).past_key_values is None


@pytest.mark.parametrize(
    ("class_name", "labels"),
    [
        ("BertForTokenClassification", torch.zeros(2, 5, dtype=torch.long)),
        ("BertForMaskedLM", torch.zeros(2, dtype=torch.long)),
        ("BertForSequenceClassification", torch.zeros(3, dtype=torch.long)),
        ("BertForSequenceClassification", torch.zeros(2, 3)),
    ],
)
def test_labels_that_do_not_fit(class_name: str, labels: torch.Tensor) -> None:
    with pytest.raises(InputError, match="labels has the shape"):
        tiny_model(class_name)(**tiny_inputs(), labels=labels)

"""Resizing the vocabulary, and tied embeddings."""

from __future__ import annotations

import pytest
import torch
from modeling_samples import CLASSES, VOCABULARY_CLASSES, tiny_inputs, tiny_model
from torch import nn

from bert_onnx import ConfigError, UsageError


@torch.no_grad()
@pytest.mark.parametrize("count", [60, 54, 53, 40])
@pytest.mark.parametrize("class_name", CLASSES)
def test_old_rows_stay(class_name: str, count: int) -> None:
    model = tiny_model(class_name, pad_token_id=0)
    table = model.get_input_embeddings().weight.clone()
    inputs = tiny_inputs(class_name)
    inputs["input_ids"] %= 40
    before = model(**inputs)[0]
    assert model.resize_token_embeddings(count) is model.get_input_embeddings()
    kept = min(count, 53)
    resized = model.get_input_embeddings()
    assert resized.weight.shape == (count, 32)
    assert resized.num_embeddings == count
    assert torch.equal(resized.weight[:kept], table[:kept])
    assert model.config.vocab_size == model.base_model.config.vocab_size == count
    after = model(**inputs)[0]
    if class_name in VOCABULARY_CLASSES:
        assert after.shape[-1] == count
        torch.testing.assert_close(after[..., :kept], before[..., :kept], atol=1e-6, rtol=0)
    else:
        assert torch.equal(after, before)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("class_name", VOCABULARY_CLASSES)
def test_decoder_follows(class_name: str, tied: bool) -> None:
    model = tiny_model(class_name, tie_word_embeddings=tied)
    nn.init.normal_(model.cls.predictions.bias)
    bias = model.cls.predictions.bias.detach().clone()
    decoder = model.get_output_embeddings()
    old = decoder.weight.detach().clone()
    model.resize_token_embeddings(60)
    assert (decoder.weight is model.get_input_embeddings().weight) == tied
    assert decoder.bias is model.cls.predictions.bias
    assert decoder.out_features == 60
    assert decoder.weight.shape == (60, 32)
    assert torch.equal(decoder.weight[:53], old)
    assert torch.equal(decoder.bias, torch.cat((bias, torch.zeros(7))))
    assert model.get_input_embeddings().weight[53:].std() > 0.1  # drawn, not left at zero
    names = dict(model.named_parameters())
    assert ("cls.predictions.decoder.weight" in names) != tied


def test_trained_after_resizing() -> None:
    model = tiny_model("BertForMaskedLM")
    model.resize_token_embeddings(60)
    inputs = tiny_inputs()
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    assert model.get_input_embeddings().weight.grad.shape == (60, 32)
    assert model.cls.predictions.bias.grad.shape == (60,)


def test_rounding_up() -> None:
    model = tiny_model()
    model.resize_token_embeddings(pad_to_multiple_of=8)
    assert model.config.vocab_size == 56
    model.resize_token_embeddings(57, pad_to_multiple_of=64)
    assert model.config.vocab_size == 64


def test_too_few_tokens_change_nothing() -> None:
    model = tiny_model("BertForMaskedLM", pad_token_id=50)
    for count in (20, 0):
        with pytest.raises(ConfigError):
            model.resize_token_embeddings(count)
    assert model.get_input_embeddings().weight.shape == (53, 32)
    assert model.config.vocab_size == 53


@pytest.mark.parametrize("class_name", VOCABULARY_CLASSES)
def test_tied_weights_are_one(class_name: str) -> None:
    model = tiny_model(class_name)
    state = model.state_dict()
    for name, partner in zip(
        model.tied_weights_keys, ("bert.embeddings.word_embeddings.weight", "cls.predictions.bias"), strict=True
    ):
        assert state[name].data_ptr() == state[partner].data_ptr()
        assert name not in dict(model.named_parameters())


def test_setting_embeddings() -> None:
    model = tiny_model("BertForMaskedLM")
    table = nn.Embedding(53, 32)
    model.set_input_embeddings(table)
    model.tie_weights()
    assert model.get_input_embeddings() is table
    assert model.get_output_embeddings().weight is table.weight
    decoder = nn.Linear(32, 53)
    model.set_output_embeddings(decoder)
    assert model.get_output_embeddings() is decoder
    assert model.cls.predictions.bias is decoder.bias


def test_no_output_embeddings() -> None:
    model = tiny_model("BertForTokenClassification")
    assert model.get_output_embeddings() is None
    with pytest.raises(UsageError, match="BertForTokenClassification"):
        model.set_output_embeddings(nn.Linear(32, 53))

"""save_pretrained and from_pretrained, here and there and back."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
import transformers
from modeling_samples import CLASSES, tiny_inputs, tiny_model
from safetensors import safe_open

import bert_onnx
from bert_onnx import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel, CheckpointError, UsageError

pytestmark = pytest.mark.slow


@torch.no_grad()
@pytest.mark.parametrize("class_name", CLASSES)
def test_round_trip(class_name: str, tmp_path: Path) -> None:
    model = tiny_model(class_name)
    model.save_pretrained(tmp_path)
    loaded = getattr(bert_onnx, class_name).from_pretrained(tmp_path)
    assert not loaded.training
    assert loaded.config == model.config.replace(architectures=(class_name,))
    assert loaded.state_dict().keys() == model.state_dict().keys()
    expected, got = model(**tiny_inputs(class_name)), loaded(**tiny_inputs(class_name))
    assert torch.equal(expected[0], got[0])


@torch.no_grad()
@pytest.mark.parametrize("class_name", CLASSES)
def test_transformers_reads_what_we_write(class_name: str, tmp_path: Path) -> None:
    model = tiny_model(class_name)
    model.save_pretrained(tmp_path)
    theirs, report = getattr(transformers, class_name).from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    got = theirs.eval()(**tiny_inputs(class_name))
    torch.testing.assert_close(got[0], model(**tiny_inputs(class_name))[0], atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("class_name", CLASSES)
def test_we_read_what_transformers_writes(class_name: str, tmp_path: Path) -> None:
    config = transformers.BertConfig(**tiny_model(class_name).config.to_dict())
    theirs = getattr(transformers, class_name)(config).eval()
    theirs.save_pretrained(tmp_path)
    ours = getattr(bert_onnx, class_name).from_pretrained(tmp_path)
    got = ours(**tiny_inputs(class_name))
    torch.testing.assert_close(got[0], theirs(**tiny_inputs(class_name))[0], atol=1e-5, rtol=0)


def test_arguments_by_the_names_of_transformers(tmp_path: Path) -> None:
    tiny_model("BertModel").save_pretrained(tmp_path)
    for dtype in ("float16", torch.float16):
        assert BertModel.from_pretrained(tmp_path, torch_dtype=dtype).dtype is torch.float16
    assert BertModel.from_pretrained(tmp_path, torch_dtype="auto").dtype is torch.float32
    heads = {"allow_new_heads": True}
    model = BertForSequenceClassification.from_pretrained(tmp_path, num_labels=3, **heads)
    assert (model.config.num_labels, model.classifier.out_features) == (3, 3)
    names = {0: "bad", 1: "good"}
    named = BertForSequenceClassification.from_pretrained(
        tmp_path, id2label=names, label2id={"bad": 0, "good": 1}, **heads
    )
    assert named.config.id2label == names
    model.save_pretrained(tmp_path / "three")
    with pytest.raises(CheckpointError, match="classifier"):
        BertForSequenceClassification.from_pretrained(tmp_path / "three", num_labels=2)


def test_tied_weights_are_stored_once_and_tied_again(tmp_path: Path) -> None:
    tiny_model("BertForMaskedLM").save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        stored = set(file.keys())
    assert not stored & set(BertForMaskedLM.tied_weights_keys)
    loaded = BertForMaskedLM.from_pretrained(tmp_path)
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    assert loaded.get_output_embeddings().bias is loaded.cls.predictions.bias


@torch.no_grad()
def test_untied_weights_stay_apart(tmp_path: Path) -> None:
    model = tiny_model("BertForMaskedLM", tie_word_embeddings=False)
    assert not torch.equal(model.get_output_embeddings().weight, model.get_input_embeddings().weight)
    model.save_pretrained(tmp_path)
    loaded = BertForMaskedLM.from_pretrained(tmp_path)
    assert torch.equal(loaded(**tiny_inputs()).logits, model(**tiny_inputs()).logits)


@torch.no_grad()
def test_pruned_and_resized(tmp_path: Path) -> None:
    model = tiny_model("BertForMaskedLM")
    model.prune_heads({0: [1, 2]})
    model.resize_token_embeddings(60)
    model.save_pretrained(tmp_path)
    loaded = BertForMaskedLM.from_pretrained(tmp_path)
    assert dict(loaded.config.pruned_heads) == {0: (1, 2)}
    assert torch.equal(loaded(**tiny_inputs()).logits, model(**tiny_inputs()).logits)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes(dtype: str, tmp_path: Path) -> None:
    model = tiny_model("BertForMaskedLM").to(getattr(torch, dtype))
    model.save_pretrained(tmp_path)
    assert BertConfig.from_pretrained(tmp_path).dtype == dtype
    for choice, expected in ((None, "float32"), ("auto", dtype), (getattr(torch, dtype), dtype), ("bfloat16",) * 2):
        loaded = BertForMaskedLM.from_pretrained(tmp_path, dtype=choice)
        assert loaded.dtype == getattr(torch, expected)
        assert {parameter.dtype for parameter in loaded.parameters()} == {getattr(torch, expected)}
        assert loaded.config.dtype == expected
        assert loaded(**tiny_inputs()).logits.dtype == getattr(torch, expected)


@pytest.mark.parametrize("dtype", ["float64", torch.float64, "int8", "nonsense"], ids=str)
def test_dtypes_that_are_not_supported(dtype: torch.dtype | str, tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="float32, float16, bfloat16"):
        BertModel.from_pretrained(tmp_path, dtype=dtype)


@torch.no_grad()
def test_choice_of_attention(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    eager = BertModel.from_pretrained(tmp_path)
    fused = BertModel.from_pretrained(tmp_path, attn_implementation="sdpa")
    assert not eager.encoder.layer[0].attention.self.fused
    assert fused.encoder.layer[0].attention.self.fused
    torch.testing.assert_close(eager(**tiny_inputs())[0], fused(**tiny_inputs())[0], atol=1e-5, rtol=0)


def test_config_in_place_of_the_checkpoint(tmp_path: Path) -> None:
    tiny_model("BertForMaskedLM").save_pretrained(tmp_path)
    config = BertConfig.from_pretrained(tmp_path).replace(is_decoder=True, output_hidden_states=True)
    model = bert_onnx.BertLMHeadModel.from_pretrained(tmp_path, config)
    assert model.config.is_decoder
    assert model(**tiny_inputs()).hidden_states is not None


def test_new_heads_only_when_asked_for_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tiny_model("BertForMaskedLM").save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"classifier\.weight"):
        BertForSequenceClassification.from_pretrained(tmp_path)
    torch.manual_seed(1)
    with caplog.at_level(logging.WARNING):
        model = BertForSequenceClassification.from_pretrained(tmp_path, allow_new_heads=True)
    assert "classifier.weight" in caplog.text
    assert "classifier.bias" in caplog.text
    assert model.classifier.weight.std().item() == pytest.approx(0.2, rel=0.3)
    assert model.classifier.bias.abs().max() == 0
    assert torch.isfinite(model(**tiny_inputs()).logits).all()
    torch.manual_seed(1)
    again = BertForSequenceClassification.from_pretrained(tmp_path, allow_new_heads=True)
    assert torch.equal(again.classifier.weight, model.classifier.weight)


def test_new_vocabulary_head(tmp_path: Path) -> None:
    base = tiny_model()
    base.save_pretrained(tmp_path)
    model = BertForMaskedLM.from_pretrained(tmp_path, allow_new_heads=True)
    assert torch.equal(model.get_output_embeddings().weight, base.get_input_embeddings().weight)
    assert model.cls.predictions.bias.abs().max() == 0
    assert torch.equal(model.cls.predictions.transform.LayerNorm.weight, torch.ones(32))


@torch.no_grad()
def test_sample_against_transformers() -> None:
    """The trained sample model, on ids as its tokenizer makes them."""
    from bert_onnx.checkpoint import find_checkpoint

    ours = BertModel.from_pretrained("sample")
    theirs = transformers.BertModel.from_pretrained(find_checkpoint("sample").folder, attn_implementation="eager")
    ids = torch.tensor([[101, 2023, 2003, 1037, 7099, 6251, 102], [101, 7592, 102, 0, 0, 0, 0]])
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).long(), "output_hidden_states": True}
    expected, got = theirs.eval()(**inputs), ours(**inputs)
    for left, right in zip(expected.hidden_states, got.hidden_states, strict=True):
        torch.testing.assert_close(right, left, atol=1e-5, rtol=0)
    torch.testing.assert_close(got.pooler_output, expected.pooler_output, atol=1e-5, rtol=0)

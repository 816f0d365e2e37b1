"""Loading what does not fit: missing heads and tensors, shapes, values, dtypes, ties that differ."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from loading_helpers import CLASSES, load, options, same_state
from safetensors.torch import load_file
from tiny_checkpoints import TINY, rewrite, tiny_folder, tiny_model

from bert_onnx.checkpoint import LoadReport, find_checkpoint, load_weights
from bert_onnx.errors import CheckpointError
from bert_onnx.modeling.heads import (
    BertForSequenceClassification,
    BertForTokenClassification,
)
from bert_onnx.modeling.lm_heads import BertForMaskedLM, BertForPreTraining
from bert_onnx.modeling.model import BertModel

# Missing and misshapen


def test_missing_tensors_of_the_encoder_are_named_even_where_new_heads_are_allowed(tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertForMaskedLM)
    lost = [name for name in load_file(tmp_path / "model.safetensors") if ".layer.1." in name]
    rewrite(tmp_path / "model.safetensors", lambda tensors: {n: t for n, t in tensors.items() if n not in lost})
    for allowed in (False, True):
        with pytest.raises(
            CheckpointError, match=rf"lacks {len(lost)} tensor\(s\).* and {len(lost) - 5} more"
        ) as caught:
            load(tiny_model(BertForMaskedLM), tmp_path, allow_new_heads=allowed)
        assert "bert.encoder.layer.1.attention.self.query.weight" in str(caught.value)


@pytest.mark.parametrize("model_class", [c for c in CLASSES if c is not BertModel], ids=lambda c: c.__name__)
def test_a_missing_head_is_refused_unless_asked_for(model_class: Any, tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertModel, **options(model_class))
    model = tiny_model(model_class, seed=1, **options(model_class))
    head = {name: p.clone() for name, p in model.named_parameters() if not name.startswith("bert.")}
    with pytest.raises(CheckpointError, match=f"head of {model_class.__name__}.* --new-head"):
        load(model, tmp_path)
    report = load(model, tmp_path, allow_new_heads=True)
    assert set(report.newly_initialised) == set(head)
    assert all(torch.equal(head[name], model.get_parameter(name)) for name in head), "left as it was"
    assert report.messages()[0].startswith("NOT TRAINED")


def test_a_missing_pooler_is_a_missing_head(tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertForMaskedLM)  # has no pooler
    with pytest.raises(CheckpointError, match=r"head of BertModel: pooler\.dense\.weight, pooler\.dense\.bias"):
        load(tiny_model(BertModel), tmp_path)
    report = load(tiny_model(BertModel), tmp_path, allow_new_heads=True)
    assert report.newly_initialised == ("pooler.dense.weight", "pooler.dense.bias")
    torch.manual_seed(0)
    assert load(BertModel(TINY, add_pooling_layer=False), tmp_path).newly_initialised == ()


def test_tensors_of_other_heads_are_unused(tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertForPreTraining)
    report = load(tiny_model(BertForMaskedLM), tmp_path)
    assert set(report.unused) == {
        "bert.pooler.dense.bias",
        "bert.pooler.dense.weight",
        "cls.seq_relationship.bias",
        "cls.seq_relationship.weight",
    }


def test_a_classifier_of_another_kind_is_another_head(tmp_path: Path) -> None:
    """Sequence and token classifiers have the same names and shapes; config.json tells them apart."""
    tiny_folder(tmp_path, BertForSequenceClassification)
    model = tiny_model(BertForTokenClassification, seed=1)
    with pytest.raises(CheckpointError, match="head of BertForTokenClassification"):
        load(model, tmp_path)
    report = load(model, tmp_path, allow_new_heads=True)
    assert report.newly_initialised == ("classifier.weight", "classifier.bias")
    assert "classifier.weight" in report.unused


def test_another_number_of_labels_is_refused_or_new(tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertForSequenceClassification, num_labels=5)
    model = tiny_model(BertForSequenceClassification, seed=1, num_labels=3)
    with pytest.raises(CheckpointError, match=r"'classifier\.weight'.*\[5, 8\].*\[3, 8\].*num_labels"):
        load(model, tmp_path)
    assert load(model, tmp_path, allow_new_heads=True).newly_initialised == ("classifier.weight", "classifier.bias")


def test_a_vocabulary_that_does_not_match_is_explained(tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertModel)
    with pytest.raises(CheckpointError, match=r"\[20, 8\].*\[21, 8\].*holds 20 tokens .* vocab_size 21"):
        load(tiny_model(BertModel, vocab_size=21), tmp_path, allow_new_heads=True)


def test_a_misshapen_tensor_of_the_encoder_is_named(tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertModel)
    name = "encoder.layer.1.intermediate.dense.weight"
    rewrite(tmp_path / "model.safetensors", lambda tensors: tensors.update({name: torch.zeros(8, 16)}))
    with pytest.raises(CheckpointError, match=rf"{name}.*\[8, 16\].*\[16, 8\]"):
        load(tiny_model(BertModel), tmp_path)


# Values


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_value_that_is_not_finite_is_named_with_its_place(value: float, dtype: torch.dtype, tmp_path: Path) -> None:
    name = "encoder.layer.1.output.dense.weight"

    def poison(tensors: dict[str, Any]) -> dict[str, Any]:
        tensors = {key: tensor.to(dtype) for key, tensor in tensors.items()}
        tensors[name][3, 7] = value
        return tensors

    tiny_folder(tmp_path, BertModel)
    rewrite(tmp_path / "model.safetensors", poison)
    with pytest.raises(CheckpointError, match=rf"{name}.*holds -?{abs(value)} at index \[3, 7\].* 1 such value"):
        load(tiny_model(BertModel), tmp_path)


def test_opposite_infinities_and_large_sums_are_told_apart(tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertModel)
    big = torch.full((16,), 3e38)
    name = "encoder.layer.0.intermediate.dense.bias"
    rewrite(tmp_path / "model.safetensors", lambda tensors: tensors.update({name: big}))
    model = tiny_model(BertModel)
    load(model, tmp_path)  # the sum exceeds float32, the values do not
    assert torch.equal(model.get_parameter(name), big)
    both = torch.tensor([math.inf, -math.inf] * 8)
    rewrite(tmp_path / "model.safetensors", lambda tensors: tensors.update({name: both}))
    with pytest.raises(CheckpointError, match="at least 16 such"):
        load(model, tmp_path)


def test_a_value_beyond_half_precision_is_named(tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertModel)
    name = "pooler.dense.bias"
    rewrite(tmp_path / "model.safetensors", lambda tensors: tensors.update({name: torch.full((8,), 70000.0)}))
    load(tiny_model(BertModel), tmp_path)
    with pytest.raises(CheckpointError, match=rf"{name}.*inf in float16 at index \[0\]"):
        load(tiny_model(BertModel).half(), tmp_path)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("wanted", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_dtypes_are_converted(stored: torch.dtype, wanted: torch.dtype, tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertModel)
    rewrite(tmp_path / "model.safetensors", lambda tensors: {n: t.to(stored) for n, t in tensors.items()})
    model = tiny_model(BertModel, seed=1).to(wanted)
    load(model, tmp_path)
    expected = load_file(tmp_path / "model.safetensors")
    for name, parameter in model.named_parameters():
        assert parameter.dtype == wanted
        assert torch.equal(parameter, expected[name].to(wanted)), name


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertModel)
    rewrite(tmp_path / "model.safetensors", lambda t: t.update({"pooler.dense.bias": torch.ones(8, dtype=torch.int8)}))
    with pytest.raises(CheckpointError, match=r"'pooler\.dense\.bias'.*type I8"):
        load(tiny_model(BertModel), tmp_path)


def test_a_file_that_shrinks_after_it_was_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bert_onnx.checkpoint import loading

    tiny_folder(tmp_path, BertModel)
    checkpoint = find_checkpoint(str(tmp_path))
    tensors = loading.read_tensors(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    monkeypatch.setattr(loading, "read_tensors", lambda folder: tensors)
    with pytest.raises(CheckpointError, match="ended while tensor"):
        load_weights(tiny_model(BertModel), checkpoint)


# Ties. What transformers does with the same file is the reference.


def reference_masked_lm(folder: Path) -> dict[str, torch.Tensor]:
    import transformers
    from transformers.models.bert.modeling_bert import BertForMaskedLM as Reference

    if transformers.__version__ >= "5":
        pytest.skip("transformers 5 unties tensors that differ in the file; 4.57 is the reference")
    state: dict[str, torch.Tensor] = Reference.from_pretrained(folder).state_dict()
    return state


TIED: dict[str, dict[str, Any]] = {
    "equal": {"cls.predictions.decoder.weight": None, "cls.predictions.decoder.bias": None},
    "weight differs": {"cls.predictions.decoder.weight": torch.ones(20, 8)},
    "bias differs": {"cls.predictions.decoder.bias": torch.ones(20)},
}


@pytest.mark.parametrize("case", TIED)
def test_tied_tensors_in_the_file_follow_transformers(case: str, tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertForMaskedLM)
    owners = {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }

    def add(tensors: dict[str, Any]) -> None:
        for name, value in TIED[case].items():
            tensors[name] = tensors[owners[name]] if value is None else value

    rewrite(tmp_path / "model.safetensors", add)
    model = tiny_model(BertForMaskedLM, seed=1)
    report = load(model, tmp_path)
    assert report.overruled == (() if case == "equal" else tuple(TIED[case]))
    theirs = reference_masked_lm(tmp_path)
    assert all(torch.equal(value, theirs[name]) for name, value in model.state_dict().items())


def test_an_untied_decoder_is_loaded_by_itself_and_must_be_there(tmp_path: Path) -> None:
    saved = tiny_model(BertForMaskedLM, tie_word_embeddings=False)
    saved.save_pretrained(tmp_path)
    model = tiny_model(BertForMaskedLM, seed=1, tie_word_embeddings=False)
    assert load(model, tmp_path) == LoadReport()
    assert same_state(model, saved)
    assert not torch.equal(model.cls.predictions.decoder.weight, model.bert.embeddings.word_embeddings.weight)
    rewrite(tmp_path / "model.safetensors", lambda tensors: tensors.__delitem__("cls.predictions.decoder.weight"))
    with pytest.raises(CheckpointError, match=r"cls\.predictions\.decoder\.weight"):
        load(model, tmp_path)

"""Loading what fits: every class from transformers' files, names of any age, prefixes, shards, the sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from loading_helpers import CLASSES, load, options, same_state
from safetensors.torch import load_file, save_file
from tiny_checkpoints import TINY, rewrite, tiny_folder, tiny_model

from bert_onnx.checkpoint import LoadReport, find_checkpoint, load_weights
from bert_onnx.errors import CheckpointError
from bert_onnx.modeling.heads import (
    BertForNextSentencePrediction,
)
from bert_onnx.modeling.lm_heads import BertForMaskedLM, BertForPreTraining
from bert_onnx.modeling.model import BertModel


@pytest.mark.parametrize("model_class", CLASSES, ids=lambda c: c.__name__)
def test_loads_what_transformers_saves(model_class: Any, tmp_path: Path) -> None:
    import transformers.models.bert.modeling_bert as reference
    from transformers.models.bert.configuration_bert import BertConfig as ReferenceConfig

    values = {**TINY.to_dict(), **options(model_class)}
    theirs = getattr(reference, model_class.__name__)(ReferenceConfig.from_dict(values)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_()
    theirs.save_pretrained(tmp_path)
    ours = tiny_model(model_class, seed=1, **options(model_class))
    assert load(ours, tmp_path) == LoadReport()
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.equal(value, ours.state_dict()[name]) for name, value in theirs.state_dict().items())


@pytest.mark.parametrize("model_class", CLASSES, ids=lambda c: c.__name__)
def test_loads_onto_the_meta_device_and_keeps_ties(model_class: Any, tmp_path: Path) -> None:
    saved = tiny_model(model_class, **options(model_class))
    saved.save_pretrained(tmp_path)
    with torch.device("meta"):
        model = model_class(TINY.replace(**options(model_class)))
    load(model, tmp_path)
    assert same_state(model, saved)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in saved.parameters())


def test_fills_the_parameters_in_place(tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertModel)
    model = tiny_model(BertModel, seed=1)
    places = {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
    load(model, tmp_path)
    assert places == {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_mapped_parameters_lie_in_the_file(tmp_path: Path) -> None:
    """They are the same numbers, that another process shares; writing to them changes no file."""
    saved = tiny_model(BertForMaskedLM)
    saved.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    before = file.read_bytes()
    model = tiny_model(BertForMaskedLM, seed=1)
    load_weights(model, find_checkpoint(str(tmp_path)), mapped=True)
    assert same_state(model, saved)
    assert str(file) in Path("/proc/self/maps").read_text()
    embeddings, decoder = model.get_input_embeddings(), model.get_output_embeddings()
    assert embeddings.weight is decoder.weight
    with torch.no_grad():
        embeddings.weight.add_(1.0)
    assert file.read_bytes() == before


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_dtypes_are_read_where_they_cannot_be_mapped(dtype: torch.dtype, tmp_path: Path) -> None:
    saved = tiny_model(BertModel)
    saved.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in load_file(file).items()}, file)
    one, other = (tiny_model(BertModel, seed=seed) for seed in (1, 2))
    load_weights(one, find_checkpoint(str(tmp_path)), mapped=True)
    load_weights(other, find_checkpoint(str(tmp_path)))
    assert same_state(one, other)
    assert {parameter.dtype for parameter in one.parameters()} == {torch.float32}


def test_mapped_weights_are_checked_as_others_are(tmp_path: Path) -> None:
    saved = tiny_model(BertModel)
    with torch.no_grad():
        saved.encoder.layer[1].output.dense.weight[3, 2] = torch.nan
    saved.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"holds nan at index \[3, 2\]"):
        load_weights(tiny_model(BertModel), find_checkpoint(str(tmp_path)), mapped=True)


# Names


def test_old_layer_norm_names(tmp_path: Path) -> None:
    saved = tiny_model(BertForMaskedLM)
    saved.save_pretrained(tmp_path)
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

    def rename(tensors: dict[str, Any]) -> dict[str, Any]:
        return {
            name.replace(*next((pair for pair in old.items() if pair[0] in name), ("", ""))): tensor
            for name, tensor in tensors.items()
        }

    rewrite(tmp_path / "model.safetensors", rename)
    assert "bert.embeddings.LayerNorm.gamma" in load_file(tmp_path / "model.safetensors")
    model = tiny_model(BertForMaskedLM, seed=1)
    assert load(model, tmp_path) == LoadReport()
    assert same_state(model, saved)


def test_the_prefix_is_added_and_removed_as_needed(tmp_path: Path) -> None:
    bare = tiny_model(BertModel)
    bare.save_pretrained(tmp_path / "bare")
    whole = tiny_model(BertForNextSentencePrediction, seed=1)
    report = load(whole, tmp_path / "bare", allow_new_heads=True)
    assert same_state(whole.bert, bare)
    assert report.newly_initialised == ("cls.seq_relationship.weight", "cls.seq_relationship.bias")
    whole.save_pretrained(tmp_path / "whole")
    again = tiny_model(BertModel, seed=2)
    report = load(again, tmp_path / "whole")
    assert same_state(again, bare)
    assert report.unused == ("cls.seq_relationship.bias", "cls.seq_relationship.weight")


@pytest.mark.parametrize("model_class", [BertModel, BertForMaskedLM], ids=lambda c: c.__name__)
def test_constants_stored_as_tensors_are_ignored_and_listed(model_class: Any, tmp_path: Path) -> None:
    tiny_folder(tmp_path, model_class)
    prefix = "" if model_class is BertModel else "bert."
    name = f"{prefix}embeddings.position_ids"
    rewrite(tmp_path / "model.safetensors", lambda tensors: tensors.update({name: torch.arange(16)[None]}))
    assert load(tiny_model(model_class), tmp_path).ignored == (name,)


def test_the_same_tensor_under_two_names_is_refused(tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertForMaskedLM)
    extra = {"embeddings.word_embeddings.weight": torch.zeros(20, 8)}
    rewrite(tmp_path / "model.safetensors", lambda tensors: tensors.update(extra))
    with pytest.raises(CheckpointError, match="the same tensor under two names"):
        load(tiny_model(BertForMaskedLM), tmp_path)


@pytest.mark.parametrize(
    "stranger",
    [
        "bert.encoder.layer.2.output.dense.weight",  # a layer more than config.json says
        "bert.encoder.layer.0.attention.self.distance_embedding.weight",  # relative positions, config says absolute
        "bert.encoder.layer.0.crossattention.self.query.weight",  # cross-attention, config says none
        "module.linear.weight",  # a projection
    ],
)
def test_a_tensor_that_bert_does_not_have_is_named(stranger: str, tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertForMaskedLM)
    rewrite(tmp_path / "model.safetensors", lambda tensors: tensors.update({stranger: torch.zeros(8, 8)}))
    model = tiny_model(BertForMaskedLM, seed=1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=stranger):
        load(model, tmp_path, allow_new_heads=True)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items()), "nothing was read"


# Other forms


def test_shards_load_like_one_file(tmp_path: Path) -> None:
    saved = tiny_model(BertForPreTraining)
    saved.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = sorted(tensors)
    weight_map = {}
    for number, part in enumerate((names[::3], names[1::3], names[2::3]), start=1):
        file = f"model-{number:05}-of-00003.safetensors"
        save_file({name: tensors[name] for name in part}, tmp_path / file)
        weight_map.update(dict.fromkeys(part, file))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    model = tiny_model(BertForPreTraining, seed=1)
    assert load(model, tmp_path) == LoadReport()
    assert same_state(model, saved)


def test_pruned_heads(tmp_path: Path) -> None:
    saved = tiny_model(BertModel)
    saved.prune_heads({0: [1]})
    saved.save_pretrained(tmp_path)
    model = BertModel(find_checkpoint(str(tmp_path)).config)
    assert load(model, tmp_path) == LoadReport()
    assert same_state(model, saved)


def test_random_weights_are_not_loaded(tmp_path: Path) -> None:
    tiny_folder(tmp_path, BertModel)
    with pytest.raises(CheckpointError, match=r"random weights \(seed 3\)"):
        load_weights(tiny_model(BertModel), find_checkpoint(str(tmp_path), random_seed=3))


def test_the_sample_equals_transformers() -> None:
    from transformers.models.bert.modeling_bert import BertModel as Reference

    checkpoint = find_checkpoint("sample")
    with torch.device("meta"):
        model = BertModel(checkpoint.config)
    report = load_weights(model, checkpoint)
    assert report == LoadReport(ignored=("embeddings.position_ids",))
    theirs = Reference.from_pretrained(checkpoint.folder).state_dict()
    assert theirs.keys() == model.state_dict().keys()
    assert all(torch.equal(value, theirs[name]) for name, value in model.state_dict().items())

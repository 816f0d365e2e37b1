"""ModernBERT against transformers where its config has choices that other families lack, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from families import Head, heads, inputs_of, pair, their_model
from model_reference import TOLERANCE, output_difference
from tiny_checkpoints import rewrite

import bert_onnx
from bert_onnx import BertConfig
from bert_onnx.errors import CheckpointError, ConfigError, InputError
from bert_onnx.family import FAMILIES
from bert_onnx.modeling.rotary import RotaryTables

pytestmark = pytest.mark.slow

HEADS = tuple(heads("modernbert"))
BIASES = dict.fromkeys(("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"), True)
QKV = "model.layers.1.attn.Wqkv.weight"


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("head", HEADS, ids=str)
def test_texts_of_many_windows(head: Head, pooling: str, tmp_path: Path) -> None:
    fields = {"classifier_pooling": pooling, **(BIASES if pooling == "mean" else {})}
    theirs, ours = pair(head, tmp_path, classifier_activation="silu", **fields)
    for kind in ("right", "left", "holes"):
        inputs = inputs_of(head, ours.config, kind, length=50)
        assert output_difference(theirs(**inputs), ours(**inputs)) <= 2 * TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("head", [head for head in HEADS if head.ours == "BertForMultipleChoice"], ids=str)
def test_choices_are_read_at_their_first_real_token(head: Head, tmp_path: Path) -> None:
    theirs, ours = pair(head, tmp_path)
    inputs = inputs_of(head, ours.config)
    inputs["attention_mask"][:, :, :2] = 0
    assert output_difference(theirs(**inputs), ours(**inputs)) <= 2 * TOLERANCE
    with pytest.raises(InputError, match=r"takes one of \[batch, sequence\]"):
        ours(inputs["input_ids"], torch.ones(4, 2, 9, 9))


@torch.no_grad()
def test_fused_attention_and_float64(tmp_path: Path) -> None:
    theirs, ours = pair(Head(FAMILIES["modernbert"], "BertModel"), tmp_path)
    inputs = inputs_of(Head(FAMILIES["modernbert"], "BertModel"), ours.config, "left", length=50)
    fused = bert_onnx.ModernBertModel.from_pretrained(tmp_path, attn_implementation="sdpa")
    assert output_difference(theirs(**inputs), fused(**inputs)) <= 2 * TOLERANCE
    theirs.set_attn_implementation("sdpa")  # its plain attention has a softmax in float32
    assert output_difference(theirs.double()(**inputs), ours.double()(**inputs)) <= 1e-12


def test_tables_are_those_of_transformers() -> None:
    from transformers import ModernBertConfig
    from transformers.models.modernbert.modeling_modernbert import ModernBertRotaryEmbedding

    config = ModernBertConfig(rope_theta=160000.0)
    places = torch.arange(8192).unsqueeze(0)
    cosines, sines = ModernBertRotaryEmbedding(config)(torch.zeros(1), places)
    tables = RotaryTables(8192, 64, 160000.0)
    assert torch.equal(tables.cosines, cosines[0, :, :32])
    assert torch.equal(tables.sines, sines[0, :, 32:])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hidden_size": 36, "num_attention_heads": 12}, "gives 12 heads of 3; rotary positions turn pairs"),
        ({"global_rope_theta": 0}, "global_rope_theta is 0; it must be a number above 0"),
        ({"local_rope_theta": "x"}, "local_rope_theta is 'x'"),
        ({"classifier_pooling": "max"}, "classifier_pooling is 'max'; supported are cls, mean"),
        ({"attention_bias": 1}, "attention_bias is 1; it must be true or false"),
        ({"mlp_dropout": 2}, "mlp_dropout is 2; it must be a number from 0 to 1"),
        ({"global_attn_every_n_layers": 0}, "global_attn_every_n_layers is 0"),
    ],
)
def test_configs_that_do_not_fit(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        BertConfig.of("modernbert", **fields)


def test_rotations_that_are_scaled_are_refused() -> None:
    values = {"model_type": "modernbert", "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}
    with pytest.raises(ConfigError, match=r"rope_scaling are .* computed without scaling"):
        BertConfig.from_dict(values)
    BertConfig.from_dict(values | {"rope_scaling": {"rope_type": "default"}})
    BertConfig.from_dict(values | {"rope_scaling": None})


def _of_transformers_5(kinds: list[str], wide: dict[str, Any], near: dict[str, Any]) -> dict[str, Any]:
    """A config.json as transformers 5.24 writes it."""
    rotations = {"full_attention": wide, "sliding_attention": near}
    return {
        "model_type": "modernbert", "num_hidden_layers": len(kinds), "layer_types": kinds, "rope_parameters": rotations
    }  # fmt: skip


@pytest.mark.parametrize(("every", "layers"), [(1, 3), (2, 5), (3, 4), (4, 4), (9, 4)])
def test_the_names_of_transformers_5(every: int, layers: int) -> None:
    kinds = ["sliding_attention" if index % every else "full_attention" for index in range(layers)]
    wide, near = {"rope_type": "default", "rope_theta": 5e4}, {"rope_type": "default", "rope_theta": 700.0}
    config = BertConfig.from_dict(_of_transformers_5(kinds, wide, near) | {"global_rope_theta": 1.0})
    assert config.global_attn_every_n_layers == min(every, layers)
    assert (config.global_rope_theta, config.local_rope_theta) == (5e4, 700.0)
    silent = BertConfig.from_dict(_of_transformers_5(kinds, {"rope_type": "default"}, {}) | {"local_rope_theta": 2e4})
    assert (silent.global_rope_theta, silent.local_rope_theta) == (160000.0, 2e4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layer_types": ["sliding_attention", "full_attention"]}, "layer_types is .*equal distances from the first"),
        (
            {"layer_types": ["full_attention", "sliding_attention", "full_attention", "full_attention"]},
            "layer_types is",
        ),
        ({"layer_types": []}, "layer_types is"),
        ({"layer_types": "full_attention"}, "layer_types is"),
        (
            {"rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}},
            r"rotary positions in sliding_attention are .* computed without scaling",
        ),
        ({"rope_parameters": {"full_attention": {"rope_theta": "far"}}}, "global_rope_theta is 'far'"),
    ],
)
def test_what_transformers_5_may_ask_for_and_is_not_computed(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        BertConfig.from_dict({"model_type": "modernbert", **change})


def test_fields_of_its_own_are_not_in_other_configs() -> None:
    assert "local_rope_theta" not in BertConfig().to_dict()
    alone = BertConfig.of("modernbert", local_rope_theta=None).to_dict()
    assert alone["local_rope_theta"] is None
    assert BertConfig.from_dict(alone).local_rope_theta is None


def test_stacked_tensors_are_named_as_they_are_saved(tmp_path: Path) -> None:
    their_model(HEADS[0]).save_pretrained(tmp_path)
    file, whole = tmp_path / "model.safetensors", QKV.removeprefix("model.")
    rewrite(file, lambda tensors: {**tensors, whole: tensors[whole][:-1]})
    with pytest.raises(CheckpointError, match=r"layers\.1\.attn\.Wqkv\.weight"):
        bert_onnx.ModernBertModel.from_pretrained(tmp_path)
    rewrite(file, lambda tensors: {name: tensor for name, tensor in tensors.items() if name != whole})
    with pytest.raises(CheckpointError, match=r"lacks 1 tensor\(s\) .*layers\.1\.attn\.Wqkv\.weight;"):
        bert_onnx.ModernBertModel.from_pretrained(tmp_path)


def test_stacks() -> None:
    family = FAMILIES["modernbert"]
    parts = family.parts_of(QKV)
    assert parts == tuple(f"model.layers.1.attn.{name}.weight" for name in ("query", "key", "value"))
    assert {family.stack_of(part) for part in parts} == {QKV}
    assert family.parts_of("layers.0.mlp.Wi.bias") == ("layers.0.mlp.dense.bias", "layers.0.mlp.gate.bias")
    assert family.stack_of("layers.0.attn.Wo.weight") == "layers.0.attn.Wo.weight"
    assert FAMILIES["bert"].parts_of(QKV) == (QKV,)

"""The table of families: names of weights both ways, what is refused, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from families import Head, heads, their_model
from tiny_checkpoints import rewrite

import bert_onnx
from bert_onnx import BertConfig
from bert_onnx.errors import CheckpointError, ConfigError, UsageError
from bert_onnx.family import FAMILIES, canonical_class, refusal
from bert_onnx.modeling.embeddings import counted_positions
from bert_onnx.modeling.relative_bias import buckets_of
from export.check import check_export
from export.request import ExportRequest


def test_positions_count_real_tokens_after_the_padding_token() -> None:
    ids = torch.tensor([[5, 6, 7, 1, 1], [1, 1, 5, 6, 7], [5, 1, 6, 1, 7], [1, 1, 1, 1, 1]])
    expected = [[2, 3, 4, 1, 1], [1, 1, 2, 3, 4], [2, 1, 3, 1, 4], [1, 1, 1, 1, 1]]
    assert counted_positions(ids, 1, 0).tolist() == expected
    assert counted_positions(ids[:1], 1, 4).tolist() == [[6, 7, 8, 1, 1]]


def test_a_row_of_names_matches_whole_parts() -> None:
    family = FAMILIES["roberta"]
    assert family.tensor_name("bert.encoder.layer.0.output.dense.bias") == "roberta.encoder.layer.0.output.dense.bias"
    assert family.tensor_name("cls.predictions.transform.LayerNorm.weight") == "lm_head.layer_norm.weight"
    assert family.tensor_name("cls.predictions.bias") == "lm_head.bias"
    assert family.tensor_name("mycls.predictions.bias") == "mycls.predictions.bias"
    assert family.tensor_name("embeddings.word_embeddings.weight") == "embeddings.word_embeddings.weight"


def test_classes_of_transformers_lead_back_to_ours() -> None:
    for family in FAMILIES.values():
        assert all(canonical_class(theirs) == ours for ours, theirs in family.classes.items())
    assert canonical_class("T5Model") == "T5Model"


@pytest.mark.parametrize(
    ("model_type", "said"),
    [
        ("deberta-v2", r"model_type deberta-v2: disentangled attention, not in the table; the nearest .* is bert"),
        ("roberta-prelayernorm", r"layer norms before each block, not in the table; the nearest .* is roberta"),
        ("robertta", r"did you mean 'roberta'\?"),
        ("gpt2", r"model_type 'gpt2' is not in the table of bert-onnx, which has bert, ernie, roberta"),
        (None, r"model_type 'None' is not in the table"),
        ("x" * 1000, r"model_type 'x{80}' is not"),
    ],
)
def test_a_model_type_that_is_not_in_the_table(model_type: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        BertConfig.from_dict({"model_type": model_type}, "config.json")
    assert str(caught.value).startswith("config.json: ")
    assert refusal(model_type, FAMILIES) in str(caught.value)


def test_no_row_is_called_near() -> None:
    from bert_onnx.family.near import NEAR

    assert not NEAR.keys() & FAMILIES.keys()
    assert all(near in FAMILIES or near == "xlm-roberta" for near, _ in NEAR.values())


def test_keys_that_only_another_family_has_are_left_out() -> None:
    assert BertConfig.from_dict({"embedding_size": 7}) == BertConfig()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"pad_token_id": None}, "pad_token_id is not set; positions of roberta count from it"),
        ({"max_position_embeddings": 2}, "max_position_embeddings is 2 and the padding token is 1"),
    ],
)
def test_positions_need_their_padding_token(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        BertConfig.of("roberta", **fields)


def test_lengths_of_a_table_that_counts_from_the_padding_token() -> None:
    config = BertConfig.of("roberta", max_position_embeddings=514)
    assert (config.first_position, config.longest_sequence) == (2, 512)
    assert BertConfig().longest_sequence == 512
    model = bert_onnx.RobertaModel(BertConfig.of("roberta", **SMALL))
    model(torch.full((1, 10), 4))
    with pytest.raises(bert_onnx.InputError, match="11 tokens is longer than the 10 positions"):
        model(torch.full((1, 11), 4))


SMALL = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 12,
}


@pytest.mark.parametrize(
    ("name", "rows", "said"),
    [
        (
            "roberta.embeddings.position_embeddings.weight",
            38,
            r"holds 38 positions and config.json says max_position_embeddings 40 \(positions count from pad_token_id "
            r"\+ 1 = 2\)",
        ),
        (
            "roberta.embeddings.token_type_embeddings.weight",
            1,
            "holds 1 token types and config.json says type_vocab_size 2",
        ),
        ("roberta.embeddings.word_embeddings.weight", 60, "holds 60 tokens and config.json says vocab_size 61"),
    ],
)
def test_a_config_that_contradicts_its_weights_names_both(name: str, rows: int, said: str, tmp_path: Path) -> None:
    their_model(Head(FAMILIES["roberta"], "BertForTokenClassification")).save_pretrained(tmp_path)
    rewrite(tmp_path / "model.safetensors", lambda tensors: {**tensors, name: tensors[name][:rows]})
    with pytest.raises(CheckpointError, match=said):
        bert_onnx.RobertaForTokenClassification.from_pretrained(tmp_path)


@pytest.mark.parametrize("prefix", ["module.", "bert.", "model.roberta.", "encoder.", "0.auto_model."])
def test_names_under_any_holder(prefix: str, tmp_path: Path) -> None:
    (head, *_) = heads("roberta")
    their_model(head).save_pretrained(tmp_path)
    expected = bert_onnx.RobertaModel.from_pretrained(tmp_path).state_dict()
    rewrite(tmp_path / "model.safetensors", lambda tensors: {prefix + name: value for name, value in tensors.items()})
    found = bert_onnx.RobertaModel.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_head_that_the_checkpoint_lacks_is_named_as_it_would_be_there(tmp_path: Path) -> None:
    (head, *_) = heads("roberta")
    their_model(head).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"lm_head\.bias"):
        bert_onnx.RobertaForMaskedLM.from_pretrained(tmp_path)


def test_a_task_that_a_family_has_no_model_for(tmp_path: Path) -> None:
    (head, *_) = heads("distilbert")
    their_model(head).save_pretrained(tmp_path)
    with pytest.raises(
        UsageError, match="distilbert has no model for text-generation; its tasks are feature-extraction"
    ):
        check_export(ExportRequest(str(tmp_path), "text-generation", str(tmp_path / "out")))


def test_buckets_of_distances_are_those_of_transformers() -> None:
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    for count in (4, 32, 33):
        behind = torch.arange(-600, 601)
        expected = MPNetEncoder.relative_position_bucket(-behind, num_buckets=count)
        assert torch.equal(buckets_of(behind, count), expected)


def test_layers_that_are_shared_are_run_in_groups() -> None:
    assert BertConfig.of("albert", num_hidden_layers=6, num_hidden_groups=2).layer_order == (0, 0, 0, 1, 1, 1)
    assert BertConfig.of("albert", num_hidden_layers=5, num_hidden_groups=2).layer_order == (0, 0, 0, 1, 1)
    assert BertConfig(num_hidden_layers=3).layer_order == (0, 1, 2)


def test_groups_of_several_layers() -> None:
    config = BertConfig.of("albert", num_hidden_layers=5, num_hidden_groups=2, inner_group_num=2)
    assert (config.own_layers, config.layer_order) == (4, (0, 1, 0, 1, 0, 1, 2, 3, 2, 3))
    assert config.head_mask_rows == (0, 1, 2, 3)
    assert BertConfig.of("albert", num_hidden_layers=6, num_hidden_groups=2).head_mask_rows == (0, 3)
    name = "bert.encoder.layer.3.attention.self.query.weight"
    assert (
        config.family.tensor_name(name) == "albert.encoder.albert_layer_groups.1.albert_layers.1.attention.query.weight"
    )
    alone = BertConfig.of("albert").family.tensor_name(name)
    assert alone == "albert.encoder.albert_layer_groups.3.albert_layers.0.attention.query.weight"


@pytest.mark.parametrize(
    ("model_type", "fields", "said"),
    [
        (
            "albert",
            {"inner_group_num": 2, "num_hidden_groups": 7},
            "inner_group_num is 2, more than num_hidden_layers / num_hidden_groups, 12 / 7",
        ),
        ("albert", {"num_hidden_groups": 13}, "num_hidden_groups is 13, more than num_hidden_layers, 12"),
        ("electra", {"embedding_size": 0}, "embedding_size is 0; it must be a whole number of at least 1"),
        ("mpnet", {"relative_attention_num_buckets": 2}, "relative_attention_num_buckets is 2"),
        ("distilbert", {"qa_dropout": 1.5}, "qa_dropout is 1.5"),
    ],
)
def test_fields_of_a_family_that_do_not_fit(model_type: str, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        BertConfig.of(model_type, **fields)


def test_a_summary_that_is_not_computed_is_refused() -> None:
    config = BertConfig.of("electra", **SMALL, embedding_size=4, summary_type="last")
    with pytest.raises(ConfigError, match="summary_type, summary_use_proj and summary_activation are"):
        bert_onnx.ElectraForMultipleChoice(config)
    bert_onnx.ElectraForTokenClassification(config)


def test_layers_that_share_their_weights_are_written_once(tmp_path: Path) -> None:
    config = BertConfig.of("albert", **{**SMALL, "num_hidden_layers": 4, "num_hidden_groups": 2})
    model = bert_onnx.AlbertModel(config)
    assert len(model.encoder.layer) == 2
    assert model.num_parameters() == sum(parameter.numel() for parameter in model.parameters())

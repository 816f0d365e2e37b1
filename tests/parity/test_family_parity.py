"""Every class of every family against transformers: weights that transformers saved, every mask, every input."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from families import Head, heads, inputs_of, pair, their_model
from model_reference import TOLERANCE, difference, output_difference
from safetensors.torch import load_file

import bert_onnx
from bert_onnx import BertConfig
from bert_onnx.errors import ConfigError

pytestmark = pytest.mark.slow

HEADS = tuple(heads())
MODELS = tuple(head for head in HEADS if head.ours == "BertModel")
#: Fields of some families only.
OWN = frozenset().union(*(head.family.own for head in HEADS))


@torch.no_grad()
@pytest.mark.parametrize("head", HEADS, ids=str)
def test_outputs_of_every_mask(head: Head, tmp_path: Path) -> None:
    theirs, ours = pair(head, tmp_path)
    options: dict[str, Any] = {"output_attentions": True, "output_hidden_states": True}
    # Which of transformers' decoders return a cache without being asked differs.
    cache = {"use_cache": False} if head.ours == "BertLMHeadModel" else {}
    options |= cache
    for kind in ("right", "left", "holes"):
        inputs = inputs_of(head, ours.config, kind)
        assert output_difference(theirs(**inputs, **options), ours(**inputs, **options)) <= 2 * TOLERANCE
    without_mask = {name: value for name, value in inputs.items() if name == "input_ids"}
    assert output_difference(theirs(**without_mask, **cache), ours(**without_mask, **cache)) <= 2 * TOLERANCE


#: Configs that checkpoints have seldom, by the fields that a family must have for them.
ODD: tuple[dict[str, Any], ...] = (
    {"position_embedding_type": "relative_key"},
    {"position_embedding_type": "relative_key_query"},
    {"position_embedding_type": None},
    {"type_vocab_size": 16, "pad_token_id": 5, "hidden_act": "gelu_new", "layer_norm_eps": 1e-3},
    {"tie_word_embeddings": False, "hidden_size": 36, "intermediate_size": 37, "num_attention_heads": 3},
    {"embedding_size": 32},
    {"num_hidden_groups": 2, "inner_group_num": 2, "num_hidden_layers": 5},
    {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True, "decoder_bias": False},
    {"local_rope_theta": None, "global_attn_every_n_layers": 3, "local_attention": 3, "classifier_activation": "silu"},
)


@torch.no_grad()
@pytest.mark.parametrize("fields", ODD, ids=str)
@pytest.mark.parametrize("head", [head for head in HEADS if head.ours in ("BertModel", "BertForMaskedLM")], ids=str)
def test_configs_that_are_seldom(head: Head, fields: dict[str, Any], tmp_path: Path) -> None:
    """Padding that stands where the mask says otherwise, rows of padding alone, and masks of heads, too."""
    everywhere = {field.name for field in dataclasses.fields(BertConfig())} - OWN
    has = (everywhere | head.family.own) - head.family.lacks
    if not fields.keys() & has:
        pytest.skip("not of this family")
    theirs, ours = pair(head, tmp_path, **{name: value for name, value in fields.items() if name in has})
    inputs = inputs_of(head, ours.config, "holes")
    inputs["input_ids"][1, 2:6] = ours.config.pad_token_id
    inputs["input_ids"][2], inputs["attention_mask"][2] = ours.config.pad_token_id, 0
    heads_kept = torch.arange(ours.config.num_hidden_layers * ours.config.num_attention_heads) % 3 > 0
    options: dict[str, Any] = {"output_attentions": True, "output_hidden_states": True}
    if "head_mask" in inspect.signature(theirs.forward).parameters and head.ours == "BertModel":
        options["head_mask"] = heads_kept.float().view(ours.config.num_hidden_layers, -1)
    assert output_difference(theirs(**inputs, **options), ours(**inputs, **options)) <= 2 * TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("head", MODELS, ids=str)
def test_word_vectors_and_positions_in_place_of_ids(head: Head, tmp_path: Path) -> None:
    theirs, ours = pair(head, tmp_path)
    inputs = inputs_of(head, ours.config)
    ids = inputs.pop("input_ids")
    vectors = theirs.get_input_embeddings()(ids)
    assert output_difference(theirs(inputs_embeds=vectors, **inputs), ours(inputs_embeds=vectors, **inputs)) < 1e-4
    if head.family.model_type != "distilbert":  # which takes no positions
        inputs["position_ids"] = torch.randperm(20)[: ids.shape[1]].expand(ids.shape)
        assert output_difference(theirs(ids, **inputs), ours(ids, **inputs)) < 1e-4


@torch.no_grad()
@pytest.mark.parametrize("head", [head for head in HEADS if head.ours == "BertLMHeadModel"], ids=str)
def test_a_cache(head: Head, tmp_path: Path) -> None:
    theirs, ours = pair(head, tmp_path)
    ids = torch.randint(3, 60, (2, 8), generator=torch.Generator().manual_seed(0))
    first, second = ids[:, :5], ids[:, 5:]
    old, new = theirs(first, use_cache=True), ours(first, use_cache=True)
    assert difference(old.past_key_values, new.past_key_values) <= TOLERANCE
    mask = torch.ones_like(ids)  # ELECTRA's in transformers is too short where there is none
    left = theirs(second, attention_mask=mask, past_key_values=old.past_key_values, use_cache=True)
    right = ours(second, past_key_values=new.past_key_values, use_cache=True)
    assert difference(left.logits, right.logits) <= 2 * TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("head", HEADS, ids=str)
def test_losses(head: Head, tmp_path: Path) -> None:
    theirs, ours = pair(head, tmp_path)
    inputs = inputs_of(head, ours.config)
    batch, length = inputs["input_ids"].shape[0], inputs["input_ids"].shape[-1]
    labels: dict[str, Any] = {
        "BertForSequenceClassification": {"labels": torch.arange(batch) % 3},
        "BertForMultipleChoice": {"labels": torch.arange(batch) % 2},
        "BertForQuestionAnswering": {
            "start_positions": torch.arange(batch),
            "end_positions": torch.arange(batch) + 5,
        },
        "BertForTokenClassification": {"labels": torch.ones(batch, length, dtype=torch.long)},
        "BertForMaskedLM": {"labels": inputs["input_ids"]},
        "BertLMHeadModel": {"labels": inputs["input_ids"]},
        "BertForReplacedTokenDetection": {"labels": inputs["input_ids"] % 2},
    }
    if head.ours not in labels:
        pytest.skip("no loss")
    given = labels[head.ours]
    assert difference(theirs(**inputs, **given).loss, ours(**inputs, **given).loss) <= 2 * TOLERANCE


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_what_we_save_is_what_transformers_saves_and_opens(head: Head, tmp_path: Path) -> None:
    theirs, ours = pair(head, tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    saved = load_file(tmp_path / "ours" / "model.safetensors")
    expected = load_file(tmp_path / "theirs" / "model.safetensors")
    assert saved.keys() == expected.keys()
    assert all(torch.equal(saved[name], expected[name]) for name in expected)
    before, after = (json.loads((tmp_path / side / "config.json").read_text()) for side in ("theirs", "ours"))
    assert after["model_type"] == head.family.model_type
    assert after["architectures"] == [head.theirs]
    shared = before.keys() & after.keys() - {"dtype", "torch_dtype", "transformers_version"}
    assert {name: after[name] for name in shared} == {name: before[name] for name in shared}
    opened, report = getattr(transformers, head.theirs).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    inputs = inputs_of(head, ours.config)
    with torch.no_grad():
        assert output_difference(theirs(**inputs), opened.eval()(**inputs)) <= TOLERANCE


@pytest.mark.parametrize("head", MODELS, ids=str)
def test_defaults_of_the_config(head: Head) -> None:
    theirs = transformers.AutoConfig.for_model(head.family.model_type).to_dict()
    ours = BertConfig.of(head.family.model_type).to_dict()
    shared = (ours.keys() & theirs.keys()) - {"id2label", "architectures", "torch_dtype"}
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}
    # What says how the model computes is there under its own name.
    fields = {head.family.fields.get(field.name, field.name) for field in dataclasses.fields(BertConfig())}
    fields -= head.family.lacks
    assert {name for name in theirs if name in fields and theirs[name] is not None} - {"dtype"} <= ours.keys()


def test_a_class_takes_configs_of_its_family_only(tmp_path: Path) -> None:
    their_model(Head(HEADS[0].family, "BertModel")).save_pretrained(tmp_path)
    model = bert_onnx.BertModel.from_pretrained(tmp_path)
    assert model.config.model_type == HEADS[0].family.model_type
    with pytest.raises(ConfigError, match="takes configs of model_type 'roberta', and this one is of 'bert'"):
        bert_onnx.RobertaModel(BertConfig())
    with pytest.raises(
        ConfigError, match="BertForPreTraining is none of the models of roberta, which are RobertaModel"
    ):
        bert_onnx.BertForPreTraining(BertConfig.of("roberta"))

"""Names as training programs leave them: wrappers, leftovers, and what must not be dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from loading_helpers import CLASSES, load, options, same_state
from tiny_checkpoints import rewrite, tiny_folder, tiny_model

from bert_onnx.checkpoint import LoadReport
from bert_onnx.checkpoint.names import canonical
from bert_onnx.errors import CheckpointError
from bert_onnx.family import FAMILIES
from bert_onnx.modeling.heads import BertForSequenceClassification
from bert_onnx.modeling.lm_heads import BertForMaskedLM
from bert_onnx.modeling.model import BertModel

pytestmark = pytest.mark.slow

BERT = FAMILIES["bert"]

PREFIXES = (
    "module.",
    "_orig_mod.",
    "model.",
    "bert.",
    "bert.bert.",
    "_orig_mod.module.",
    "module.model.bert.",
    "model._orig_mod.",
    "module.module.",
    "_fsdp_wrapped_module.",
    "auto_model.",
    "0.auto_model.",
    "encoder.",
    "backbone.bert.",
    "module.net.encoder.",
)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("model_class", [BertModel, BertForMaskedLM, BertForSequenceClassification])
def test_wrappers_are_taken_off(model_class: Any, prefix: str, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, model_class)
    rewrite(folder / "model.safetensors", lambda tensors: {prefix + name: value for name, value in tensors.items()})
    model = tiny_model(model_class, seed=1)
    assert load(model, folder, strict=True) == LoadReport()
    assert same_state(model, tiny_model(model_class))


@pytest.mark.parametrize("model_class", CLASSES, ids=lambda one: one.__name__)
def test_the_names_of_every_class_are_canonical_whether_bert_is_before_them_or_not(model_class: Any) -> None:
    for name, _ in tiny_model(model_class, **options(model_class)).named_parameters():
        short = name.removeprefix("bert.")
        forms = {canonical(form, BERT) for form in (name, short, f"bert.{name}", f"module.{short}")}
        assert forms == {canonical(name, BERT)}


def test_a_wrapper_inside_a_name_is_taken_out(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, BertForMaskedLM)
    rename = {".layer.1.": ".layer.1._checkpoint_wrapped_module.", "bert.": "bert._orig_mod."}

    def change(tensors: dict[str, Any]) -> dict[str, Any]:
        for old, new in rename.items():
            tensors = {name.replace(old, new): value for name, value in tensors.items()}
        return tensors

    rewrite(folder / "model.safetensors", change)
    assert load(tiny_model(BertForMaskedLM, seed=1), folder) == LoadReport()


LEFT = (
    "optimizer.state.0.exp_avg",
    "optimizer_state.exp_avg",
    "optim.param_groups.0.lr",
    "state.0.exp_avg_sq",
    "encoder.layer.0.attention.self.query.weight.momentum_buffer",
    "criterion.weight",
    "loss_fct.weight",
    "loss_fn.pos_weight",
    "class_weights",
    "log_vars",
    "ema.bert.encoder.layer.0.attention.self.query.weight",
    "teacher.encoder.layer.0.attention.self.query.weight",
    "n_averaged",
    "logit_scale",
    "temperature",
    "lr_scheduler.step",
    "ner_classifier.weight",
    "lm_head.bias",
    "classifier2.weight",
    "intent_head.dense.weight",
)


@pytest.mark.parametrize("before", ["", "module."])
@pytest.mark.parametrize("name", LEFT)
def test_what_training_left_is_dropped_with_a_note_and_refused_when_strict(
    name: str, before: str, tmp_path: Path
) -> None:
    folder = tiny_folder(tmp_path, BertModel)
    rewrite(folder / "model.safetensors", lambda tensors: {**tensors, before + name: torch.ones(3)})
    model = tiny_model(BertModel, seed=1)
    report = load(model, folder)
    assert report.left_behind == (before + name,)
    assert any(before + name in message for message in report.messages())
    assert same_state(model, tiny_model(BertModel))
    with pytest.raises(CheckpointError, match="without strict they are left out"):
        load(model, folder, strict=True)


CHANGES = {
    "linear.weight": "may change what the model returns",
    "dense.linear.weight": "may change what the model returns",
    "projection.weight": "may change what the model returns",
    "text_projection.weight": "may change what the model returns",
    "embeddings.LayerNorm2.weight": "may change what the model returns",
    "crf.transitions": "may change what the model returns",
    "encoder.layer.2.attention.self.query.weight": "set num_hidden_layers",
    "encoder.layer.0.attention.self.query.lora_A.default.weight": "merge_and_unload",
    "classifier.lora_B.weight": "merge_and_unload",
    "encoder.layer.1.output.adapters.domain.down.weight": "merge_and_unload",
    "prefix_encoder.embedding.weight": "merge_and_unload",
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_the_results_is_never_dropped(name: str, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, BertModel)
    rewrite(folder / "model.safetensors", lambda tensors: {**tensors, f"module.{name}": torch.ones(3)})
    for allowed in (False, True):
        with pytest.raises(CheckpointError, match=CHANGES[name]) as caught:
            load(tiny_model(BertModel), folder, allow_new_heads=allowed)
        assert f"module.{name}" in str(caught.value)


def test_of_two_models_in_one_file_none_is_chosen(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, BertModel)

    def double(tensors: dict[str, Any]) -> dict[str, Any]:
        return {f"{tower}.{name}": value for tower in ("query", "passage") for name, value in tensors.items()}

    rewrite(folder / "model.safetensors", double)
    with pytest.raises(CheckpointError, match=r"passage\.embeddings.*may change what the model returns"):
        load(tiny_model(BertModel), folder)


def test_two_copies_under_two_wrappers_are_not_chosen_between(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, BertModel)
    rewrite(folder / "model.safetensors", lambda t: {**t, **{f"module.{name}": value + 1 for name, value in t.items()}})
    with pytest.raises(CheckpointError, match="under two names"):
        load(tiny_model(BertModel), folder)

"""What a cross-encoder states, where it states it, and which task follows."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoints import tiny_folder

from bert_onnx.checkpoint import find_checkpoint
from bert_onnx.checkpoint.cross_encoder import is_cross_encoder, read_activation_fn, read_prompts
from bert_onnx.errors import CheckpointError
from bert_onnx.modeling.heads import BertForSequenceClassification
from export.reference.task_choice import choose_task
from export.request import ExportRequest

TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}
KEY, OLD = "sentence_transformers", "sbert_ce_default_activation_function"


def folder(place: Path, config: dict[str, Any] | None = None, labels: int = 1, settings: Any = None) -> Path:
    """A classifier; with `settings` a folder of modules, as sentence-transformers 5 saves it."""
    tiny_folder(place, BertForSequenceClassification, num_labels=labels)
    path = place / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | (config or {})))
    if settings is not None:
        (place / "modules.json").write_text(json.dumps([TRANSFORMER]))
        (place / "config_sentence_transformers.json").write_text(json.dumps(settings))
    return place


def activation(place: Path, *arguments: Any, **options: Any) -> str | None:
    return read_activation_fn(find_checkpoint(str(folder(place, *arguments, **options))))


@pytest.mark.parametrize(
    ("config", "labels", "expected"),
    [
        ({}, 1, "Sigmoid"),
        ({}, 3, "Identity"),
        ({KEY: {"activation_fn": "torch.nn.modules.linear.Identity"}}, 1, "Identity"),
        ({KEY: {"activation_fn": "torch.nn.Tanh", "version": "5.7.0"}}, 3, "Tanh"),
        ({KEY: {"version": "5.7.0"}, OLD: "torch.nn.ReLU"}, 1, "ReLU"),
        ({KEY: {"activation_fn": None}, OLD: "torch.nn.ReLU"}, 1, "Sigmoid"),
        ({OLD: "torch.nn.modules.activation.Softplus"}, 1, "Softplus"),
        ({OLD: None}, 1, "Sigmoid"),
        ({KEY: "text", OLD: 3}, 1, "Sigmoid"),
    ],
)
def test_the_activation_in_config_json(tmp_path: Path, config: dict[str, Any], labels: int, expected: str) -> None:
    assert activation(tmp_path, config, labels) == expected


def test_settings_of_modules_come_first(tmp_path: Path) -> None:
    config = {KEY: {"activation_fn": "torch.nn.Tanh"}}
    settings = {"model_type": "CrossEncoder", "activation_fn": "torch.nn.ReLU", "prompts": {"query": "q: "}}
    assert activation(tmp_path / "a", config, settings=settings) == "ReLU"
    assert activation(tmp_path / "b", config, settings=settings | {"activation_fn": None}) == "Tanh"
    assert activation(tmp_path / "c", config, settings={"activation_fn": "torch.nn.ReLU"}) == "Tanh"
    stated = read_prompts(find_checkpoint(str(tmp_path / "a")))
    assert (stated.prompts, stated.default_prompt_name) == ({"query": "q: "}, None)


def test_code_of_others_is_never_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert activation(tmp_path, {KEY: {"activation_fn": "os.abort"}}) == "Sigmoid"
    assert "'os.abort', code that is never run" in caplog.text


@pytest.mark.parametrize(
    "path", ["torch.nn.GLU", "torch.nn.Linear", "torch.sigmoid", "torch.os.abort", "torch.", 3, []]
)
def test_what_is_no_activation_is_refused_with_a_way_on(tmp_path: Path, path: Any) -> None:
    with pytest.raises(CheckpointError, match=r"config.json: .*activation_fn.*--task text-classification"):
        activation(tmp_path, {KEY: {"activation_fn": path}})


@pytest.mark.parametrize(
    ("config", "labels", "task"),
    [
        ({}, 1, "text-ranking"),
        ({"problem_type": "regression"}, 1, "text-classification"),
        ({"problem_type": "regression", OLD: "torch.nn.Identity"}, 1, "text-ranking"),
        ({"problem_type": "regression", KEY: {"version": "5.7.0"}}, 1, "text-ranking"),
        ({KEY: {"version": "5.7.0"}}, 3, "text-classification"),
        ({}, 3, "text-classification"),
    ],
)
def test_which_task_follows(tmp_path: Path, config: dict[str, Any], labels: int, task: str) -> None:
    checkpoint = find_checkpoint(str(folder(tmp_path, config, labels)))
    assert is_cross_encoder(checkpoint) is bool({KEY, OLD} & config.keys())
    assert choose_task(ExportRequest(str(tmp_path)), checkpoint)[0].name == task
    assert choose_task(ExportRequest(str(tmp_path), "text-ranking"), checkpoint)[0].name == "text-ranking"


def test_scores_of_further_modules_are_refused(tmp_path: Path) -> None:
    folder(tmp_path, settings={"model_type": "CrossEncoder"})
    pooling = {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
    (tmp_path / "modules.json").write_text(json.dumps([TRANSFORMER, pooling]))
    checkpoint = find_checkpoint(str(tmp_path))
    with pytest.raises(CheckpointError, match=r"makes scores by Pooling.*--task feature-extraction"):
        choose_task(ExportRequest(str(tmp_path)), checkpoint)
    with pytest.raises(CheckpointError, match="makes scores by Pooling"):
        read_activation_fn(checkpoint)
    assert choose_task(ExportRequest(str(tmp_path), "feature-extraction"), checkpoint)[0].name == "feature-extraction"

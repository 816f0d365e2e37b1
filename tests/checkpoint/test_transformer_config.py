"""The config of a sentence-transformers Transformer: its names, what counts in it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoints import tiny_folder

from bert_onnx.checkpoint import find_checkpoint, read_modules
from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.checkpoint.transformer_config import TransformerConfig, read_transformer_config, transformer_file
from bert_onnx.errors import CheckpointError
from bert_onnx.modeling.model import BertModel

FORWARD = {"method": "forward", "method_output_name": "last_hidden_state"}


def checkpoint_of(folder: Path, values: Any, name: str = "sentence_bert_config.json") -> Checkpoint:
    tiny_folder(folder, BertModel)
    (folder / name).write_text(values if isinstance(values, str) else json.dumps(values))
    return find_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, TransformerConfig()),
        ({"max_seq_length": None, "do_lower_case": None}, TransformerConfig()),
        ({"max_seq_length": 9, "do_lower_case": True}, TransformerConfig(9, True)),
        ({"max_seq_length": 9, "tokenizer_args": {"model_max_length": 7}}, TransformerConfig(7)),
        ({"max_seq_length": 9, "processor_kwargs": {"model_max_length": 7, "use_fast": True}}, TransformerConfig(7)),
        ({"processing_kwargs": {"text": {"max_length": 5, "padding": "max_length"}}}, TransformerConfig(5)),
        ({"model_args": {"trust_remote_code": True, "attn_implementation": "sdpa"}}, TransformerConfig()),
        ({"modality_config": {"text": FORWARD}}, TransformerConfig(output="last_hidden_state")),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_counts(values: Any, expected: TransformerConfig, tmp_path: Path) -> None:
    assert read_transformer_config(checkpoint_of(tmp_path, values)) == expected


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "xlm-roberta"])
def test_the_names_that_old_versions_gave_the_file(kind: str, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path, {"max_seq_length": 9}, f"sentence_{kind}_config.json")
    assert read_transformer_config(checkpoint) == TransformerConfig(9)
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 8}')
    assert transformer_file(tmp_path) == tmp_path / "sentence_bert_config.json"
    assert read_transformer_config(checkpoint) == TransformerConfig(8)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ("[]", "not a JSON object"),
        ({"tokenizer_args": {"do_lower_case": False}}, "'do_lower_case'.*tokenizer_config.json"),
        ({"config_kwargs": {"hidden_act": "relu"}}, "'hidden_act'.*config.json"),
        ({"processing_kwargs": {"text": {"add_special_tokens": False}}}, "'add_special_tokens'"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_not_applied_is_refused(values: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=reason):
        read_transformer_config(checkpoint_of(tmp_path, values))


def test_modules_that_read_the_pooler_are_refused_unless_a_pooling_is_chosen(tmp_path: Path) -> None:
    stated = {"text": {**FORWARD, "method_output_name": "pooler_output"}}
    checkpoint = checkpoint_of(tmp_path, {"modality_config": stated, "module_output_name": "sentence_embedding"})
    listed = [{"path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}]
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(CheckpointError, match=r"'pooler_output'.*gives them last_hidden_state.*--pooling"):
        read_modules(checkpoint)

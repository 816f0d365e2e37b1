"""Configs that no machine could hold are refused before anything is built; those that fit are not."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoints import TINY, tiny_folder

import bert_onnx.memory
from bert_onnx.checkpoint import find_checkpoint
from bert_onnx.config import BertConfig
from bert_onnx.errors import ConfigError
from bert_onnx.memory import check_memory, weight_bytes
from bert_onnx.modeling.model import BertModel

HUGE = (
    {"num_hidden_layers": 10**9},
    {"vocab_size": 10**12},
    {"intermediate_size": 10**12},
    {"max_position_embeddings": 10**12},
    {"type_vocab_size": 10**12},
    {"hidden_size": 2 * 10**6},
    {"hidden_size": 2 * 10**3000},
    {"position_embedding_type": "relative_key", "max_position_embeddings": 10**11},
)


@pytest.mark.parametrize("changes", HUGE, ids=lambda changes: "-".join(changes))
def test_a_huge_config_is_refused_at_once_with_what_it_needs(changes: dict[str, Any], tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, BertModel)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | changes))
    begun = time.monotonic()
    for seed in (None, 0):
        with pytest.raises(ConfigError, match=r"config\.json: .* need [\d,.]+ GiB for the weights alone"):
            find_checkpoint(str(folder), random_seed=seed)
    with pytest.raises(ConfigError, match="this process may use"):
        BertModel.from_pretrained(folder)
    assert time.monotonic() - begun < 5


def test_the_command_line_says_so_with_the_status_of_a_config(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "huge", BertModel)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"num_hidden_layers": 10**9}))
    command = [sys.executable, "-m", "bert_onnx", "export", str(folder), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 4
    assert "1,000,000,000 layers" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("changes", [{}, {"add_cross_attention": True, "is_decoder": True},
                                     {"position_embedding_type": "relative_key_query"}])  # fmt: skip
def test_the_estimate_is_what_the_weights_take_and_little_more(changes: dict[str, Any]) -> None:
    config = TINY.replace(hidden_size=64, intermediate_size=256, num_attention_heads=4, **changes)
    weights = sum(4 * parameter.numel() for parameter in BertModel(config, add_pooling_layer=False).parameters())
    estimate = weight_bytes(config) - config.num_hidden_layers * bert_onnx.memory._LAYER_OBJECTS
    assert 0.95 * weights < estimate < 1.01 * weights


@pytest.mark.parametrize(("spare", "fits"), [(0, True), (-1, False)])
def test_the_smaller_limit_decides_to_the_byte(spare: int, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    large = BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
    monkeypatch.setattr(bert_onnx.memory, "memory_limit", lambda: weight_bytes(large) + spare)
    monkeypatch.setattr(bert_onnx.memory, "physical_memory", lambda: 1 << 50)
    if fits:
        check_memory(large, "it")
        return
    with pytest.raises(ConfigError, match=r"need 1\.2 GiB"):
        check_memory(large, "it")


def test_where_the_system_tells_nothing_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bert_onnx.memory, "memory_limit", lambda: None)
    monkeypatch.setattr(bert_onnx.memory, "physical_memory", lambda: None)
    check_memory(TINY.replace(num_hidden_layers=10**9), "it")

"""Long models are verified within the memory of the machine, and say what was left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from export_samples import save_checkpoint, tiny_config, tiny_eager

import bert_onnx.memory
from bert_onnx.config import BertConfig
from bert_onnx.modeling.attention import BertSelfAttention
from export.pipeline import export
from export.reference.fused import fused_attention, has_large_scores
from export.reference.runtime import Reference
from export.request import ExportRequest
from export.verification.cases import verification_cases
from export.verification.longest import length_warnings, longest_case, needed_memory

LONG = BertConfig(max_position_embeddings=8192)
GIB = 1 << 30


def give(monkeypatch: pytest.MonkeyPatch, memory: int | None) -> None:
    monkeypatch.setattr(bert_onnx.memory, "memory_limit", lambda: memory)
    monkeypatch.setattr(bert_onnx.memory, "physical_memory", lambda: None)


@pytest.mark.parametrize(("memory", "expected"), [(None, 8192), (32 * GIB, 8192), (4 * GIB, 3072), (GIB, 512)])
def test_the_longest_case_fits(monkeypatch: pytest.MonkeyPatch, memory: int | None, expected: int) -> None:
    give(monkeypatch, memory)
    assert longest_case(LONG) == expected
    if memory and expected > 512:
        assert needed_memory(LONG, expected) <= memory


@pytest.mark.parametrize("positions", [1, 40, 512])
def test_ordinary_models_are_verified_whole_on_any_machine(monkeypatch: pytest.MonkeyPatch, positions: int) -> None:
    give(monkeypatch, GIB)
    assert longest_case(BertConfig(max_position_embeddings=positions)) == positions
    assert length_warnings(BertConfig(max_position_embeddings=positions)) == ()


def test_what_is_left_out_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    give(monkeypatch, GIB)
    folder = save_checkpoint(tmp_path / "long", "feature-extraction", max_position_embeddings=1024)
    report = export(ExportRequest(str(folder), output=str(tmp_path / "out")))
    (warning,) = [one for one in report.warnings if "positions" in one]
    assert "1,024 positions; inputs of at most 512 tokens were verified" in warning
    assert "need about 1.0 GiB" in warning
    cases = json.loads((tmp_path / "out" / "manifest.json").read_text())["variants"][0]["parity"]["cases"]
    assert "longest 1x512" in cases


def test_long_inputs_run_without_scores_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    eager = tiny_eager("feature-extraction")
    (case,) = [one for one in verification_cases(eager.task, eager.config, eager.module.inputs) if "holed" in one.name]
    reference = Reference(eager)
    before = reference.run(case.inputs)
    assert not has_large_scores(eager.config, case.inputs)
    monkeypatch.setattr("export.reference.fused._MOST_SCORES", 1)
    used = []

    def watch(module: torch.nn.Module, given: object) -> None:
        used.append(module.fused)

    attention = next(part for part in eager.module.modules() if isinstance(part, BertSelfAttention))
    attention.register_forward_pre_hook(watch)
    after = reference.run(case.inputs)
    assert used == [True]
    assert not attention.fused
    for name in before:
        np.testing.assert_allclose(after[name], before[name], atol=1e-5)


def test_fused_attention_is_left_as_it_was_after_a_failure() -> None:
    module = tiny_eager("feature-extraction").module
    with pytest.raises(ZeroDivisionError), fused_attention(module):
        1 / 0  # noqa: B018
    assert not any(part.fused for part in module.modules() if isinstance(part, BertSelfAttention))


def test_scores_of_long_inputs_are_large() -> None:
    config = tiny_config()
    assert has_large_scores(config, {"input_ids": np.zeros((1, 1 << 13)), "attention_mask": np.zeros((1, 1 << 13))})

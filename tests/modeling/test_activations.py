"""Every activation of transformers' table: the same values, and the same in graphs of every kind of target."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_checkpoints import TINY, tiny_folder
from transformers.activations import ACT2CLS, ACT2FN

from bert_onnx.config import ACTIVATIONS
from bert_onnx.config_rules import TRAINED_ACTIVATIONS
from bert_onnx.errors import ConfigError
from bert_onnx.modeling.activations import ACTIVATION_FUNCTIONS
from bert_onnx.modeling.lm_heads import BertForMaskedLM
from export.pipeline import export
from export.request import ExportRequest

pytestmark = pytest.mark.slow


def test_the_table_is_that_of_transformers() -> None:
    assert sorted(ACTIVATIONS) == sorted(ACTIVATION_FUNCTIONS)
    assert set(ACTIVATIONS) | set(TRAINED_ACTIVATIONS) == set(ACT2CLS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_are_those_of_transformers(name: str) -> None:
    states = torch.cat([torch.linspace(-30, 30, 60_001), torch.tensor([0.0, -0.0, 1e-8, -1e4, 1e4])]).double()
    expected = ACT2FN[name](states)
    torch.testing.assert_close(ACTIVATION_FUNCTIONS[name](states), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", TRAINED_ACTIVATIONS)
def test_activations_with_parameters_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ConfigError, match="trained parameters of every layer"):
        TINY.replace(hidden_act=name)


@pytest.mark.parametrize("name", ["gelu_10", "gelu_fast", "gelu_python", "laplace", "leaky_relu", "linear", "mish",
                                  "quick_gelu", "relu2", "relu6", "sigmoid"])  # fmt: skip
def test_graphs_of_every_kind_of_target_are_made_and_verified(name: str, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "from", BertForMaskedLM, hidden_act=name)
    request = ExportRequest(str(folder), output=str(tmp_path / "to"), targets=("ort-cpu", "ort-cpu-unpadded"))
    assert len(export(request).artifact.manifest.variants) == 3

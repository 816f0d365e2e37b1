"""Every activation of transformers' table: the same values, and the same in graphs of every kind of target."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from tiny_checkpoints import TINY, tiny_folder
from transformers.activations import ACT2CLS, ACT2FN

from bert_onnx.config import ACTIVATIONS
from bert_onnx.config_rules import OTHER_ACTIVATIONS
from bert_onnx.errors import ConfigError
from bert_onnx.modeling.activations import ACTIVATION_FUNCTIONS, make_activation
from bert_onnx.modeling.lm_heads import BertForMaskedLM
from export.pipeline import export
from export.request import ExportRequest

pytestmark = pytest.mark.long


def test_the_table_is_that_of_transformers() -> None:
    assert sorted(ACTIVATIONS) == sorted([*ACTIVATION_FUNCTIONS, "prelu"])
    assert set(ACTIVATIONS) | set(OTHER_ACTIVATIONS) == set(ACT2CLS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_are_those_of_transformers(name: str) -> None:
    states = torch.cat([torch.linspace(-30, 30, 60_001), torch.tensor([0.0, -0.0, 1e-8, -1e4, 1e4])]).double()
    expected = ACT2FN[name].double()(states)
    torch.testing.assert_close(make_activation(name)(states), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", OTHER_ACTIVATIONS)
def test_an_activation_that_is_not_computed_is_refused_with_the_way_on(name: str) -> None:
    with pytest.raises(
        ConfigError, match=r"does not compute; it computes gelu, .*`bert-onnx optimize` takes its graph"
    ):
        TINY.replace(hidden_act=name)


def test_the_slopes_of_prelu_are_read_from_the_checkpoint(tmp_path: Path) -> None:
    config = transformers.BertConfig(**TINY.to_dict() | {"hidden_act": "prelu"})
    theirs = transformers.BertForMaskedLM(config).eval()
    slopes = [parameter for name, parameter in theirs.named_parameters() if "act_fn" in name]
    assert len(slopes) == config.num_hidden_layers + 1
    with torch.no_grad():
        for number, slope in enumerate(slopes):
            slope.fill_(0.5 - number)
    theirs.save_pretrained(tmp_path)
    ours = BertForMaskedLM.from_pretrained(tmp_path)
    ids = torch.arange(6)[None]
    with torch.no_grad():
        torch.testing.assert_close(ours(ids).logits, theirs(ids).logits, atol=1e-5, rtol=0)
    assert ours.state_dict().keys() == theirs.state_dict().keys()


@pytest.mark.parametrize("name", ["gelu_10", "gelu_fast", "gelu_python", "laplace", "leaky_relu", "linear", "mish",
                                  "prelu", "quick_gelu", "relu2", "relu6", "sigmoid"])  # fmt: skip
def test_graphs_of_every_kind_of_target_are_made_and_verified(name: str, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "from", BertForMaskedLM, hidden_act=name)
    request = ExportRequest(str(folder), output=str(tmp_path / "to"), targets=("ort-cpu", "ort-cpu-unpadded"))
    assert len(export(request).artifact.manifest.variants) == 3

"""Graphs of every family that another exporter made are recognised whole, and rewritten, padded and unpadded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from external_exporters import torchscript
from families import Head, their_model

from bert_onnx.family import FAMILIES
from bert_onnx.family.row import NEVER
from export.external_graph.optimize import optimize

pytestmark = pytest.mark.slow

LAYERS = 2
#: A family, and what makes its model harder than the tiny one is.
MODELS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("roberta", {}),
    ("ernie", {}),
    ("distilbert", {}),
    ("electra", {}),
    ("mpnet", {}),
    ("xlm-roberta-xl", {}),
    ("albert", {"inner_group_num": 2, "num_hidden_layers": 2, "num_hidden_groups": 1}),
)


class First(torch.nn.Module):
    """The first output of a model, of inputs in the order ids, mask, types."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        names = ("input_ids", "attention_mask", "token_type_ids")
        first: torch.Tensor = self.model(**dict(zip(names, inputs, strict=False)), return_dict=False)[0]
        return first


@pytest.mark.parametrize(("model_type", "fields"), MODELS, ids=[name for name, _ in MODELS])
def test_graphs_of_torchscript(model_type: str, fields: dict[str, Any], tmp_path: Path) -> None:
    family = FAMILIES[model_type]
    fields = {"num_hidden_layers": LAYERS, "vocab_size": 99, **fields}
    model = First(their_model(Head(family, "BertModel"), **fields))
    names = ("input_ids", "attention_mask", *(("token_type_ids",) if family.token_types != NEVER else ()))
    source = torchscript(model, 17, tmp_path / "in.onnx", names)
    layers = LAYERS * fields.get("inner_group_num", 1)
    for target in ("ort-cpu", "ort-cpu-unpadded"):
        report = optimize(source, tmp_path / "out.onnx", target)
        assert report.recognised == {"attention": layers, "layer_norm": 1 + 2 * layers, "gelu": layers}
        assert report.refusals == ()
        assert report.comparison.max_abs_diff <= 2e-5
        fused = ("Attention", "MultiHeadAttention")
        if target == "ort-cpu":
            assert sum(report.operators.get(f"com.microsoft.{name}", 0) for name in fused) == layers
        else:
            assert [outcome.count for name, outcome in report.ledger if name == "unpad"] == [layers]

"""A head of every family, exported for padded and unpadded targets: verdicts, fusion counts, inputs, the card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from families import VOCABULARY, Head, heads, inputs_of, their_model

from bert_onnx.artifact.card.markup import code
from bert_onnx.config import BertConfig
from bert_onnx.family import FAMILIES
from bert_onnx.tasks import TASKS
from export.pipeline import export
from export.request import ExportRequest

pytestmark = pytest.mark.slow

TARGETS = ("portable", "ort-cpu", "ort-cpu-unpadded", "ort-cuda-unpadded")
#: One head a family, a different one each, so that all are there.
TASK_OF = {
    "roberta": "text-classification",
    "xlm-roberta": "feature-extraction",
    "xlm-roberta-xl": "feature-extraction",
    "camembert": "token-classification",
    "data2vec-text": "text-classification",
    "ernie": "sentence-similarity",
    "distilbert": "question-answering",
    "electra": "text-ranking",
    "mpnet": "sentence-similarity",
    "albert": "fill-mask",
    "modernbert": "sentence-similarity",
}
#: What makes a model of a family harder than its tiny one is.
FIELDS: dict[str, dict[str, Any]] = {"albert": {"num_hidden_groups": 2, "inner_group_num": 2, "num_hidden_layers": 4}}


@pytest.fixture(scope="module", params=TASK_OF)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Head, Any, Any]:
    """A head, transformers' model of it, and its artifact."""
    task = TASKS[TASK_OF[request.param]]
    head, folder = Head(FAMILIES[request.param], task.model_class), tmp_path_factory.mktemp(request.param)
    model = their_model(head, **FIELDS.get(request.param, {}))
    model.save_pretrained(folder / "checkpoint")
    asked = ExportRequest(str(folder / "checkpoint"), task.name, str(folder / "artifact"), targets=TARGETS)
    return head, model, export(asked).artifact


def test_every_family_is_here() -> None:
    assert set(TASK_OF) == set(FAMILIES) - {"bert"}


def test_graphs_give_what_transformers_gives(made: tuple[Head, Any, Any]) -> None:
    head, model, artifact = made
    names = [port.name for port in artifact.manifest.inputs]
    for kind in ("right", "left", "holes"):
        inputs = inputs_of(head, BertConfig.from_pretrained(artifact.folder), kind)
        with torch.no_grad():
            expected = model(**inputs).to_tuple()[0].numpy()
        arrays = {name: inputs[name].numpy() for name in names}
        for variant in ("model", "model_ort_cpu", "model_ort_cpu_unpadded"):
            session = onnxruntime.InferenceSession(artifact.path(variant), providers=["CPUExecutionProvider"])
            (found, *_) = session.run(None, arrays)
            mask = arrays["attention_mask"]
            if variant.endswith("unpadded") and expected.shape[:2] == mask.shape:  # padding is zero there
                expected = expected * mask.reshape(mask.shape + (1,) * (expected.ndim - 2))
            np.testing.assert_allclose(found, expected, atol=1e-4)


def test_every_variant_passed_with_the_counts_of_its_row(made: tuple[Head, Any, Any]) -> None:
    artifact = made[2]
    layers = len(BertConfig.from_pretrained(artifact.folder).layer_order)
    for variant in artifact.manifest.variants:
        assert variant.parity.verdict == "pass"
        assert variant.fused["attention"] == layers
        if variant.target in ("ort-cpu", "ort-cuda-unpadded"):
            assert variant.fused["fused_attention"] == layers
        if "unpadded" in variant.target:
            assert variant.fused["unpadded_attention"] == layers


def test_the_folder_keeps_the_model_type(made: tuple[Head, Any, Any]) -> None:
    head, _, artifact = made
    config = json.loads((artifact.folder / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == (head.family.model_type, [head.theirs])
    card = (artifact.folder / "README.md").read_text()
    assert f"- {head.family.model_type}\n" in card
    assert f"model of BERT's family ({code(head.family.model_type)})" in card


def test_weights_that_layers_share_are_in_the_file_once(made: tuple[Head, Any, Any]) -> None:
    _, model, artifact = made
    graph = onnx.load(artifact.path("model"))
    held = sum(int(np.prod(tensor.dims)) for tensor in graph.graph.initializer)
    assert held <= sum(parameter.numel() for parameter in model.parameters()) + 2000  # and tables of indices


def test_token_types_are_an_input_only_where_there_are_several(tmp_path: Path) -> None:
    (head, *_) = heads("roberta")
    their_model(head, type_vocab_size=1).save_pretrained(tmp_path / "checkpoint")
    asked = ExportRequest(str(tmp_path / "checkpoint"), "feature-extraction", str(tmp_path / "artifact"))
    artifact = export(asked).artifact
    assert [port.name for port in artifact.manifest.inputs] == ["input_ids", "attention_mask"]
    card = (artifact.folder / "README.md").read_text()
    assert '"token_type_ids"' not in card
    assert "no segment ids" in card
    assert artifact.manifest.config.max_position_embeddings == 38  # 40 of the table, counted from 2
    assert artifact.manifest.config.vocab_size == VOCABULARY

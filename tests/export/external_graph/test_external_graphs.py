"""Graphs of other exporters reach the fused counts of our own, with the same answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from external_exporters import (
    HEADS,
    HIDDEN,
    INPUTS,
    LAYERS,
    POSITIONS,
    VOCABULARY,
    Recipe,
    export,
    make_model,
    torchscript,
)

import bert_onnx
from bert_onnx.config import BertConfig
from bert_onnx.tasks import TaskOptions, find_task, input_ports, output_ports
from export.external_graph.optimize import OptimizeReport, optimize
from export.onnx_file.save import save
from export.passes.base import PassContext
from export.passes.table import run_passes
from export.reference.module import GraphModule
from export.targets import CLOSE, PORTABLE_OPERATORS, PREPARE, TARGETS
from export.trace.tracer import trace

pytestmark = pytest.mark.long

#: What may be between two graphs of the same tiny model: measured 8e-6 on logits of magnitude 30.
LARGEST_DIFFERENCE = 2e-5

TORCHSCRIPT = [
    *(Recipe("torchscript", opset, attention) for opset in (14, 17) for attention in ("sdpa", "eager")),
    Recipe("torchscript", 13, "eager"),
    Recipe("torchscript", 18, "sdpa"),
    Recipe("torchscript", 17, "eager", options=(("hidden_act", "gelu_new"),)),
    Recipe("torchscript", 14, "sdpa", options=(("hidden_act", "gelu_pytorch_tanh"),)),
    Recipe("torchscript", 17, "eager", options=(("position_embedding_type", "relative_key"),)),
    Recipe("torchscript", 14, "eager", options=(("position_embedding_type", "relative_key_query"),)),
    Recipe("torchscript", 17, "sdpa", "BertLMHeadModel", options=(("is_decoder", True), ("use_cache", False))),
    Recipe("torchscript", 14, "eager", "BertLMHeadModel", options=(("is_decoder", True), ("use_cache", False))),
    Recipe("optimum-torchscript"),
    Recipe("optimum-torchscript", 14),
    Recipe("optimum-torchscript", None, "eager"),
    Recipe("optimum-torchscript", model="BertForMaskedLM", task="fill-mask"),
    Recipe("optimum-torchscript", model="BertForSequenceClassification", task="text-classification"),
    Recipe("optimum-torchscript", model="BertForTokenClassification", task="token-classification"),
    Recipe("optimum-torchscript", model="BertForQuestionAnswering", task="question-answering"),
    Recipe("optimum-torchscript", model="BertForMultipleChoice", task="multiple-choice"),
]
DYNAMO = [
    *(Recipe("dynamo", opset, attention) for opset in (18, 23) for attention in ("sdpa", "eager")),
    Recipe("dynamo", 23, "sdpa", "BertLMHeadModel", options=(("is_decoder", True), ("use_cache", False))),
    Recipe("dynamo", 18, "eager", options=(("position_embedding_type", "relative_key_query"),)),
    Recipe("optimum-dynamo", 18),
    Recipe("optimum-dynamo", 23, model="BertForMaskedLM", task="fill-mask"),
]

Graphs = Callable[[Recipe], Path]


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    """The file of a recipe, exported once."""
    made: dict[Recipe, Path] = {}

    def find(recipe: Recipe) -> Path:
        if recipe not in made:
            made[recipe] = export(recipe, tmp_path_factory.mktemp("external"))
        return made[recipe]

    return find


def has_language_head(recipe: Recipe) -> bool:
    return recipe.model in ("BertForMaskedLM", "BertLMHeadModel")


def check_report(report: OptimizeReport, recipe: Recipe) -> None:
    """Every attention, LayerNorm and GELU of the config was recognised, and nothing else changed."""
    head = has_language_head(recipe)
    expected = {"attention": LAYERS, "layer_norm": 1 + 2 * LAYERS + head, "gelu": LAYERS + head}
    assert report.recognised == expected, report.refusals
    assert report.refusals == ()
    assert report.comparison.max_abs_diff <= LARGEST_DIFFERENCE
    longest_is_too_long = any(name == "position_embedding_type" for name, _ in recipe.options)
    assert len(report.comparison.cases) == 6 - longest_is_too_long
    assert len(report.comparison.skipped) == longest_is_too_long
    assert report.nodes_after < report.nodes_before or report.target != "ort-cpu"


def check_interface(report: OptimizeReport) -> None:
    """Inputs and outputs keep their names, order, types and axes."""
    before, after = onnx.load(report.source).graph, onnx.load(report.destination).graph
    assert list(before.input) == list(after.input)
    assert [(one.name, one.type) for one in before.output] == [(one.name, one.type) for one in after.output]


@pytest.mark.parametrize("recipe", TORCHSCRIPT, ids=str)
def test_torchscript(recipe: Recipe, graphs: Graphs, tmp_path: Path) -> None:
    source = graphs(recipe)
    digest = hashlib.sha256(source.read_bytes()).digest()
    report = optimize(source, tmp_path / "out.onnx", "portable")
    check_report(report, recipe)
    check_interface(report)
    assert set(report.operators) <= PORTABLE_OPERATORS
    assert hashlib.sha256(source.read_bytes()).digest() == digest
    assert [path.name for path in tmp_path.iterdir()] == ["out.onnx"]


@pytest.mark.long
@pytest.mark.parametrize("recipe", DYNAMO, ids=str)
def test_dynamo(recipe: Recipe, graphs: Graphs, tmp_path: Path) -> None:
    for target in ("portable", "ort-cpu"):
        report = optimize(graphs(recipe), tmp_path / f"{target}.onnx", target)
        check_report(report, recipe)
        check_interface(report)


#: A plain encoder on ort-cpu, whoever exported it: one operator each.
FUSED = {
    "com.microsoft.Attention": LAYERS,
    "com.microsoft.BiasGelu": LAYERS,
    "com.microsoft.SkipLayerNormalization": 2 * LAYERS,
}


@pytest.mark.parametrize(
    "recipe", [recipe for recipe in TORCHSCRIPT if recipe.model == "BertModel" and not recipe.options], ids=str
)
def test_encoders_end_in_the_same_operators(recipe: Recipe, graphs: Graphs, tmp_path: Path) -> None:
    report = optimize(graphs(recipe), tmp_path / "out.onnx", "ort-cpu")
    check_report(report, recipe)
    assert {name: count for name, count in report.operators.items() if "." in name} == FUSED
    assert "Softmax" not in report.operators
    assert report.operators["LayerNormalization"] == 1  # of the embeddings


@pytest.mark.long
@pytest.mark.parametrize("recipe", [Recipe("dynamo", 18), Recipe("dynamo", 23), Recipe("optimum-dynamo", 18)], ids=str)
def test_dynamo_encoders_end_in_the_same_operators(recipe: Recipe, graphs: Graphs, tmp_path: Path) -> None:
    report = optimize(graphs(recipe), tmp_path / "out.onnx", "ort-cpu")
    assert {name: count for name, count in report.operators.items() if "." in name} == FUSED


@pytest.mark.parametrize("target", TARGETS)
def test_every_target(target: str, graphs: Graphs, tmp_path: Path) -> None:
    recipe = Recipe("torchscript", 14, "sdpa")
    report = optimize(graphs(recipe), tmp_path / "out.onnx", target)
    check_interface(report)
    assert report.recognised == {"attention": LAYERS, "layer_norm": 1 + 2 * LAYERS, "gelu": LAYERS}
    assert report.refusals == ()
    assert report.comparison.max_abs_diff <= LARGEST_DIFFERENCE
    assert len(report.comparison.cases) == (4 if TARGETS[target].requires else 6)
    packed = [outcome.count for name, outcome in report.ledger if name in ("unpad", "remove_padding")]
    assert packed == ([LAYERS] if target.endswith("-unpadded") else [])


@pytest.mark.parametrize("opset", [17, 20, 23])
def test_opset_that_is_written(opset: int, graphs: Graphs, tmp_path: Path) -> None:
    recipe = Recipe("torchscript", 14, "sdpa")
    report = optimize(graphs(recipe), tmp_path / "out.onnx", "portable", opset=opset)
    check_report(report, recipe)
    assert report.opset == opset
    assert onnx.load(tmp_path / "out.onnx").opset_import[0].version == opset
    assert report.operators.get("Gelu", 0) == (LAYERS if opset >= 20 else 0)


def test_answers_of_the_model_itself(graphs: Graphs, tmp_path: Path) -> None:
    """Not only those of the exported graph: transformers on PyTorch, padding in the batch."""
    recipe = Recipe("torchscript", 14, "sdpa")
    optimize(graphs(recipe), tmp_path / "out.onnx", "ort-cpu")
    ids = torch.randint(0, VOCABULARY, (3, 11), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": (ids > 40).long()}
    with torch.no_grad():
        expected = make_model(recipe)(**feeds).last_hidden_state.numpy()
    session = ort.InferenceSession(str(tmp_path / "out.onnx"), providers=["CPUExecutionProvider"])
    actual = session.run(None, {name: tensor.numpy() for name, tensor in feeds.items()})[0]
    assert np.abs(actual - expected).max() <= LARGEST_DIFFERENCE


def test_model_that_was_never_trained(tmp_path: Path) -> None:
    """All its biases are zeros and its exporter stores them once; its layers are fused all the same."""
    model = make_model(Recipe("torchscript"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    source = torchscript(model, 17, tmp_path / "in.onnx")
    report = optimize(source, tmp_path / "out.onnx", "ort-cpu")
    check_report(report, Recipe("torchscript"))
    assert {name: count for name, count in report.operators.items() if "." in name} == FUSED


def test_inputs_with_other_names(tmp_path: Path) -> None:
    source = torchscript(make_model(Recipe("torchscript")), 17, tmp_path / "in.onnx", ("tokens", "visible", "segments"))
    report = optimize(source, tmp_path / "out.onnx", "ort-cpu")
    check_report(report, Recipe("torchscript"))
    check_interface(report)
    assert {name: count for name, count in report.operators.items() if "." in name} == FUSED


@pytest.mark.parametrize("count", [1, 2])
def test_graph_without_token_types_or_mask(count: int, tmp_path: Path) -> None:
    """Without a mask there is nothing to recognise a mask in; the rest is as ever."""
    source = torchscript(make_model(Recipe("torchscript", 17, "eager")), 17, tmp_path / "in.onnx", INPUTS[:count])
    report = optimize(source, tmp_path / "out.onnx", "portable")
    check_report(report, Recipe("torchscript"))
    assert [one.name for one in onnx.load(tmp_path / "out.onnx").graph.input] == list(INPUTS[:count])


def test_fixed_shapes(tmp_path: Path) -> None:
    source = torchscript(make_model(Recipe("torchscript")), 17, tmp_path / "in.onnx", dynamic=False)
    report = optimize(source, tmp_path / "out.onnx", "portable")
    check_interface(report)
    assert report.recognised == {"attention": LAYERS, "layer_norm": 1 + 2 * LAYERS, "gelu": LAYERS}
    assert report.comparison.max_abs_diff <= LARGEST_DIFFERENCE


def test_inputs_of_32_bits(tmp_path: Path) -> None:
    source = torchscript(make_model(Recipe("torchscript")), 17, tmp_path / "in.onnx", dtype=torch.int32)
    report = optimize(source, tmp_path / "out.onnx", "portable")
    check_report(report, Recipe("torchscript"))
    check_interface(report)


def test_weights_in_another_file(graphs: Graphs, tmp_path: Path) -> None:
    recipe = Recipe("torchscript", 17, "sdpa")
    source = tmp_path / "in" / "model.onnx"
    source.parent.mkdir()
    onnx.save(onnx.load(graphs(recipe)), source, save_as_external_data=True, location="weights.bin", size_threshold=64)
    before = {path.name: path.read_bytes() for path in source.parent.iterdir()}
    report = optimize(source, tmp_path / "out.onnx", "portable")
    check_report(report, recipe)
    assert {path.name: path.read_bytes() for path in source.parent.iterdir()} == before


def own_graph(opset: int, folder: Path) -> Path:
    """The same architecture from our own exporter."""
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=64,
        max_position_embeddings=POSITIONS,
        initializer_range=0.3,
    )
    task, options = find_task("feature-extraction"), TaskOptions(pooler=True)
    inputs, outputs = input_ports(task, config), output_ports(task, config, options)
    torch.manual_seed(5)
    model = bert_onnx.BertModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    graph = trace(GraphModule(model, task, options, inputs, outputs).eval(), opset)
    run_passes(graph, (*PREPARE, *CLOSE[1:]), PassContext(opset, config))  # cleaned up, and nothing recognised
    path = folder / f"own{opset}.onnx"
    save(graph, path)
    return path


@pytest.mark.long
@pytest.mark.parametrize("opset", [17, 18, 20, 23])
def test_our_own_exporter(opset: int, tmp_path: Path) -> None:
    report = optimize(own_graph(opset, tmp_path), tmp_path / "out.onnx", "ort-cpu")
    check_report(report, Recipe("own", opset))
    check_interface(report)
    assert {name: count for name, count in report.operators.items() if "." in name} == FUSED
    again = optimize(tmp_path / f"own{opset}.onnx", tmp_path / "plain.onnx", "web", opset=23)
    check_report(again, Recipe("own", opset))

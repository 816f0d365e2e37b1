"""The page of an artifact: whole, from nothing outside, escaped, and of graphs that are really quantized."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from export_samples import save_checkpoint, write_texts
from onnx import TensorProto, helper, numpy_helper
from toy_artifacts import publish_toy

from bert_onnx.artifact import Artifact, operator_history
from bert_onnx.cli.main import main
from export.html_report.figures import round_ticks, spread
from export.html_report.gather import Gathered
from export.html_report.layers import _error, _states, _title, layer_errors
from export.html_report.passes import passes
from export.pipeline import export
from export.request import ExportRequest, PrecisionRequest
from runtimes.bench.machine import this_machine
from runtimes.bench.sweep import sweep

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A toy artifact in a folder with a hostile name, and its page."""
    toy = publish_toy(tmp_path_factory.mktemp("report") / "<script>alert(1)</script>".replace("/", "-"))
    output = toy.parent / "page.html"
    assert main(["report", str(toy), "--output", str(output), "--seconds", "0.2", "--quiet"]) == 0
    return toy, output.read_text(encoding="utf-8")


def test_it_shows_every_variant_and_hash(page: tuple[Path, str]) -> None:
    toy, text = page
    manifest = json.loads((toy / "manifest.json").read_text())
    for variant in manifest["variants"]:
        assert f"<code>{variant['file']}</code>" in text
    for record in manifest["files"].values():
        assert record["sha256"] in text
    assert Artifact.open(toy).manifest_sha256 in text
    assert "NDCG@10" in text
    assert text.count("<svg") == 3


def test_it_asks_for_nothing_from_outside(page: tuple[Path, str]) -> None:
    _, text = page
    assert "http" not in text
    assert "<script" not in text
    assert set(re.findall(r'(?:src|href)="([^"]*)"', text)) - {"data:,"} <= set(re.findall(r'href="(#[^"]*)"', text))
    assert "&lt;script&gt;alert(1)" in text


def test_drawings_have_names_and_the_colours_of_the_page(page: tuple[Path, str]) -> None:
    for drawing in re.findall(r"<svg.*?</svg>", page[1], re.DOTALL):
        assert 'aria-label="' in drawing
        assert "var(--s0)" in drawing
        assert "#0a01" not in drawing
        assert "#010203" not in drawing


def test_the_same_measurements_make_the_same_page(page: tuple[Path, str]) -> None:
    from export.html_report.gather import gather
    from export.html_report.page import render

    found = gather(page[0], 0.1, lambda step, share: None)
    assert render(found) == render(found)
    assert {variant.name for variant in found.best()} <= set(found.sweeps)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("{parent} --output {parent}/new.html", 8, "manifest.json"),
        ("{toy} --output {parent}/none/new.html", 2, "does not exist"),
        ("{toy} --output {parent}", 2, "is a folder"),
        ("{toy} --output {toy}/new.html", 2, "inside the artifact"),
        ("{toy} --output {parent}/new.html --seconds -1", 2, "seconds is -1"),
    ],
)
def test_a_refusal_writes_nothing(
    page: tuple[Path, str], arguments: str, status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = page[0]
    before = sorted(toy.parent.rglob("*"))
    given = [word.format(toy=toy, parent=toy.parent) for word in arguments.split()]
    assert main(["report", *given]) == status
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert sorted(toy.parent.rglob("*")) == before


def test_a_missing_library_is_named(
    page: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("export.html_report.page.find_spec", lambda name: None)
    assert main(["report", str(page[0]), "--output", str(page[0].parent / "new.html")]) == 11
    assert 'pip install "bert-onnx[report]"' in capsys.readouterr().err


def test_sweeps_stay_within_the_longest_text(page: tuple[Path, str]) -> None:
    found = sweep(Artifact.open(page[0]), "model", 0.05, lambda step, share: None)
    assert max(found.by_length) <= 12
    assert list(found.by_batch) == [1, 2, 4, 8, 16, 32]
    assert all(len(probe.latencies) >= 5 for probe in found.by_length.values())
    assert found.by_batch[32].samples == 32


def test_the_error_after_a_layer(tmp_path: Path) -> None:
    """A graph whose second layer is moved by a known share of its values."""
    paths = [_layers(tmp_path / f"{shift}.onnx", shift) for shift in (0.0, 0.25)]
    feeds = [{"x": np.random.default_rng(0).normal(size=(1, 3, 4)).astype(np.float32)}]
    expected, found = (_states(path, feeds) for path in paths)
    assert [_title(name) for name in expected] == ["embeddings", "layer 0 output"]
    assert list(expected) == list(found)
    first, second = expected
    assert _error(expected[first], found[first]) == 0
    assert _error(expected[second], found[second]) == pytest.approx(0.25, rel=1e-4)
    beside = tmp_path / "apart" / "model.onnx"
    beside.parent.mkdir()
    onnx.save(onnx.load(paths[1]), beside, save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    assert beside.with_name("model.onnx_data").stat().st_size == 32
    assert all(np.array_equal(states, found[name]) for name, states in _states(beside, feeds).items())


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """int8 for three targets, of which one skips padding and two have their weights beside them."""
    folder = tmp_path_factory.mktemp("layers")
    checkpoint = save_checkpoint(folder / "checkpoint", "feature-extraction")
    texts = write_texts(folder / "texts.txt", 24, 1)
    precision = PrecisionRequest(("fp32", "int8"), method="dynamic", evaluation=texts, allow_degraded=True)
    targets = ("portable", "ort-cpu", "ort-cpu-unpadded")
    request = ExportRequest(str(checkpoint), output=str(folder / "out"), targets=targets, precision=precision)
    return export(request).artifact


def test_layers_of_graphs_that_skip_padding_and_have_weights_beside_them(artifact: Artifact) -> None:
    errors = layer_errors(artifact)
    lower = [variant for variant in artifact.manifest.variants if variant.precision == "int8"]
    assert list(errors) == [variant.name for variant in lower]
    assert sum(variant.data_file is not None for variant in lower) == 2
    names = ["embeddings", *(f"layer {layer} {part}" for layer in range(2) for part in ("attention", "output"))]
    for layers in errors.values():
        assert list(layers) == names
        assert 0 < layers["layer 1 output"] < 0.5


def test_operators_before_and_after_each_pass(artifact: Artifact) -> None:
    """All graphs begin as the same trace; the page shows the way of each."""
    variants = artifact.manifest.variants
    histories = [operator_history(variant.passes, variant.operators) for variant in variants]
    traces = [{name: count for name, count in steps[0].before.items() if count} for steps in histories]
    assert all(trace == traces[0] for trace in traces)
    assert [step.before for step in histories[0][1:]] == [step.after for step in histories[0][:-1]]
    shown = passes(Gathered(artifact, this_machine(), {}, {}, None))
    assert shown.count(f"{sum(traces[0].values())} nodes before the first pass") == len(variants) == 6
    raised = next(step for step in histories[0] if step.record.name == "raise_attention")
    assert f"<code>Softmax</code> {raised.before['Softmax']} → {raised.after['Softmax']}" in shown
    older = replace(variants[0], passes=tuple(replace(one, operators=None) for one in variants[0].passes))
    manifest = replace(artifact.manifest, variants=(older,))
    silent = passes(Gathered(replace(artifact, manifest=manifest), this_machine(), {}, {}, None))
    assert "raise_attention" in silent
    assert "before the first pass" not in silent


def _layers(path: Path, shift: float) -> Path:
    """LayerNormalization, which has values of variance 1, twice, the second one with a bias."""
    scopes = ("embeddings/LayerNorm/LayerNormalization", "encoder/layer.0/output/LayerNorm/LayerNormalization")
    outputs = [f"{scope}_output_0" for scope in scopes]
    ones, bias = np.ones(4, np.float32), np.full(4, shift, np.float32)
    nodes = [
        helper.make_node("LayerNormalization", ["x", "scale"], [outputs[0]], name=scopes[0]),
        helper.make_node("LayerNormalization", [outputs[0], "scale", "bias"], [outputs[1]], name=scopes[1]),
        helper.make_node("Identity", [outputs[1]], ["y"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "layers", [value("x", TensorProto.FLOAT, [1, 3, 4])], [value("y", TensorProto.FLOAT, [1, 3, 4])],
        [numpy_helper.from_array(ones, "scale"), numpy_helper.from_array(bias, "bias")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_labels_are_pushed_apart() -> None:
    moved = spread(np.zeros((6, 2)), 10.0)
    gaps = np.sqrt(np.square(moved[:, None] - moved[None]).sum(-1)) + np.eye(6) * 99
    assert gaps.min() > 9


@pytest.mark.parametrize(
    ("values", "ticks"), [([1.5, 42.0], [1, 2, 5, 10, 20, 50]), ([0.03, 0.04], [0.02, 0.05]), ([7.0], [5, 10])]
)
def test_ticks_are_round_and_enclose(values: list[float], ticks: list[float]) -> None:
    assert round_ticks(values) == pytest.approx(ticks)

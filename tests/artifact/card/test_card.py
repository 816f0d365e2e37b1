"""The model card: what it says is true of the manifest, and the code that it shows runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml
from artifact_builders import make_manifest, make_variant
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, pre_tokenizers

from bert_onnx.artifact import Manifest, ModelLimits, OutputParity
from bert_onnx.artifact.card import model_card
from bert_onnx.artifact.card.render import inline
from bert_onnx.config import BertConfig
from bert_onnx.source import Source
from bert_onnx.tasks import TASKS, TaskOptions, input_ports, output_ports


def manifest_of(task: str) -> Manifest:
    """A manifest of `task` with the ports that the table of tasks gives a small model."""
    row = TASKS[task]
    config = BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, is_decoder=row.decoder, add_cross_attention=row.cached,
    )  # fmt: skip
    options = TaskOptions()
    outputs = output_ports(row, config, options)
    variant = make_variant()
    parity = replace(variant.parity, outputs=tuple(OutputParity(p.name, 1e-7, 1e-5, "1x1", (0,)) for p in outputs))
    return make_manifest(
        task=task,
        options=options,
        config=ModelLimits(30, 16, 2, 0, row.decoder),
        model_max_length=16,
        inputs=input_ports(row, config),
        outputs=outputs,
        variants=(replace(variant, parity=parity, data_file=None),),
    )


def front_matter(card: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return values


def blocks(card: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", card, re.DOTALL)


@pytest.mark.parametrize("task", TASKS)
def test_card_names_every_port_and_variant(task: str) -> None:
    manifest = manifest_of(task)
    card = model_card(manifest)
    for port in (*manifest.inputs, *manifest.outputs):
        axes = ", ".join(str(axis) for axis in port.axes).replace("*", "\\*")
        assert f"| `{port.name}` | {port.dtype} | [{axes}] |" in card
    assert "| model | `onnx/model.onnx` | portable | fp32 | 18 | 7 |" in card
    for output in manifest.outputs:
        assert f"| `{output.name}` | 1e-07 | 1e-05 | 1x1 |" in card
    assert card.endswith("\n")
    assert not card.endswith("\n\n")


def test_card_gives_sizes_and_verdicts_of_all_variants() -> None:
    small = replace(make_variant("model_int8", 2e-3), size_bytes=23_456_789, precision="int8", opset=21)
    card = model_card(make_manifest(variants=(replace(make_variant(), size_bytes=1234), small)))
    assert "| model | `onnx/model.onnx` | portable | fp32 | 18 | 7 | 1.2 kB | 3e-07 | pass |" in card
    assert "| model_int8 | `onnx/model_int8.onnx` | portable | int8 | 21 | 7 | 23.5 MB | 0.002 | pass |" in card
    assert "as 2 files" in card


def test_front_matter() -> None:
    values = front_matter(model_card(make_manifest()))
    assert values["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert values["pipeline_tag"] == "sentence-similarity"
    assert {"onnx", "bert", "sentence-transformers"} <= set(values["tags"])
    sample = make_manifest(source=Source("sample", "sample", None, "ab" * 32, None))
    assert front_matter(model_card(sample))["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    folder = make_manifest(source=Source("my-model", "folder", None, "ab" * 32, None), task="pretraining")
    assert not {"base_model", "pipeline_tag"} & set(front_matter(model_card(folder)))


def test_random_weights_are_called_untrained() -> None:
    card = model_card(make_manifest(source=Source("bert-base-uncased", "random", None, "ab" * 32, 7)))
    assert "random, seed 7" in card
    assert "not trained" in card
    assert "base_model" not in front_matter(card)


@pytest.mark.parametrize(
    "name",
    ["a|b", "a\nb: c", '"quoted"', "<script>", "[x](http://x)", "`code`", "---\ninjected: yes", "ü 漢", "\udcff"],
)
def test_names_from_outside_stay_text(name: str) -> None:
    card = model_card(make_manifest(source=Source(name, "hub", name, "ab" * 32, None), tools={name: name}))
    if name != "\udcff":
        assert front_matter(card)["base_model"] == name
        assert set(front_matter(card)) == {"library_name", "tags", "pipeline_tag", "base_model"}
    body = card.split("\n---\n", 1)[1]
    assert "<script>" not in body
    assert not re.search(r"(?<!\\)\]\(", body), "a link"
    assert f"# {inline(name)}: sentence-similarity" in body


def constant_graph(manifest: Manifest) -> onnx.ModelProto:
    """A graph with the manifest's ports whose outputs are zeros of the first input's batch: enough to be run."""
    types = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT}
    inputs = [helper.make_tensor_value_info(p.name, types[p.dtype], list(p.axes)) for p in manifest.inputs]
    nodes, initializers, outputs = [], [], []
    for i, port in enumerate(manifest.outputs):
        zeros = [1] * len(port.axes)
        initializers.append(helper.make_tensor(f"zeros{i}", TensorProto.FLOAT, zeros, [0.0]))
        nodes.append(helper.make_node("Identity", [f"zeros{i}"], [port.name]))
        outputs.append(helper.make_tensor_value_info(port.name, TensorProto.FLOAT, [None] * len(port.axes)))
    graph = helper.make_graph(nodes, "constant", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("task", ["fill-mask", "multiple-choice", "text-generation-with-past"])
def test_onnxruntime_example_runs(tmp_path: Path, task: str) -> None:
    """The graph takes exactly the manifest's inputs, so that a missing or misshapen one fails the example."""
    manifest = manifest_of(task)
    folder = tmp_path / "DIR"
    (folder / "onnx").mkdir(parents=True)
    onnx.save(constant_graph(manifest), folder / "onnx" / "model.onnx")
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "the": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    code = next(block for block in blocks(model_card(manifest), "python") if "InferenceSession" in block)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [port.name for port in manifest.outputs]


@pytest.mark.parametrize("task", TASKS)
def test_python_examples_compile(task: str) -> None:
    card = model_card(manifest_of(task))
    codes = blocks(card, "python")
    assert len(codes) >= 2
    for code in codes:
        compile(code, task, "exec")
    assert len(blocks(card, "sh")) == 1
    assert 'bert-onnx run DIR "' in blocks(card, "sh")[0]

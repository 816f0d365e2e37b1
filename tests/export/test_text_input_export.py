"""Graphs that take text, from a user's side: what is made, what it returns, what is refused, who finds it."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from export_samples import save_checkpoint, write_texts

from bert_onnx.artifact import Artifact
from bert_onnx.cli import main as cli
from bert_onnx.errors import ArtifactError, RuntimeUnavailableError, TokenizerError, UsageError, VerificationError
from bert_onnx.tasks import find_task
from export.pipeline import export, extend
from export.request import ExportRequest, ExtendRequest, PrecisionRequest
from export.text_input import build
from export.verify import verify_artifact
from runtimes import load

pytestmark = pytest.mark.slow

onnxruntime = pytest.importorskip("onnxruntime")
extensions = pytest.importorskip("onnxruntime_extensions")

TEXTS = ["the cat sat on the mat.", "a dog ran", "The DOGS, cat"]
PAIRS = ["a dog ran.", "", "the mat"]
PAIRED = ("next-sentence-prediction", "question-answering", "pretraining", "text-classification")


def make(folder: Path, task: str, **changes: Any) -> Artifact:
    checkpoint = folder / "checkpoint"
    if not checkpoint.exists():
        save_checkpoint(checkpoint, task)
    values = {"model": str(checkpoint), "task": task, "output": str(folder / "artifact"), "text_input": True}
    return export(ExportRequest(**values | changes)).artifact


def plain_session(path: Path) -> Any:
    """A session as a user opens it, without our code."""
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(extensions.get_library_path())
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def strings(values: Any) -> np.ndarray:
    return np.array(values, dtype=object)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Four graphs, of which three take text; the weights of one lie beside it."""
    folder = tmp_path_factory.mktemp("sentences")
    save_checkpoint(folder / "checkpoint", "sentence-similarity", initializer_range=0.1)
    return make(folder, "sentence-similarity", targets=("portable", "ort-cpu", "ort-cpu-unpadded", "openvino"))


# -- what is made


@pytest.mark.parametrize("task", ["feature-extraction", "multiple-choice", "question-answering", "text-classification"])
def test_every_task_returns_what_tokenizer_and_graph_do(
    tmp_path: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = make(tmp_path, task)
    (graph,) = artifact.manifest.text_graphs
    inputs = {"text": strings(TEXTS)}
    if task in PAIRED:
        inputs["text_pair"] = strings(PAIRS)
    if task == "multiple-choice":
        inputs["text_pair"] = strings([[pair, "a cat"] for pair in PAIRS])
    session = plain_session(artifact.folder / graph.file)
    assert [value.name for value in session.get_outputs()] == [port.name for port in graph.outputs]
    found = dict(zip([port.name for port in graph.outputs], session.run(None, inputs), strict=True))
    tokens = {port.name: found[port.name] for port in artifact.manifest.inputs}
    variant = onnxruntime.InferenceSession(str(artifact.path()), providers=["CPUExecutionProvider"])
    expected = variant.run([port.name for port in artifact.manifest.outputs], tokens)
    for port, array in zip(artifact.manifest.outputs, expected, strict=True):
        np.testing.assert_allclose(found[port.name], array, atol=1e-6, rtol=1e-5)
    program = re.search(r"```python\n(.*?)```", card_section(artifact), re.DOTALL)
    assert program is not None
    exec(program[1].replace("DIR", str(artifact.folder)), {})
    assert "truncated (" in capsys.readouterr().out
    assert graph.conformance.identical == graph.conformance.count > 500
    assert "onnxruntime-extensions" in artifact.manifest.tools


def card_section(artifact: Artifact) -> str:
    card = (artifact.folder / "README.md").read_text(encoding="utf-8")
    return card.split("### With text, and no tokenizer")[1]


def test_each_graph_for_onnx_runtime_gets_one(sentences: Artifact) -> None:
    graphs = sentences.manifest.text_graphs
    assert [graph.variant for graph in graphs] == ["model", "model_ort_cpu", "model_ort_cpu_unpadded"]
    for graph in graphs:
        assert (sentences.folder / graph.file).stat().st_size == graph.size_bytes
        assert graph.name == f"{graph.variant}_text"
        assert graph.tokenizer[-1] == "WordpieceTokenizer"


def test_weights_beside_a_graph_are_shared(sentences: Artifact) -> None:
    graph = sentences.manifest.text_graph("model_ort_cpu")
    assert graph.data_file == "onnx/model_ort_cpu.onnx_data"
    model = onnx.load(sentences.folder / graph.file, load_external_data=False)
    entries = [entry for tensor in model.graph.initializer for entry in tensor.external_data]
    assert {entry.value for entry in entries if entry.key == "location"} == {"model_ort_cpu.onnx_data"}
    name, cpu = "model_ort_cpu", "onnxruntime-cpu"
    with load(sentences.folder, name, text_input=True) as text, load(sentences.folder, name, cpu) as tokens:
        np.testing.assert_allclose(text.embed(TEXTS), tokens.embed(TEXTS), atol=1e-5)


def test_making_one_again_gives_the_same_bytes(sentences: Artifact, tmp_path: Path) -> None:
    folder = shutil.copytree(sentences.folder, tmp_path / "artifact")
    for graph in sentences.manifest.text_graphs:
        (folder / graph.file).unlink()
    made = maker(sentences, folder).add(sentences.manifest.variants, sentences.manifest.inputs)
    assert [graph.file for graph in made] == [graph.file for graph in sentences.manifest.text_graphs]
    for graph in made:
        assert (folder / graph.file).read_bytes() == (sentences.folder / graph.file).read_bytes()


def maker(artifact: Artifact, folder: Path) -> build.TextInput:
    manifest = artifact.manifest
    task = find_task(manifest.task)
    ports = manifest.inputs, manifest.outputs
    return build.TextInput(folder, task, manifest.model_max_length, manifest.config, *ports)


def test_tokens_are_what_others_take(sentences: Artifact) -> None:
    """load, optimum and sentence-transformers open the same file as ever."""
    with load(sentences.folder) as model:
        assert not model.describe().variant.endswith("_text")
    with pytest.raises(ArtifactError, match="no variant 'model_text'"):
        load(sentences.folder, "model_text")
    sentence_transformers = pytest.importorskip("sentence_transformers")
    other = sentence_transformers.SentenceTransformer(
        str(sentences.folder), backend="onnx", model_kwargs={"provider": "CPUExecutionProvider"}, local_files_only=True
    )
    with load(sentences.folder, "model", "onnxruntime-cpu") as model:
        np.testing.assert_allclose(other.encode(TEXTS), model.embed(TEXTS), atol=1e-5)


# -- what changes it, and who notices


def test_a_variant_that_is_added_takes_text_too(sentences: Artifact, tmp_path: Path) -> None:
    folder = shutil.copytree(sentences.folder, tmp_path / "artifact")
    evaluation = write_texts(tmp_path / "e.txt", 30, 2)
    calibration = write_texts(tmp_path / "c.txt", 60, 1)
    precision = PrecisionRequest(
        ("int8",), "dynamic", calibration=calibration, evaluation=evaluation, allow_degraded=True, isas=("avx2",)
    )
    checkpoint = str(sentences.folder.parent / "checkpoint")
    extended = extend(ExtendRequest(str(folder), precision=precision, checkpoint=checkpoint)).artifact
    assert len(extended.manifest.text_graphs) == len(sentences.manifest.text_graphs) + 1
    name = extended.manifest.variants[-1].name
    assert extended.manifest.variants[-1].precision == "int8"
    with load(folder, precision="int8", text_input=True) as text, load(folder, name, "onnxruntime-cpu") as tokens:
        assert text.describe().variant == f"{name}_text"
        np.testing.assert_allclose(text.embed(TEXTS[:1]), tokens.embed(TEXTS[:1]), atol=1e-6)
    assert verify_artifact(str(folder), checkpoint, evaluation=evaluation).failures() == ()


def test_verify_finds_a_graph_that_makes_other_tokens(sentences: Artifact, tmp_path: Path) -> None:
    """Damage that a sha256 would hide, were it made anew: full stops stay within words."""
    manifest = sentences.manifest
    graph = manifest.text_graph("model")
    model = onnx.load(sentences.folder / graph.file)
    mapping = next(node for node in model.graph.node if node.op_type == "StringMapping")
    mapping.attribute[0].s = mapping.attribute[0].s.replace(b"\n.\t . \n", b"\n")
    onnx.save(model, tmp_path / "broken.onnx")
    text_input = maker(sentences, sentences.folder)
    with pytest.raises(VerificationError, match="makes other tokens than the tokenizer"):
        text_input.compare(tmp_path / "broken.onnx", sentences.path(), manifest.inputs)
    assert text_input.compare(sentences.folder / graph.file, sentences.path(), manifest.inputs).passed


def test_a_graph_with_other_weights_is_found(sentences: Artifact, tmp_path: Path) -> None:
    manifest = sentences.manifest
    model = onnx.load(sentences.folder / manifest.text_graph("model").file)
    weight = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("LayerNorm.weight"))
    values = onnx.numpy_helper.to_array(weight) * np.float32(1.001)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, tmp_path / "broken.onnx")
    parity = maker(sentences, sentences.folder).compare(tmp_path / "broken.onnx", sentences.path(), manifest.inputs)
    assert not parity.passed
    with pytest.raises(VerificationError, match="text graph broken is not equal to tokenizer and model"):
        build.require_text_parity(parity, "broken")


def test_a_tokenizer_that_differs_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = build.tokenizer_tables

    def wrong(tokenizer: Any, typed: bool) -> Any:
        made = tables(tokenizer, typed)
        changed = made.characters.changed | {".": ""}
        return replace(made, characters=replace(made.characters, changed=changed))

    monkeypatch.setattr(build, "tokenizer_tables", wrong)
    with pytest.raises(VerificationError, match="other tokens than the checkpoint's of"):
        make(tmp_path, "fill-mask")
    assert not (tmp_path / "artifact").exists()


def test_a_changed_graph_is_refused(sentences: Artifact, tmp_path: Path) -> None:
    folder = shutil.copytree(sentences.folder, tmp_path / "artifact")
    with open(folder / "onnx" / "model_text.onnx", "r+b") as file:
        file.seek(5000)
        file.write(b"????")
    with pytest.raises(ArtifactError, match=r"model_text\.onnx was changed"):
        load(folder, text_input=True)


# -- what is refused


@pytest.mark.parametrize("task", ["text-generation", "text-generation-with-past"])
def test_generation_is_refused_at_once(tmp_path: Path, task: str) -> None:
    with pytest.raises(UsageError, match="--text-input has no meaning for"):
        make(tmp_path, task)


def test_a_checkpoint_without_tokenizer_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoint", "fill-mask", tokenizer=False)
    with pytest.raises(TokenizerError, match=r"needs a tokenizer\.json"):
        make(tmp_path, "fill-mask")


def test_a_model_that_cannot_tell_texts_apart(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoint", "text-classification", type_vocab_size=1)
    assert [port.name for port in make(tmp_path, "text-classification").manifest.text_graph().inputs] == ["text"]
    save_checkpoint(tmp_path / "other" / "checkpoint", "next-sentence-prediction", type_vocab_size=1)
    with pytest.raises(UsageError, match="one token type, and pairs need two"):
        make(tmp_path / "other", "next-sentence-prediction")


def test_a_model_without_token_types_tells_texts_apart_by_the_tokens_between_them(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "checkpoint", "text-classification", model_type="distilbert", type_vocab_size=1)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "DistilBertTokenizer"}))
    artifact = make(tmp_path, "text-classification")
    graph = artifact.manifest.text_graph()
    assert [port.name for port in graph.inputs] == ["text", "text_pair"]
    session = plain_session(artifact.folder / graph.file)
    inputs = {"text": strings(TEXTS), "text_pair": strings(PAIRS)}
    found = dict(zip([port.name for port in graph.outputs], session.run(None, inputs), strict=True))
    assert not found["token_type_ids"].any()
    with load(artifact.folder, "model") as model:
        expected = model(list(TEXTS), list(PAIRS), function_to_apply="none")
    scores = [{label.label: label.score for label in one.labels} for one in expected]
    logits = [[score[f"LABEL_{index}"] for index in range(3)] for score in scores]
    np.testing.assert_allclose(found["logits"], logits, atol=1e-5)


def test_a_tokenizer_that_cuts_on_the_left_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoint", "fill-mask")
    config = {"truncation_side": "left", "tokenizer_class": "BertTokenizer"}
    (tmp_path / "checkpoint" / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="cuts long texts on the left"):
        make(tmp_path, "fill-mask")
    assert not (tmp_path / "artifact").exists()


def test_without_the_extensions_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path / "checkpoint", "fill-mask")
    monkeypatch.setitem(sys.modules, "onnxruntime_extensions", None)
    with pytest.raises(RuntimeUnavailableError, match=r'pip install "bert-onnx\[text\]"'):
        make(tmp_path, "fill-mask")


# -- the command


def test_commands(sentences: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(sentences.folder)
    assert cli.main(["inspect", folder]) == 0
    assert re.search(r"onnx/model_text\.onnx +text +\d+ ", capsys.readouterr().out)
    assert cli.main(["run", folder, "--text-input", "--json", "the cat"]) == 0
    with load(folder, "model", "onnxruntime-cpu") as model:
        (expected,) = model("the cat")
    (answer,) = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose(answer["vector"], expected.vector, atol=1e-6)
    assert cli.main(["run", folder, "--text-input", "--pair", "b", "the cat"]) == 7
    assert "takes single texts" in capsys.readouterr().err
    assert cli.main(["run", folder, "--text-input", "--top-k", "2", "the cat"]) == 2
    assert cli.main(["run", folder, "--text-input", "--runtime", "openvino", "the cat"]) == 2
    assert cli.main(["run", folder, "--text-input", "--variant", "model_openvino", "the cat"]) == 8
    assert "these have one: model," in capsys.readouterr().err

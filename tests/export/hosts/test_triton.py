"""Triton: what its configs say, by its own protobuf, run step by step with ONNX Runtime as the server does it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from artifact_builders import make_manifest
from export_samples import save_checkpoint
from google.protobuf import text_format
from tokenizers import Tokenizer

import runtimes
from bert_onnx.errors import UsageError
from bert_onnx.tasks import Port
from export.hosts.host import Subject
from export.hosts.package import package
from export.hosts.table import find_host
from export.hosts.triton import _tensor
from export.pipeline import export
from export.request import ExportRequest

extensions = pytest.importorskip("onnxruntime_extensions")

QUERY, TEXTS = "the cat sat", ["a dog ran", "the dogs, cat " * 30, "", "mat."]
#: Element types of its protobuf.
_TYPES = {"tensor(string)": 13, "tensor(int64)": 9, "tensor(float)": 11}
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("triton")
    made = {}
    for task in ("text-ranking", "multiple-choice"):
        source = save_checkpoint(folder / f"{task}-checkpoint", task)
        request = ExportRequest(str(source), task, output=str(folder / task), text_input=True)
        made[task] = export(request).artifact.folder
    return made


def _config(path: Path) -> Any:
    """config.pbtxt as Triton reads it, by the protobuf of its client; the client itself would need gRPC."""
    found = importlib.util.find_spec("tritonclient")
    assert found is not None
    assert found.submodule_search_locations is not None
    file = Path(found.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return text_format.Parse((path / "config.pbtxt").read_text(encoding="utf-8"), module.ModelConfig())


def _infer(repository: Path, name: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every output of a model, its inputs [B, dims] as clients send them."""
    config = _config(repository / name)
    assert config.name == name
    assert (repository / name / "1").is_dir()
    assert set(tensors) == {one.name for one in config.input}
    assert max(map(len, tensors.values())) <= config.max_batch_size
    for one in config.input:
        sent = tensors[one.name].shape[1:]
        assert len(sent) == len(one.dims)
        assert all(wanted in (-1, length) for wanted, length in zip(one.dims, sent, strict=True))
    return (
        _ensemble(repository, config, tensors) if config.platform == "ensemble" else _graph(config, repository, tensors)
    )


def _graph(config: Any, repository: Path, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`ModelState::LoadModel` of the backend and its checks of tensors; `reshape` between client and graph."""
    assert config.backend == "onnxruntime"
    assert config.dynamic_batching.max_queue_delay_microseconds > 0
    options = onnxruntime.SessionOptions()
    for library in config.model_operations.op_library_filename:
        assert library == "libortextensions.so"  # the operators of the wheel are the same
        options.register_custom_ops_library(extensions.get_library_path())
    path = repository / config.name / "1" / "model.onnx"
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    ports = (*session.get_inputs(), *session.get_overridable_initializers(), *session.get_outputs())
    real = {port.name: port for port in ports}
    assert {one.name for one in (*config.input, *config.output)} == set(real)
    for one in (*config.input, *config.output):
        dims = one.reshape.shape if one.HasField("reshape") else one.dims
        lengths = [length if isinstance(length, int) else -1 for length in real[one.name].shape]
        assert (one.data_type, [-1, *dims]) == (_TYPES[real[one.name].type], lengths)
    reshaped = {one.name: one.HasField("reshape") for one in (*config.input, *config.output)}
    feed = {name: array[:, 0] if reshaped[name] else array for name, array in tensors.items()}
    names = [one.name for one in config.output]
    outputs = dict(zip(names, session.run(names, feed), strict=True))
    return {name: array[:, None] if reshaped[name] else array for name, array in outputs.items()}


def _ensemble(repository: Path, config: Any, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`ValidateEnsembleConfig`: dims and types as the models' own, before any reshape; then the steps in order."""
    ports = (*config.input, *config.output)
    told = {
        one.name: (one.data_type, list(one.reshape.shape if one.HasField("reshape") else one.dims)) for one in ports
    }
    tensors = dict(tensors)
    for step in config.ensemble_scheduling.step:
        model = _config(repository / step.model_name)
        assert model.max_batch_size >= config.max_batch_size
        assert set(step.input_map) == {one.name for one in model.input}
        assert set(step.output_map) <= {one.name for one in model.output}
        maps = {**step.input_map, **step.output_map}
        for one in (*model.input, *model.output):
            data_type, dims = told.setdefault(maps[one.name], (one.data_type, list(one.dims)))
            assert data_type == one.data_type
            assert len(dims) == len(one.dims)
            assert all(-1 in pair or pair[0] == pair[1] for pair in zip(dims, one.dims, strict=True))
        made = _infer(repository, step.model_name, {inner: tensors[outer] for inner, outer in step.input_map.items()})
        tensors |= {outer: made[inner] for inner, outer in step.output_map.items()}
    return {one.name: tensors[one.name] for one in config.output}


def _strings(values: Any) -> np.ndarray:
    return np.array(values, dtype=object)


def test_tokens_of_joined_requests(artifacts: dict[str, Path], tmp_path: Path) -> None:
    report = package(artifacts["text-ranking"], "triton", tmp_path / "models")
    assert set(report.files) == {"text-ranking/config.pbtxt", "text-ranking/1/model.onnx"}
    assert report.difference is None
    rows = [Tokenizer.from_file(str(artifacts["text-ranking"] / "tokenizer.json")).encode(QUERY, TEXTS[0])] * 2
    sent = {
        "input_ids": np.array([row.ids for row in rows]),
        "attention_mask": np.array([row.attention_mask for row in rows]),
        "token_type_ids": np.array([row.type_ids for row in rows]),
    }
    logits = _infer(report.folder, "text-ranking", sent)["logits"]
    with runtimes.load(artifacts["text-ranking"]) as model:
        wanted = model.predict([(QUERY, TEXTS[0])] * 2, activation_fn="Identity")
    assert np.abs(np.ravel(logits) - np.ravel(wanted)).max() <= TOLERANCE


def test_texts_of_joined_requests(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """Texts of all lengths join, are padded alike by the tokenizer, and are ranked as CrossEncoder's pipeline does."""
    report = package(artifacts["text-ranking"], "triton-text", tmp_path / "models")
    assert {path.name for path in report.folder.iterdir()} == {
        "text-ranking", "text-ranking_tokenizer", "text-ranking_text",
    }  # fmt: skip
    sent = {"text": _strings([[QUERY]] * len(TEXTS)), "text_pair": _strings([[text] for text in TEXTS])}
    outputs = _infer(report.folder, "text-ranking_text", sent)
    with runtimes.load(artifacts["text-ranking"]) as model:
        scores = model.predict([(QUERY, text) for text in TEXTS if text], activation_fn="Identity")
    got = np.ravel(outputs["logits"])[[bool(text) for text in TEXTS]]
    assert np.abs(got - np.ravel(scores)).max() <= TOLERANCE
    assert outputs["truncated"].tolist() == [[0], [1], [0], [0]]
    assert outputs["attention_mask"].shape == outputs["input_ids"].shape == (4, 40)
    assert "LD_LIBRARY_PATH" in " ".join(report.notes)


def test_choices_of_each_text(artifacts: dict[str, Path], tmp_path: Path) -> None:
    report = package(artifacts["multiple-choice"], "triton-text", tmp_path / "models")
    choices = [["a dog", "mat ran"], ["the cat", "a"]]
    sent = {"text": _strings([[QUERY], ["a mat"]]), "text_pair": _strings(choices)}
    logits = _infer(report.folder, "multiple-choice_text", sent)["logits"]
    with runtimes.load(artifacts["multiple-choice"]) as model:
        wanted = model([QUERY, "a mat"], choices)
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = exponentials / exponentials.sum(1, keepdims=True)
    assert np.abs(probabilities - [one.scores for one in wanted]).max() <= TOLERANCE


def test_an_artifact_without_graphs_that_take_text_is_refused(tmp_path: Path) -> None:
    manifest = make_manifest(text_graphs=())
    with pytest.raises(UsageError, match=r"which this artifact lacks; export with --text-input, or package it --for"):
        find_host("triton-text").check(Subject(tmp_path, manifest, manifest.variant()))


def test_a_tensor_of_one_value_a_row_is_reshaped() -> None:
    port = Port("label_ids", "int64", ("batch_size",))
    told = 'output { name: "label_ids" data_type: TYPE_INT64 dims: [ 1 ]'
    assert _tensor("output", port, shaped=True) == f"{told} reshape: {{ shape: [ ] }} }}"
    assert _tensor("output", port, shaped=False) == f"{told} }}"

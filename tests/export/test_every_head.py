"""Every head that BERT has: exported, verified, published, and the file holds what the task table says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_samples import ALL_TASKS, save_checkpoint

from bert_onnx.artifact import Artifact
from bert_onnx.tasks import Port
from export.check import check_export
from export.pipeline import export
from export.request import ExportRequest
from runtimes.engines.ort.cpu import OnnxRuntimeCpu

pytestmark = pytest.mark.slow


def _ports(values: object) -> list[Port]:
    names = {onnx.TensorProto.INT64: "int64", onnx.TensorProto.FLOAT: "float32"}
    return [
        Port(
            value.name,
            names[value.type.tensor_type.elem_type],
            tuple(axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim),
        )
        for value in values  # type: ignore[attr-defined]
    ]


@pytest.mark.parametrize("task", ALL_TASKS)
def test_head_is_exported_verified_and_published(task: str, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint", task)
    artifact = export(ExportRequest(str(checkpoint), task, str(tmp_path / "artifact"))).artifact
    manifest = artifact.manifest
    assert manifest.task == task
    assert Artifact.open(artifact.folder).manifest == manifest
    graph = onnx.load(artifact.path())
    assert [(opset.domain, opset.version) for opset in graph.opset_import] == [("", 18)]
    assert graph.ir_version == 8
    assert tuple(_ports(graph.graph.input)) == manifest.inputs
    assert tuple(_ports(graph.graph.output)) == manifest.outputs
    types = [] if task == "late-interaction" else ["token_type_ids"]  # its texts are all of type 0
    assert [port.name for port in manifest.inputs[:3]] == ["input_ids", "attention_mask", *types]
    variant = manifest.variants[0]
    assert variant.parity.verdict == "pass"
    assert variant.nodes == len(graph.graph.node)
    assert {output.name for output in variant.parity.outputs} == {port.name for port in manifest.outputs}
    assert all(output.max_abs_diff <= output.tolerance for output in variant.parity.outputs)


@pytest.mark.parametrize("architecture", ["feature-extraction", "fill-mask", "text-generation-with-past"])
def test_auto_reads_the_architecture(architecture: str, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint", architecture)
    checked = check_export(ExportRequest(str(checkpoint), "auto", str(tmp_path / "artifact")))
    assert checked.load.task.name == architecture


@pytest.mark.parametrize("task", ["feature-extraction", "sentence-similarity"])
def test_the_last_hidden_states_under_both_of_their_names(task: str, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint", task)
    targets = ("portable", "ort-cpu", "ort-cpu-unpadded", "openvino-unpadded")
    request = ExportRequest(
        str(checkpoint), task, str(tmp_path / "artifact"), targets=targets, output_hidden_states=True
    )
    artifact = export(request).artifact
    names = [port.name for port in artifact.manifest.outputs]
    assert names[0] == "last_hidden_state"
    assert names[-3:] == [f"hidden_states.{i}" for i in range(3)]
    inputs = {port.name: np.array([[7, 8, 9]]) for port in artifact.manifest.inputs}
    inputs |= {"attention_mask": np.ones((1, 3), np.int64), "token_type_ids": np.zeros((1, 3), np.int64)}
    for variant in artifact.manifest.variants:
        assert variant.parity.passed
        with OnnxRuntimeCpu.open(
            artifact.path(variant), artifact.manifest.inputs, artifact.manifest.outputs, limits=artifact.manifest.config
        ) as runtime:
            found = runtime.run(inputs)
        np.testing.assert_array_equal(found["last_hidden_state"], found["hidden_states.2"])


def test_cross_attention_decoder_with_every_output(tmp_path: Path) -> None:
    task = "text-generation-with-past"
    checkpoint = save_checkpoint(tmp_path / "checkpoint", task, add_cross_attention=True)
    request = ExportRequest(
        str(checkpoint), task, str(tmp_path / "artifact"), output_attentions=True, output_hidden_states=True
    )
    manifest = export(request).artifact.manifest
    names = [port.name for port in manifest.outputs]
    assert names[:5] == ["logits", "present.0.key", "present.0.value", "present.1.key", "present.1.value"]
    assert names[5:] == [
        *(f"hidden_states.{i}" for i in range(3)),
        *(f"attentions.{i}" for i in range(2)),
        *(f"cross_attentions.{i}" for i in range(2)),
    ]
    assert [port.name for port in manifest.inputs[3:5]] == ["encoder_hidden_states", "encoder_attention_mask"]
    assert any(case.startswith("last step 1x39+1") for case in manifest.variants[0].parity.cases)


@pytest.mark.parametrize(
    ("kind", "task"), [("relative_key", "feature-extraction"), ("relative_key_query", "text-generation-with-past")]
)
def test_relative_positions(kind: str, task: str, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint", task, position_embedding_type=kind)
    assert export(ExportRequest(str(checkpoint), task, str(tmp_path / "artifact"))).artifact.manifest.variants


@pytest.mark.parametrize(("pooling", "normalize"), [("mean", True), ("cls", False), ("max", True)])
def test_pooling_is_in_the_graph(pooling: str, normalize: bool, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint", "feature-extraction")
    request = ExportRequest(str(checkpoint), "auto", str(tmp_path / "artifact"), pooling=pooling, normalize=normalize)
    artifact = export(request).artifact
    assert artifact.manifest.task == "sentence-similarity"
    session = onnxruntime.InferenceSession(artifact.path(), providers=["CPUExecutionProvider"])
    ids = np.array([[2, 7, 9, 3], [2, 8, 3, 0]])
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0]])
    hidden, embedding = session.run(
        None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    )
    real = [hidden[0], hidden[1, :3]]
    expected = np.stack([{"mean": row.mean(0), "cls": row[0], "max": row.max(0)}[pooling] for row in real])
    if normalize:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embedding, expected, atol=1e-5)


def test_pooling_none_leaves_the_token_vectors(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint", "feature-extraction")
    request = ExportRequest(str(checkpoint), "sentence-similarity", str(tmp_path / "artifact"), pooling="none")
    assert [port.name for port in export(request).artifact.manifest.outputs] == ["last_hidden_state"]


def test_all_zero_mask_gives_no_nan(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint", "feature-extraction")
    request = ExportRequest(str(checkpoint), "sentence-similarity", str(tmp_path / "artifact"))
    artifact = export(request).artifact
    session = onnxruntime.InferenceSession(artifact.path(), providers=["CPUExecutionProvider"])
    ids = np.array([[2, 7, 3], [2, 8, 3]])
    mask = np.array([[1, 1, 1], [0, 0, 0]])
    hidden, embedding = session.run(
        None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    )
    assert np.isfinite(hidden).all()
    assert (embedding[1] == 0).all()


def test_random_weights_need_no_checkpoint_and_depend_on_the_seed(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "checkpoint", "fill-mask")
    (folder / "model.safetensors").unlink()
    digests = []
    for number, seed in enumerate((1, 1, 2)):
        request = ExportRequest(str(folder), "fill-mask", str(tmp_path / f"artifact{number}"), random_seed=seed)
        report = export(request)
        assert report.artifact.manifest.source.seed == seed
        assert any("random" in warning for warning in report.warnings)
        digests.append(report.artifact.manifest.files["onnx/model.onnx"].sha256)
    assert digests[0] == digests[1] != digests[2]


def test_half_precision_checkpoint_is_exported_in_float32(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "checkpoint", "feature-extraction")
    import bert_onnx

    half = bert_onnx.BertModel.from_pretrained(folder, dtype=torch.float16)
    half.save_pretrained(folder)
    manifest = export(ExportRequest(str(folder), "auto", str(tmp_path / "artifact"))).artifact.manifest
    assert {port.dtype for port in manifest.outputs} == {"float32"}
    assert manifest.variants[0].precision == "fp32"
